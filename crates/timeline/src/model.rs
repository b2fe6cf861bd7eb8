//! The rules of feeds: what a place in one is, and what comes before and after it.

use std::cmp::Reverse;

use kernel::feed::FeedEntry;
use kernel::page::Direction;
use kernel::{Code, Cursor, PostId, Problem, UserId};
use serde::{Deserialize, Serialize};

/// The name that timeline cursors are bound to.
const LIST: &str = "timeline";

/// Above every post: "everything, whatever its id".
pub(crate) const LAST: PostId = PostId(ulid::Ulid(u128::MAX));

/// One row of a feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) post_id: PostId,
    pub(crate) author_id: UserId,
    pub(crate) arrival: u64,
    /// Whether the post was deleted after it arrived.
    pub(crate) gone: bool,
}

impl Row {
    /// What readers are given of it.
    pub(crate) fn entry(&self) -> FeedEntry {
        FeedEntry { post_id: self.post_id, author_id: self.author_id, arrival: self.arrival }
    }
}

/// A row's body; its post is the sort key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RowBody {
    #[serde(rename = "a")]
    pub(crate) author_id: UserId,
    #[serde(rename = "n")]
    pub(crate) arrival: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
}

/// One end of a follow, as the events told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Edge {
    #[serde(rename = "v")]
    pub(crate) version: u64,
    pub(crate) on: bool,
    /// The follower mutes the author: their posts are in the feed's rows, and not shown.
    #[serde(default, rename = "m", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) muted: bool,
}

/// Who is at the other end of a follow that is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) user_id: UserId,
    /// Whether the follower, whichever end that is, mutes the author.
    pub(crate) muted: bool,
}

/// A place in a feed: a post, and the last arrival that the reader has been given or can reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) post: PostId,
    pub(crate) seen: u64,
}

impl Place {
    /// The place of a live reader: everything that arrived up to `seen`.
    pub(crate) fn live(seen: u64) -> Self {
        Self { post: LAST, seen }
    }

    /// The cursor to what is older.
    pub(crate) fn older(self) -> String {
        Cursor::older(self.text()).render(LIST)
    }

    /// The cursor to what is newer.
    pub(crate) fn newer(self) -> String {
        Cursor::newer(self.text()).render(LIST)
    }

    /// Reads a cursor; 400 when it is not one of these.
    pub(crate) fn parse(text: &str) -> Result<(Direction, Self), Problem> {
        let Cursor { direction, at } = Cursor::parse(LIST, text)?;
        let place = at.split_at_checked(ulid::ULID_LEN).and_then(|(post, seen)| {
            Some(Self { post: post.parse().ok()?, seen: seen.parse().ok()? })
        });
        let bad = || Problem::new(Code::InvalidCursor, "This is not a cursor of the timeline.");
        Ok((direction, place.ok_or_else(bad)?))
    }

    fn text(self) -> String {
        let mut text = String::with_capacity(2 * ulid::ULID_LEN);
        text.push_str(self.post.0.array_to_str(&mut [0; ulid::ULID_LEN]));
        text.push_str(itoa::Buffer::new().format(self.seen));
        text
    }
}

/// Puts lists of rows together, newest post first. Of two rows of one post the one of the earlier
/// list stays.
pub(crate) fn merge(lists: Vec<Vec<Row>>) -> Vec<Row> {
    let mut rows = lists.into_iter().flatten().collect::<Vec<_>>();
    // Stable: equal posts keep the order of their lists.
    rows.sort_by_key(|row| Reverse(row.post_id));
    rows.dedup_by_key(|row| row.post_id);
    rows
}

/// One step towards newer entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) entry: FeedEntry,
    /// Where a reader stands who has been given it.
    pub(crate) after: Place,
}

