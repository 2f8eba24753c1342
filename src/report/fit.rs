//! Text that must not be wider than it may: what is cut, and what is left out whole.

use std::borrow::Cow;
use std::collections::BTreeSet;

use console::{measure_text_width, truncate_str};

/// A name is not cut to less than this many columns, if there is any other way.
const MIN_NAME: usize = 6;

/// One of several things in a line: a name, which may be cut, and what is said of it, which may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// What it is about.
    pub name: String,
    /// Something that may be left out, behind the name.
    pub extra: String,
    /// What must stay, behind that.
    pub fact: String,
}

impl Piece {
    /// Of a name alone.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    fn text(&self) -> String {
        format!("{}{}{}", self.name, self.extra, self.fact)
    }

    /// The most of it that fits into `room` columns: first the extra goes, then the end of the name.
    fn within(&self, room: usize) -> String {
        let whole = self.text();
        if width(&whole) <= room {
            return whole;
        }
        let for_name = room.saturating_sub(width(&self.fact)).max(MIN_NAME);
        cut(&format!("{}{}", cut(&self.name, for_name), self.fact), room).into_owned()
    }
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// The beginning of a text, with an ellipsis if that is not all.
pub fn cut(text: &str, room: usize) -> Cow<'_, str> {
    if room == 0 { Cow::Borrowed("") } else { truncate_str(text, room, "…") }
}

/// The beginning and the end of a text, with an ellipsis between if that is not all.
pub fn cut_middle(text: &str, room: usize) -> String {
    if width(text) <= room || room < 3 {
        return cut(text, room).into_owned();
    }
    let tail = tail(text, (room - 1) / 2);
    format!("{}{tail}", cut(text, room - width(tail)))
}

/// The end of a text, with an ellipsis if that is not all.
fn cut_start(text: &str, room: usize) -> String {
    match room {
        _ if width(text) <= room => text.to_owned(),
        0 => String::new(),
        _ => format!("…{}", tail(text, room - 1)),
    }
}

/// As much of the end of a text as fits.
fn tail(text: &str, room: usize) -> &str {
    let mut tail = text;
    while width(tail) > room {
        let mut chars = tail.chars();
        chars.next();
        tail = chars.as_str();
    }
    tail
}

/// Names cut to so many columns, such that they still differ if any way of cutting leaves them different:
/// some differ at their end, some at their beginning, and some in the middle.
pub fn cut_apart(names: &[&str], room: usize) -> Vec<String> {
    let ways: [fn(&str, usize) -> String; 3] =
        [|name, room| cut(name, room).into_owned(), cut_middle, cut_start];
    let cut_so = |way: fn(&str, usize) -> String| -> Vec<String> {
        names.iter().map(|name| way(name, room)).collect()
    };
    let differ = |cut: &Vec<String>| cut.iter().collect::<BTreeSet<_>>().len() == cut.len();
    ways.into_iter().map(cut_so).find(differ).unwrap_or_else(|| cut_so(cut_middle))
}

/// The first pieces that fit, and how many do not. The first is cut rather than left out.
pub fn fitting(pieces: &[Piece], between: &str, room: usize) -> String {
    let Some((first, others)) = pieces.split_first() else { return String::new() };
    let long = |n: usize| if n > 0 { format!("{between}{n} more") } else { String::new() };
    // Of the first the whole name is worth more than words.
    let short = width(&first.text()) + width(&long(others.len())) > room;
    let more = |n: usize| if short && n > 0 { format!(" +{n}") } else { long(n) };

    let reserve = width(&more(others.len()));
    let least = MIN_NAME + width(&first.fact);
    let mut text = first.within(if room >= least + reserve { room - reserve } else { room });
    for (n, piece) in others.iter().enumerate() {
        let left = others.len() - n;
        let with = format!("{text}{between}{}", piece.text());
        // Unless this is the last, what is left over must still be said.
        if width(&with) + width(&more(left - 1)) > room {
            let more = more(left);
            if width(&text) + width(&more) <= room {
                text.push_str(&more);
            }
            break;
        }
        text = with;
    }
    text
}

/// Appends those of the items, which come in the order of their weight, that fit. Of each the first
/// form that fits is taken.
pub fn append(text: &mut String, items: &[&[String]], between: &str, room: usize) {
    for forms in items {
        let lead = if text.is_empty() { "" } else { between };
        let taken = width(text) + width(lead);
        if let Some(form) = forms.iter().find(|form| taken + width(form) <= room) {
            text.push_str(lead);
            text.push_str(form);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> [Piece; 3] {
        let piece = |name: &str, extra: &str, fact: &str| Piece {
            name: name.into(),
            extra: extra.into(),
            fact: fact.into(),
        };
        [piece("systemd-258", " (configure)", " 5s of 1m"), piece("acl", "", " 2s of 9s"), Piece::named("x")]
    }

    #[test]
    fn facts_outlive_names() {
        let shown = |room| fitting(&pieces(), ", ", room);
        let rooms = [60, 45, 41, 40, 29, 25, 12, 5, 0];
        insta::assert_snapshot!(rooms.map(|room| format!("{room:2} {}", shown(room))).join("\n"), @r"
        60 systemd-258 (configure) 5s of 1m, acl 2s of 9s, x
        45 systemd-258 (configure) 5s of 1m, 2 more
        41 systemd-258 (configure) 5s of 1m, 2 more
        40 systemd-258 (configure) 5s of 1m, 2 more
        29 systemd-258 5s of 1m +2
        25 systemd-258 5s of 1m +2
        12 syste… 5s o…
         5 syst…
         0
        ");
    }

    #[test]
    fn names_are_cut_where_they_do_not_differ() {
        assert_eq!(cut_apart(&["aquamarine", "b"], 10), ["aquamarine", "b"]);
        assert_eq!(cut_apart(&["b1.example.org", "b2.example.org"], 9), ["b1.examp…", "b2.examp…"]);
        assert_eq!(cut_apart(&["aquamarine-1", "aquamarine-2"], 9), ["aqua…ne-1", "aqua…ne-2"]);
        assert_eq!(cut_apart(&["aaaaaaaaaabcccc", "aaaaaaaaaadcccc"], 8), ["…aabcccc", "…aadcccc"]);
        assert_eq!(cut_apart(&["aaaa", "aaab"], 1), ["…", "…"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_wider_than_its_room(name in "\\PC{0,30}", fact in "[ -~]{0,20}", room in 0usize..60) {
            let piece = Piece { name: name.clone(), extra: " (x)".into(), fact };
            let pieces = [piece.clone(), piece.clone(), piece];
            proptest::prop_assert!(width(&fitting(&pieces, ", ", room)) <= room);
            // Two of a name differ in no way, so that all ways are gone through.
            proptest::prop_assert!(width(&cut_start(&name, room)) <= room);
            proptest::prop_assert!(cut_apart(&[&name, &name], room).iter().all(|cut| width(cut) <= room));
        }
    }
}
