//! Filling a page where some rows have to be left out: a like by somebody deleted, a post deleted
//! between two reads. A page is short only at the end of its list.
//!
//! # Lists that are settling
//!
//! Where several processes write a list, its newest rows may still get company from behind: an id
//! is given before its commit. Such rows are shown, and a cursor to what is newer does not lead on
//! from them but from the newest row that is settled, and notes the others, so that they are not
//! given again. Thus what appears late is given, and nothing is given twice. Only where a whole
//! page is younger than what is settled does its cursor lead on from its oldest entry: what is
//! below belongs to the next page.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::page::{Cursor, Direction};
use crate::table::{Order, Query};
use crate::{Limit, Page, Problem};

/// Rows noted in a cursor to what is newer, at most; a walk that has noted so many waits until they
/// are settled.
const NOTED_MAX: usize = 64;
/// Between the sort keys in such a cursor; these are ids, so it stands in none.
const NOTE: char = ' ';

/// How far a list can be read. The sort key of a row that is there in time is not greater.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Newest {
    /// No row up to this will appear any more, and no further is read.
    Settled(String),
    /// No row up to this will appear any more; what is newer is read too, and noted.
    Settling(String),
}

/// A page being filled. Ask for rows while [`Fill::wanted`] is not zero, then take [`Fill::page`].
pub struct Fill<'a, T> {
    list: &'a str,
    limit: usize,
    cursor: Option<Cursor>,
    newest: Option<Newest>,
    /// Where the walk began.
    from: Option<String>,
    at: Option<String>,
    /// What was given before from above `from`.
    noted: BTreeSet<String>,
    entries: Vec<(String, T)>,
    ended: bool,
}

impl<'a, T> Fill<'a, T> {
    /// An empty page of the list named `list`, going on from `cursor`.
    pub fn new(list: &'a str, limit: Limit, cursor: Option<&str>) -> Result<Self, Problem> {
        let cursor = cursor.map(|text| Cursor::parse(list, text)).transpose()?;
        let mut parts = cursor.iter().flat_map(|cursor| cursor.at.split(NOTE)).map(str::to_owned);
        let at = parts.next();
        let noted = parts.collect();
        Ok(Self {
            list,
            limit: limit.get(),
            newest: None,
            from: at.clone(),
            at,
            noted,
            entries: Vec::new(),
            ended: false,
            cursor,
        })
    }

    /// The same page of a list that can be read so far.
    #[must_use]
    pub fn until(self, newest: Option<Newest>) -> Self {
        Self { newest, ..self }
    }

    /// How many entries are missing; zero when the page is full or the list has ended.
    pub fn wanted(&self) -> usize {
        if self.ended {
            return 0;
        }
        let missing = self.limit - self.entries.len();
        match &self.newest {
            Some(Newest::Settling(settled)) if self.newer() => {
                let settling = self.known().filter(|sort| *sort > settled.as_str()).count();
                missing.min(NOTED_MAX.saturating_sub(settling))
            }
            _ => missing,
        }
    }

