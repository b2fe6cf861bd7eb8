//! Filling a page where some rows have to be left out: a like by somebody deleted, a post deleted
//! between two reads. A page is short only at the end of its list.

use std::ops::Bound;

use crate::page::{Cursor, Direction};
use crate::table::{Order, Query};
use crate::{Limit, Page, Problem};

/// A page being filled. Ask for rows while [`Fill::wanted`] is not zero, then take [`Fill::page`].
pub struct Fill<'a, T> {
    list: &'a str,
    limit: usize,
    cursor: Option<Cursor>,
    at: Option<String>,
    entries: Vec<(String, T)>,
    ended: bool,
}

impl<'a, T> Fill<'a, T> {
    /// An empty page of the list named `list`, going on from `cursor`.
    pub fn new(list: &'a str, limit: Limit, cursor: Option<&str>) -> Result<Self, Problem> {
        let cursor = cursor.map(|text| Cursor::parse(list, text)).transpose()?;
        let at = cursor.as_ref().map(|cursor| cursor.at.clone());
        Ok(Self { list, limit: limit.get(), cursor, at, entries: Vec::new(), ended: false })
    }

    /// How many entries are missing; zero when the page is full or the list has ended.
    pub fn wanted(&self) -> usize {
        if self.ended { 0 } else { self.limit - self.entries.len() }
    }

    /// The sort key from which to go on, exclusively.
    pub fn at(&self) -> Option<&str> {
        self.at.as_deref()
    }

    /// Whether the walk leads to newer entries.
    pub fn newer(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.direction == Direction::Newer)
    }

    /// Whether the page may hold the newest entry, so that what is not settled matters.
    pub fn reaches_newest(&self) -> bool {
        self.cursor.is_none() || self.newer()
    }

    /// The next rows in `partition`, one more than wanted to tell whether the list goes on, none
    /// newer than `newest`; no query where no row can be left.
    pub fn query(&self, partition: &str, newest: Option<&str>) -> Option<Query> {
        let newest = newest.map_or(Bound::Unbounded, |sort| Bound::Included(sort.to_owned()));
        let at = self.at.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let (from, to, order) = match (self.newer(), &self.at) {
            (true, _) => (at, newest, Order::Ascending),
            (false, None) => (Bound::Unbounded, newest, Order::Descending),
            (false, Some(_)) => (Bound::Unbounded, at, Order::Descending),
        };
        if let (Bound::Excluded(from), Bound::Included(to)) = (&from, &to)
            && from >= to
        {
            return None;
        }
        let limit = self.wanted() + 1;
        Some(Query { partition: partition.to_owned(), from, to, order, limit })
    }

    /// Takes up to [`Fill::wanted`] rows in the order of the walk, none for those to leave out;
    /// `more` says whether the list goes on behind them.
    pub fn add(&mut self, rows: impl IntoIterator<Item = (String, Option<T>)>, more: bool) {
        self.ended = !more;
        for (sort, entry) in rows {
            if let Some(entry) = entry {
                self.entries.push((sort.clone(), entry));
            }
            self.at = Some(sort);
        }
    }

    /// The page, newest entry first.
    pub fn page(mut self) -> Page<T> {
        let newer = self.newer();
        if newer {
            self.entries.reverse();
        }
        let first = self.entries.first().map(|(sort, _)| sort.as_str());
        let last = self.entries.last().map(|(sort, _)| sort.as_str());
        let next = match (last, &self.cursor) {
            (Some(last), _) if newer || !self.ended => Some(Cursor::older(last)),
            // Nothing newer: what is older begins with the entry at the cursor itself, unless the
            // cursor leads from behind the oldest entry, where there is nothing on either side.
            (None, Some(cursor)) if newer && !cursor.at.is_empty() => {
                Some(Cursor::older(format!("{}\u{10FFFF}", cursor.at)))
            }
            _ => None,
        };
        let prev = match (first, &self.cursor) {
            (Some(first), _) => Some(Cursor::newer(first)),
            (None, Some(cursor)) if newer => Some(cursor.clone()),
            // Nothing older: what is newer is the whole list, from its oldest entry on.
            (None, Some(_)) => Some(Cursor::newer("")),
            (None, None) => None,
        };
        Page {
            next_cursor: next.map(|cursor| cursor.render(self.list)),
            prev_cursor: prev.map(|cursor| cursor.render(self.list)),
            items: self.entries.into_iter().map(|(_, entry)| entry).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn walk(rows: &[u32], cursor: Option<&str>, limit: &str) -> Page<u32> {
        let limit = Limits::default().page(Some(limit)).unwrap();
        let mut fill = Fill::new("l", limit, cursor).unwrap();
        while fill.wanted() > 0 {
            let query = fill.query("p", None).unwrap();
            let within = |row: &&u32| {
                let range = (query.from.clone(), query.to.clone());
                std::ops::RangeBounds::contains(&range, &format!("{row:04}"))
            };
            let mut found: Vec<u32> = rows.iter().filter(within).copied().collect();
            if !fill.newer() {
                found.reverse();
            }
            let more = found.len() > fill.wanted();
            found.truncate(fill.wanted());
            // Odd ones are left out.
            let entry = |row: u32| (format!("{row:04}"), row.is_multiple_of(2).then_some(row));
            fill.add(found.into_iter().map(entry), more);
        }
        fill.page()
    }

    #[test]
    fn pages_are_filled_up_and_lead_both_ways() {
        let rows: Vec<u32> = (0..10).collect();
        let first = walk(&rows, None, "3");
        assert_eq!(first.items, [8, 6, 4]);
        let second = walk(&rows, first.next_cursor.as_deref(), "3");
        assert_eq!((&second.items[..], &second.next_cursor), (&[2, 0][..], &None));
        let back = walk(&rows, second.prev_cursor.as_deref(), "2");
        assert_eq!(back.items, [6, 4]);
        let newest = walk(&rows, back.prev_cursor.as_deref(), "3");
        assert_eq!(newest.items, [8]);
        let nothing = walk(&rows, newest.prev_cursor.as_deref(), "3");
        assert_eq!((&nothing.items[..], &nothing.prev_cursor), (&[][..], &newest.prev_cursor));
        assert_eq!(walk(&rows, nothing.next_cursor.as_deref(), "1").items, [8]);
        let oldest = walk(&rows, Some(&Cursor::older("0000").render("l")), "1");
        assert_eq!((&oldest.items[..], &oldest.next_cursor), (&[][..], &None));
        assert_eq!(walk(&rows, oldest.prev_cursor.as_deref(), "2").items, [2, 0]);
    }
}
