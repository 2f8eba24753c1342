//! Tables for people: no wider than they need be, and on a terminal no wider than that. What goes to a program or a file
//! has a line for each row, so that it can be searched.

use super::fit::{cut_middle, width};

/// What a row has nothing of.
pub const NONE: &str = "-";
/// Between two columns.
const GAP: &str = "  ";
/// What is cut on a terminal keeps so many columns, if it has them: a name, and other words.
const LEAST_NAME: usize = 12;
const LEAST_WORDS: usize = 8;

/// How wide lines may be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    columns: usize,
}

impl Room {
    /// Of a file or a program: nothing is cut or broken.
    pub const PIPE: Room = Room { columns: usize::MAX };

    /// Of a terminal.
    pub const fn terminal(columns: usize) -> Room {
        Room { columns }
    }

    /// Of stdout.
    pub fn of_stdout() -> Room {
        let out = console::Term::stdout();
        let size = out.is_term().then(|| out.size_checked()).flatten();
        size.map_or(Room::PIPE, |(_, columns)| Room::terminal(columns.into()))
    }
}

/// What is in a column, and so what is done with it if there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// Words, of which the beginning and the end are kept on a terminal where cutting names is not enough.
    Words,
    /// Numbers, times and dates, aligned at their ends: always whole.
    Numbers,
    /// Names, of which the beginning and the end are kept on a terminal.
    Names,
    /// A list, which goes on below after a comma.
    List,
    /// Sentences, which go on below after any word.
    Text,
}

/// Rows under a heading. A column of which every row has [`NONE`] is not shown.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    cells: [Cells; N],
    /// The heading first. An empty line is `None`.
    rows: Vec<Option<[String; N]>>,
}

impl<const N: usize> Table<N> {
    /// One with these columns and no rows.
    pub fn new(columns: [(Cells, &str); N]) -> Self {
        let heading = columns.map(|(_, heading)| heading.to_owned());
        Self { cells: columns.map(|(cells, _)| cells), rows: vec![Some(heading)] }
    }

    /// One more row.
    pub fn row(&mut self, row: [String; N]) {
        self.rows.push(Some(row));
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.rows.push(None);
    }

    /// All of it, each line with its end.
    pub fn text(&self, room: Room) -> String {
        let widths = self.widths(room);
        let line = |row: &Option<[String; N]>| match row {
            Some(row) => self.lines(row, &widths),
            None => "\n".to_owned(),
        };
        self.rows.iter().map(line).collect()
    }

