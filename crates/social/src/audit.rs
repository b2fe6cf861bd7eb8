//! Whether counts and lists agree with the edges.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use kernel::audit::{Finding, Snapshot};
use kernel::table::{Item, Key, TableError};
use kernel::{PostId, UserId};

use crate::model::Edge;
use crate::store::hides::{self, Hide};
use crate::store::{self, follows, likes};

/// The partitions of index rows.
const ROWS: [&str; 9] = [
    "followers#",
    "followers-by-time#",
    "following-by-time#",
    "likes-by-time#",
    "likes-of#",
    "blocked-by#",
    "blocks-by-time#",
    "muted-by#",
    "mutes-by-time#",
];

/// What the edges say must be there, and nothing else.
#[derive(Default)]
struct Expected {
    /// Index rows, with the id that each holds; empty where the key says it.
    rows: HashMap<Key, String>,
    counts: HashMap<Key, i64>,
    /// Follows that a block bars: both ways of each pair that is parted.
    barred: HashSet<Key>,
    findings: Vec<Finding>,
}

/// How many follows and likes there are. Edges that were undone stay; their index rows do not.
pub fn count(snapshot: &dyn Snapshot) -> Result<(u64, u64), TableError> {
    let count = |prefix| kernel::audit::count(snapshot, prefix);
    Ok((count("followers#")?, count("likes-of#")?))
}

/// Every disagreement between edges on one side, and index rows, counters and the marks of what is
/// deleted on the other.
pub fn audit(snapshot: &dyn Snapshot) -> Result<Vec<Finding>, TableError> {
    let mut expected = Expected::default();
    let gone = marks(snapshot)?;
    for (prefix, hide) in [("block#", Hide::Block), ("mute#", Hide::Mute)] {
        for item in snapshot.items(prefix) {
            expected.hide(hide, &item?, &gone)?;
        }
    }
    for item in snapshot.items("follow#") {
        expected.follow(&item?, &gone)?;
    }
    for item in snapshot.items("like#") {
        expected.like(&item?, &gone)?;
    }
    for prefix in ROWS {
        for row in snapshot.items(prefix) {
            expected.row(&row?);
        }
    }
    for prefix in ["user#", "post#"] {
        for item in snapshot.items(prefix) {
            expected.counter(&item?);
        }
    }
    Ok(expected.leftovers())
}

fn marks(snapshot: &dyn Snapshot) -> Result<HashSet<Key>, TableError> {
    let mut gone = HashSet::new();
    for prefix in ["user#", "post#"] {
        for item in snapshot.items(prefix) {
            let key = item?.key;
            if key.sort == store::GONE {
                gone.insert(key);
            }
        }
    }
    Ok(gone)
}

impl Expected {
    fn follow(&mut self, item: &Item, gone: &HashSet<Key>) -> Result<(), TableError> {
        let (follower, followee): (UserId, UserId) = (owner(item)?, store::row_id(item)?);
        let edge: Edge = item.json()?;
        if edge.barred != self.barred.remove(&item.key) || edge.barred && edge.on {
            let detail = format!("barred {}, there {}", edge.barred, edge.on);
            self.finding("a block bars both follows", &item.key, detail);
        }
        if edge.on {
            let held = [String::new(), follower.text(), followee.text()];
            self.rows.extend(follows::row_keys(follower, followee, edge.at).into_iter().zip(held));
            self.count(store::user_key(follower, follows::FOLLOWING));
            self.count(store::user_key(followee, follows::FOLLOWERS));
            self.ends(item, gone, &[store::user_gone(follower), store::user_gone(followee)]);
        }
        Ok(())
    }

    fn hide(&mut self, hide: Hide, item: &Item, gone: &HashSet<Key>) -> Result<(), TableError> {
        let (who, whom): (UserId, UserId) = (owner(item)?, store::row_id(item)?);
        let edge: Edge = item.json()?;
        if !edge.on {
            return Ok(());
        }
        let held = [String::new(), whom.text()];
        self.rows.extend(hide.row_keys(who, whom, edge.at).into_iter().zip(held));
        self.ends(item, gone, &[store::user_gone(who), store::user_gone(whom)]);
        match hide {
            Hide::Mute => self.count(hides::hidden_key(who)),
            Hide::Block => {
                for (from, to) in [(who, whom), (whom, who)] {
                    // Parted once, also where each blocks the other.
                    if self.barred.insert(follows::edge_key(from, to)) {
                        self.count(hides::hidden_key(from));
                    }
                }
            }
        }
        Ok(())
    }

    fn like(&mut self, item: &Item, gone: &HashSet<Key>) -> Result<(), TableError> {
        let (post, user): (PostId, UserId) = (owner(item)?, store::row_id(item)?);
        let edge: Edge = item.json()?;
        if edge.on {
            let held = [user.text(), String::new()];
            self.rows.extend(likes::row_keys(user, post, edge.at).into_iter().zip(held));
            self.count(store::post_key(post, likes::LIKES));
            self.ends(item, gone, &[store::user_gone(user), store::post_gone(post)]);
        }
        Ok(())
    }

    fn count(&mut self, counter: Key) {
        *self.counts.entry(counter).or_default() += 1;
    }

    /// An edge to or from what is deleted may only be there while the deletion is being worked on.
    fn ends(&mut self, edge: &Item, gone: &HashSet<Key>, marks: &[Key; 2]) {
        if let Some(mark) = marks.iter().find(|mark| gone.contains(mark)) {
            let detail = format!("{} is deleted", mark.partition);
            self.finding("edges end at what exists", &edge.key, detail);
        }
    }

    fn row(&mut self, row: &Item) {
        match self.rows.remove(&row.key) {
            Some(held) if held.as_bytes() == row.body.as_ref() => {}
            Some(held) => self.finding("an index row holds its edge's end", &row.key, held),
            None => self.finding("an index row has an edge", &row.key, "no edge".to_owned()),
        }
    }

    fn counter(&mut self, item: &Item) {
        if item.key.sort == store::GONE {
            return;
        }
        let edges = self.counts.remove(&item.key).unwrap_or(0);
        if edges != item.count {
            let detail = format!("{} counted, {edges} edges", item.count);
            self.finding("a count equals its edges", &item.key, detail);
        }
    }

    fn leftovers(mut self) -> Vec<Finding> {
        for (key, _) in std::mem::take(&mut self.rows) {
            self.finding("an edge is in its lists", &key, "no such row".to_owned());
        }
        for key in std::mem::take(&mut self.barred) {
            self.finding("a block bars both follows", &key, "no such row".to_owned());
        }
        for (key, edges) in std::mem::take(&mut self.counts) {
            self.finding("a count equals its edges", &key, format!("none counted, {edges} edges"));
        }
        self.findings
    }

    fn finding(&mut self, rule: &'static str, key: &Key, detail: String) {
        let place = format!("{} {}", key.partition, key.sort);
        self.findings.push(Finding { rule, place, detail });
    }
}

/// The id behind the `#` of an item's partition.
fn owner<T: FromStr>(item: &Item) -> Result<T, TableError> {
    let id = item.key.partition.split_once('#').and_then(|(_, id)| id.parse().ok());
    id.ok_or_else(|| TableError::Malformed(format!("{:?} names nobody", item.key)))
}
