//! Text from outside, made fit for a terminal.

use std::borrow::Cow;

/// The longest piece of a line that is shown or kept, in bytes.
const MAX_SHOWN: usize = 4096;

/// One line that moves no cursor and rings no bell: what a terminal would show of `line` in the end,
/// without colours, with control characters taken out and no longer than a few screens.
pub fn clean(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches(['\r', '\n']);
    // Progress meters overwrite their line; only the last state counts.
    let line = line.rsplit('\r').next().unwrap_or(line);
    let plain = console::strip_ansi_codes(head(line, MAX_SHOWN));
    if !plain.contains(char::is_control) {
        return plain;
    }
    let spaced = plain.chars().map(|c| if c == '\t' { ' ' } else { c });
    Cow::Owned(spaced.filter(|c| !c.is_control()).collect())
}

/// A message of any number of lines as one clean line.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(clean);
    let kept: Vec<_> = lines.map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
    kept.join("; ")
}

/// At most the first `limit` bytes, ending between two characters.
fn head(line: &str, limit: usize) -> &str {
    let end = (0..=limit.min(line.len())).rev().find(|i| line.is_char_boundary(*i));
    &line[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_a_terminal_would_show() {
        assert_eq!(clean("plain ünïcode"), "plain ünïcode");
        assert_eq!(clean("10%\r50%\r100%\r\n"), "100%");
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\tx\u{7}\u{1b}[2J"), "red x");
        assert_eq!(clean(&"ä".repeat(5000)).len(), 4096);
    }

    #[test]
    fn messages_become_one_line() {
        assert_eq!(one_line("  a\r\n\n b\tc\n"), "a; b c");
    }

    proptest::proptest! {
        #[test]
        fn nothing_controls_the_terminal(line in "\\PC*|(.|\\x1b|\\[|\r|\n)*") {
            proptest::prop_assert!(!clean(&line).contains(char::is_control));
        }
    }
}