/// The way to newer entries from `from`: first what lies above it and had arrived when the reader
/// came by, by id; then what arrived since, in the order of arrival. Rows below `floor` may be
/// incomplete and are left to a pull, unless they arrived since.
pub(crate) fn newer(rows: &[Row], from: Place, floor: Option<PostId>) -> Vec<Step> {
    let live = || rows.iter().filter(|row| !row.gone).map(Row::entry);
    let mut above: Vec<_> = live()
        .filter(|entry| entry.arrival <= from.seen && entry.post_id > from.post)
        .filter(|entry| floor.is_none_or(|floor| entry.post_id >= floor))
        .collect();
    above.sort_by_key(|entry| entry.post_id);
    let mut since: Vec<_> = live().filter(|entry| entry.arrival > from.seen).collect();
    since.sort_by_key(|entry| entry.arrival);
    let mut place = from;
    let mut step = |entry: FeedEntry| {
        // Nothing that was given may lie above the place's post, or it would be given again.
        place.post = place.post.max(entry.post_id);
        place.seen = place.seen.max(entry.arrival);
        Step { entry, after: place }
    };
    above.into_iter().chain(since).map(&mut step).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(post: u128, arrival: u64) -> Row {
        let author_id = UserId(1.into());
        Row { post_id: PostId(post.into()), author_id, arrival, gone: false }
    }

    #[test]
    fn what_arrived_before_comes_by_id_and_what_arrived_since_by_arrival() {
        let rows = [row(9, 3), row(5, 0), row(4, 7), row(8, 6), row(1, 0)];
        let from = Place { post: PostId(3.into()), seen: 5 };
        let steps = newer(&rows, from, None);
        let posts: Vec<u128> = steps.iter().map(|step| step.entry.post_id.0.0).collect();
        assert_eq!(posts, [5, 9, 8, 4]);
        let last = steps[3].after;
        assert_eq!(last, Place { post: PostId(9.into()), seen: 7 });
        assert!(newer(&rows, last, None).is_empty());
    }

    #[test]
    fn the_first_list_wins_in_a_merge() {
        let rows = merge(vec![vec![row(2, 0)], vec![row(3, 1), row(2, 9)]]);
        assert_eq!(rows, [row(3, 1), row(2, 0)]);
    }

    #[test]
    fn cursors_of_other_shapes_are_refused() {
        let text = Cursor::older("x").render(LIST);
        assert_eq!(Place::parse(&text).unwrap_err().code, Code::InvalidCursor);
        assert_eq!(Place::parse("x").unwrap_err().code, Code::InvalidCursor);
    }

    proptest! {
        #[test]
        fn places_come_back_as_they_were(post: u128, seen: u64) {
            let place = Place { post: PostId(post.into()), seen };
            prop_assert_eq!(Place::parse(&place.newer()).unwrap(), (Direction::Newer, place));
            prop_assert_eq!(Place::parse(&place.older()).unwrap(), (Direction::Older, place));
        }

        /// However rows arrive between the steps of a reader, each is given once.
        #[test]
        fn a_reader_loses_nothing_and_repeats_nothing(
            posts in proptest::collection::hash_set(1..200_u128, 1..60),
            at_first in 0..20_usize,
            takes in proptest::collection::vec((0..4_usize, 0..5_usize), 1..40),
        ) {
            // The order of the set is random: ids arrive out of order.
            let arrivals: Vec<_> =
                posts.iter().zip(1..).map(|(post, arrival)| row(*post, arrival)).collect();
            let mut there = at_first.min(arrivals.len());
            let mut given: Vec<Row> = arrivals[..there].to_vec();
            let mut place = Place {
                post: given.iter().map(|row| row.post_id).max().unwrap_or(PostId(0.into())),
                seen: there as u64,
            };
            for (arrive, take) in takes.into_iter().chain([(60, 60), (0, 60)]) {
                there = (there + arrive).min(arrivals.len());
                for step in newer(&arrivals[..there], place, None).into_iter().take(take) {
                    given.push(row(step.entry.post_id.0.0, step.entry.arrival));
                    place = step.after;
                }
            }
            let mut sorted = given.clone();
            sorted.sort_by_key(|row| row.arrival);
            prop_assert_eq!(sorted, arrivals);
        }
    }
}