    /// A row, which is several lines if a cell goes on below.
    fn lines(&self, row: &[String; N], widths: &[usize; N]) -> String {
        let cells: [Vec<String>; N] = std::array::from_fn(|i| self.cells[i].within(&row[i], widths[i]));
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::new();
        for i in 0..height {
            let mut line = String::new();
            for ((cell, &width), cells) in
                cells.iter().zip(widths).zip(self.cells).filter(|((_, width), _)| **width > 0)
            {
                let piece = cell.get(i).map_or("", String::as_str);
                let align = match cells {
                    Cells::Numbers => console::Alignment::Right,
                    _ => console::Alignment::Left,
                };
                line.push_str(&console::pad_str(piece, width, align, None));
                line.push_str(GAP);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Of each column: what it needs, and less if there is no room for that. The widest gives first; what can be
    /// broken comes before names, and those before words.
    fn widths(&self, room: Room) -> [usize; N] {
        let rows = || self.rows.iter().flatten();
        let is_shown = |i: usize| self.rows.len() == 1 || rows().skip(1).any(|row| row[i] != NONE);
        let most = |of: &dyn Fn(usize, &str) -> usize| -> [usize; N] {
            let widest = |i| rows().map(|row| of(i, &row[i])).max().unwrap_or(0);
            std::array::from_fn(|i| if is_shown(i) { widest(i) } else { 0 })
        };
        let mut widths = most(&|_, cell| width(cell));
        let broken =
            most(&|i, cell| self.cells[i].pieces(cell).map(|piece| width(piece.trim())).max().unwrap_or(0));
        let shown = widths.iter().filter(|width| **width > 0).count();
        let all = widths.iter().sum::<usize>() + GAP.len() * shown.saturating_sub(1);
        let mut over = all.saturating_sub(room.columns);
        let ways: [&[Cells]; 3] = [&[Cells::List, Cells::Text], &[Cells::Names], &[Cells::Words]];
        for gives in ways {
            let least = |i: usize| match self.cells[i] {
                Cells::Names => LEAST_NAME,
                Cells::Words => LEAST_WORDS,
                _ => broken[i],
            };
            while over > 0 {
                let may_give = (0..N).filter(|&i| gives.contains(&self.cells[i]) && widths[i] > least(i));
                let Some(widest) = may_give.max_by_key(|&i| widths[i]) else { break };
                widths[widest] -= 1;
                over -= 1;
            }
        }
        widths
    }
}

impl Cells {
    /// What must not be broken any further.
    fn pieces(self, text: &str) -> impl Iterator<Item = &str> {
        text.split_inclusive(move |c| match self {
            Cells::List => c == ',',
            Cells::Text => c == ' ',
            _ => false,
        })
    }

    /// The lines of a cell.
    fn within(self, text: &str, room: usize) -> Vec<String> {
        if width(text) <= room {
            return vec![text.to_owned()];
        }
        if !matches!(self, Cells::List | Cells::Text) {
            return vec![cut_middle(text, room)];
        }
        let mut lines: Vec<String> = Vec::new();
        for piece in self.pieces(text) {
            match lines.last_mut() {
                Some(line) if width(line) + width(piece.trim_end()) <= room => line.push_str(piece),
                _ => lines.push(piece.trim_start().to_owned()),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<4> {
        let mut table = Table::new([
            (Cells::Numbers, "takes"),
            (Cells::Words, "host"),
            (Cells::List, "systems"),
            (Cells::Names, "derivation"),
        ]);
        let row = |cells: [&str; 4]| cells.map(str::to_owned);
        table.row(row(["1m05s", "aquamarine", "x86_64-linux,i686-linux", "hello-2.12"]));
        table.gap();
        table.row(row(["4s", "b", "aarch64-darwin", "python3.13-django-rest-framework-3.16.0"]));
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        insta::assert_snapshot!(table().text(Room::terminal(100)), @r"
        takes  host        systems                  derivation
        1m05s  aquamarine  x86_64-linux,i686-linux  hello-2.12

           4s  b           aarch64-darwin           python3.13-django-rest-framework-3.16.0
        ");
    }

    #[test]
    fn what_is_piped_has_a_line_for_each_row() {
        let mut table = table();
        table.row(
            ["5s", "c", "riscv64-linux,riscv32-linux,x86_64-linux,i686-linux", "hello-2.12"]
                .map(str::to_owned),
        );
        let text = table.text(Room::PIPE);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(
            text.contains("  riscv64-linux,riscv32-linux,x86_64-linux,i686-linux  hello-2.12\n"),
            "{text}"
        );
    }

    #[test]
    fn on_a_terminal_names_are_cut_and_then_words() {
        insta::assert_snapshot!([60, 40, 20].map(|columns| table().text(Room::terminal(columns))).join("\n"), @r"
        takes  host        systems         derivation
        1m05s  aquamarine  x86_64-linux,   hello-2.12
                           i686-linux

           4s  b           aarch64-darwin  python3.13-d…ework-3.16.0

        takes  host      systems         derivation
        1m05s  aqua…ine  x86_64-linux,   hello-2.12
                         i686-linux

           4s  b         aarch64-darwin  python….16.0

        takes  host      systems         derivation
        1m05s  aqua…ine  x86_64-linux,   hello-2.12
                         i686-linux

           4s  b         aarch64-darwin  python….16.0
        ");
    }

    #[test]
    fn sentences_go_on_below() {
        let mut table = Table::new([(Cells::Names, "policy"), (Cells::Text, "what it does")]);
        table.row(["full".to_owned(), "the longest way to the end first".to_owned()]);
        insta::assert_snapshot!(table.text(Room::terminal(24)), @r"
        policy  what it does
        full    the longest way
                to the end first
        ");
    }

    proptest::proptest! {
        #[test]
        fn a_terminal_is_never_too_narrow_for_names_and_lists(
            rows in proptest::collection::vec(("[0-9]{0,4}", "\\PC{0,40}", "[a-c]{1,5}(,[a-c]{1,5}){0,9}"), 0..6),
            columns in 30usize..90,
        ) {
            let mut table = Table::new([(Cells::Numbers, "n"), (Cells::Names, "name"), (Cells::List, "list")]);
            rows.iter().for_each(|(n, name, list)| table.row([n.clone(), name.clone(), list.clone()]));
            for line in table.text(Room::terminal(columns)).lines() {
                proptest::prop_assert!(width(line) <= columns, "{line}");
            }
        }
    }
}
