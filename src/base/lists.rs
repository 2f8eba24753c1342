//! A list for each row of a table, one after the other in one place: quickly gone through for many rows in turn.

use super::table::{Id, Table};

/// The lists.
#[derive(Clone, Debug)]
pub struct Lists<I: Id, T> {
    items: Vec<T>,
    /// Where the list of each row begins, and where the last one ends.
    first: Table<I, u32>,
}

impl<I: Id + 'static, T: Copy> Lists<I, T> {
    /// Copies the list that each row of a table has.
    ///
    /// # Panics
    /// Where they have 2^32 items or more.
    pub fn new<R>(table: &Table<I, R>, list: impl Fn(&R) -> &[T]) -> Self {
        let (mut items, mut first) = (Vec::new(), Table::new());
        first.push(0);
        for row in table.rows() {
            items.extend_from_slice(list(row));
            first.push(end(items.len()));
        }
        Self { items, first }
    }

    /// Gives each item to the row that it comes with, of which there are `rows`; those of a row stay in their order.
    ///
    /// # Panics
    /// Where there are 2^32 items or more.
    pub fn gathered(rows: usize, pairs: impl Iterator<Item = (I, T)> + Clone) -> Self {
        let mut first: Table<I, u32> = Table::filled(rows + 1, 0);
        pairs.clone().for_each(|(row, _)| first[after(row)] += 1);
        let mut before = 0usize;
        for (_, count) in first.iter_mut() {
            before += *count as usize;
            *count = end(before);
        }
        let mut next = first.clone();
        let mut items = Vec::new();
        for (row, item) in pairs {
            if items.is_empty() {
                items.resize(before, item);
            }
            items[next[row] as usize] = item;
            next[row] += 1;
        }
        Self { items, first }
    }

    /// The list of a row.
    #[inline]
    pub fn of(&self, row: I) -> &[T] {
        &self.items[self.first[row] as usize..self.first[after(row)] as usize]
    }
}

fn after<I: Id>(row: I) -> I {
    I::from_index(row.index() + 1)
}

fn end(items: usize) -> u32 {
    u32::try_from(items).expect("lists have fewer than 2^32 items")
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::base::typed_id!(
        /// A row of the lists here.
        RowId, "r"
    );

    #[test]
    fn each_row_has_its_list() {
        let table: Table<RowId, Vec<u8>> = [vec![3, 1], vec![], vec![2]].into_iter().collect();
        let lists = Lists::new(&table, Vec::as_slice);
        let all: Vec<&[u8]> = (0..3).map(|row| lists.of(RowId(row))).collect();
        assert_eq!(all, [&[3, 1][..], &[], &[2]]);
    }

    #[test]
    fn items_are_given_to_the_rows_that_they_name() {
        let named = [(2, 'a'), (0, 'b'), (2, 'c')];
        let pairs = named.iter().map(|&(row, item)| (RowId(row), item));
        let lists: Lists<RowId, char> = Lists::gathered(3, pairs);
        let all: Vec<&[char]> = (0..3).map(|row| lists.of(RowId(row))).collect();
        assert_eq!(all, [&['b'][..], &[], &['a', 'c']]);
    }
}