    /// The sort keys of all that this page and the ones before it gave from above `from`.
    fn known(&self) -> impl Iterator<Item = &str> {
        let noted = self.noted.iter().map(String::as_str);
        noted.chain(self.entries.iter().map(|(sort, _)| sort.as_str()))
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

    /// The next rows in `partition`, one more than wanted to tell whether the list goes on; no
    /// query where no row can be left.
    pub fn query(&self, partition: &str) -> Option<Query> {
        let newest = match &self.newest {
            Some(Newest::Settled(sort)) => Bound::Included(sort.clone()),
            _ => Bound::Unbounded,
        };
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
            if let Some(entry) = entry.filter(|_| !self.noted.contains(&sort)) {
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
            (None, Some(_)) if newer => {
                let last = self.known().chain(self.from.as_deref()).max().unwrap_or_default();
                (!last.is_empty()).then(|| Cursor::older(format!("{last}\u{10FFFF}")))
            }
            _ => None,
        };
        let prev = match (first, &self.cursor) {
            (Some(first), _) => Some(match &self.newest {
                Some(Newest::Settling(settled)) => self.noting(settled),
                _ => Cursor::newer(first),
            }),
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

impl<T> Fill<'_, T> {
    /// The cursor to what is newer than the newest settled row that was given, and to what will
    /// still appear there; it notes what was given of the rest.
    fn noting(&self, settled: &str) -> Cursor {
        let newer = self.newer();
        // A walk that has not ended has not come to everything that was noted.
        let reached = self.at.as_deref().filter(|_| newer && !self.ended);
        let passed = |sort: &&str| *sort <= settled && reached.is_none_or(|at| *sort <= at);
        let from = self.from.as_deref().filter(|_| newer);
        let last = self.known().filter(passed).chain(from).max();
        let at = last.or(if self.ended { Some(settled) } else { self.known().min() });
        let at = at.unwrap_or_default();
        let notes: BTreeSet<&str> = self.known().filter(|sort| *sort > at).collect();
        let mut text = at.to_owned();
        for sort in notes {
            text.push(NOTE);
            text.push_str(sort);
        }
        Cursor::newer(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Limits;

    fn walk(rows: &[u32], cursor: Option<&str>, limit: &str) -> Page<u32> {
        read(rows, None, cursor, limit)
    }

    fn settling(rows: &[u32], settled: u32, cursor: Option<&str>, limit: &str) -> Page<u32> {
        read(rows, Some(Newest::Settling(format!("{settled:04}"))), cursor, limit)
    }

    fn read(rows: &[u32], newest: Option<Newest>, cursor: Option<&str>, limit: &str) -> Page<u32> {
        let limit = Limits::default().page(Some(limit)).unwrap();
        let mut fill = Fill::new("l", limit, cursor).unwrap().until(newest);
        while fill.wanted() > 0 {
            let query = fill.query("p").unwrap();
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

    #[test]
    fn what_appears_late_below_what_was_given_is_given_once() {
        let mut rows = vec![2, 4, 10, 14];
        let page = settling(&rows, 5, None, "9");
        assert_eq!(page.items, [14, 10, 4, 2]);
        rows.extend([8, 16]);
        rows.sort_unstable();
        let newer = settling(&rows, 5, page.prev_cursor.as_deref(), "9");
        assert_eq!(newer.items, [16, 8]);
        let none = settling(&rows, 5, newer.prev_cursor.as_deref(), "9");
        assert_eq!((&none.items[..], &none.prev_cursor), (&[][..], &newer.prev_cursor));
        let older = settling(&rows, 5, none.next_cursor.as_deref(), "9");
        assert_eq!(older.items, [16, 14, 10, 8, 4, 2], "what the cursor has given, and below");
        // All is settled by now, and the cursor notes nothing any more.
        rows.push(18);
        let last = settling(&rows, 20, none.prev_cursor.as_deref(), "9");
        assert_eq!(last.items, [18]);
        assert_eq!(last.prev_cursor, Some(Cursor::newer("0018").render("l")));
    }

    #[test]
    fn a_page_that_is_younger_than_all_settled_leads_on_from_its_oldest() {
        let rows: Vec<u32> = (1..=20).map(|row| row * 2).collect();
        let page = settling(&rows, 3, None, "3");
        assert_eq!(page.items, [40, 38, 36]);
        assert!(settling(&rows, 3, page.prev_cursor.as_deref(), "3").items.is_empty());
        let second = settling(&rows, 3, page.next_cursor.as_deref(), "3");
        assert_eq!(second.items, [34, 32, 30]);
        // Back again: what the page before it held.
        let back = settling(&rows, 3, second.prev_cursor.as_deref(), "3");
        assert_eq!(back.items, [40, 38, 36]);
    }

    #[test]
    fn who_walks_faster_than_rows_settle_waits() {
        let rows: Vec<u32> = (0..200).map(|row| row * 2).collect();
        let mut given = settling(&[0], 1, None, "100");
        let mut walked = given.items.clone();
        for _ in 0..9 {
            given = settling(&rows, 1, given.prev_cursor.as_deref(), "50");
            walked.extend(&given.items);
        }
        assert_eq!(walked.len(), 1 + NOTED_MAX);
        for _ in 0..9 {
            given = settling(&rows, 999, given.prev_cursor.as_deref(), "50");
            walked.extend(&given.items);
        }
        walked.sort_unstable();
        assert_eq!(walked, rows);
    }

    proptest! {
        /// Rows appear in any order, each before it is settled; whoever keeps the cursor is given
        /// each once.
        #[test]
        fn nothing_is_lost_and_nothing_given_twice(
            late in proptest::collection::vec(0..8_u32, 1..60),
            reads in proptest::collection::vec((0..4_u32, 1..6_usize), 1..60),
        ) {
            // Row n is given its id at n and is there at n + late, by when 8 less is settled.
            let all: Vec<(u32, u32)> =
                (1..).map(|row: u32| row * 2).zip(late).map(|(id, late)| (id, id + late)).collect();
            let there = |now: u32| -> Vec<u32> {
                all.iter().filter(|(_, at)| *at <= now).map(|(id, _)| *id).collect()
            };
            let mut now = 20;
            let first = settling(&there(now), now - 8, None, "100");
            let (mut given, mut cursor) = (first.items, first.prev_cursor);
            let rest = std::iter::repeat_n((9, 20), 30);
            for (on, limit) in reads.into_iter().chain(rest) {
                now += on;
                let limit = limit.to_string();
                let page = settling(&there(now), now - 8, cursor.as_deref(), &limit);
                given.extend(&page.items);
                cursor = page.prev_cursor;
            }
            given.sort_unstable();
            prop_assert_eq!(given, all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        }
    }
}
