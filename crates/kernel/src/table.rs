//! The store as a service sees it: one handle a service, shaped by the harder backend (DynamoDB).
//!
//! An item lives in a partition under a sort key. A commit is all or nothing, may check conditions,
//! and is durable when it answers; a scatter is many plain writes at half the price, not atomic and
//! safe to repeat. There is no scan and no secondary index: an index row is an item written in the
//! same commit. The limits below hold on every backend.

pub mod check;

use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;

use crate::sequence::Ticket;
use crate::{Problem, Time};

/// Writes in one commit, at most.
pub const COMMIT_WRITES_MAX: usize = 100;
/// Bytes of one commit's keys and bodies, at most: DynamoDB's 4 MiB less what it counts besides.
pub const COMMIT_BYTES_MAX: usize = 4080 * 1024;
/// Bytes of one item's key and body, at most: DynamoDB's 400 KiB less what it counts besides
/// (names of attributes, counter, version, expiry).
pub const ITEM_BYTES_MAX: usize = 399 * 1024;
/// Keys in one `get`, at most.
pub const GET_KEYS_MAX: usize = 100;
/// Items in one `query`, at most.
pub const QUERY_ITEMS_MAX: usize = 1000;
/// Writes in one `scatter`, at most; a backend cuts them into the chunks it likes.
pub const SCATTER_WRITES_MAX: usize = 10_000;
/// Bytes of a partition name, at most.
pub const PARTITION_BYTES_MAX: usize = 1024;
/// Bytes of a sort key, at most: one less than DynamoDB's, which takes no empty one, so that each
/// is stored behind a mark.
pub const SORT_BYTES_MAX: usize = 1023;

/// Where an item lives. Partitions are not empty and hold no NUL; sort keys compare by bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The group of items that can be queried in order.
    pub partition: String,
    /// The place in that group; may be empty.
    pub sort: String,
}

impl Key {
    /// The item of `partition` at `sort`.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

/// A stored item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Where it lives.
    pub key: Key,
    /// What it holds, usually JSON; empty for a pure counter.
    pub body: Bytes,
    /// Its counter; zero unless [`Write::Add`] changed it.
    pub count: i64,
    /// Another one after each write, and none that the key had before.
    pub version: u64,
    /// From when on it counts as absent.
    pub expires_at: Option<Time>,
}

impl Item {
    /// The body read as JSON. A body of another shape is a defect, never the caller's fault.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, TableError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            TableError::Malformed(format!("item {:?} cannot be read: {error}", self.key))
        })
    }
}

/// What must hold of an item before it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no such item (or it has expired).
    Absent,
    /// There is such an item.
    Present,
    /// There is such an item, and this is its version.
    Version(u64),
}

impl Condition {
    /// The item is as it was read: there in the same version, or not there.
    pub fn unchanged(item: Option<&Item>) -> Self {
        item.map_or(Self::Absent, |item| Self::Version(item.version))
    }
}

/// One write of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Replaces the item, its counter becoming zero.
    Put {
        /// Where.
        key: Key,
        /// What.
        body: Bytes,
        /// From when on the item counts as absent.
        expires_at: Option<Time>,
        /// What must hold before.
        condition: Condition,
    },
    /// Removes the item; removing an absent one is no error unless the condition says so.
    Delete {
        /// Where.
        key: Key,
        /// What must hold before.
        condition: Condition,
    },
    /// Adds to the item's counter, keeping its body and expiry; an absent item counts from zero.
    Add {
        /// Where.
        key: Key,
        /// How much; may be negative.
        delta: i64,
        /// What must hold before.
        condition: Condition,
    },
    /// Writes nothing, but the condition must hold.
    Check {
        /// Where.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
}

impl Write {
    /// A put of raw bytes without condition or expiry.
    pub fn put(key: Key, body: impl Into<Bytes>) -> Self {
        Self::Put { key, body: body.into(), expires_at: None, condition: Condition::Always }
    }

    /// A put of a value as JSON without condition or expiry.
    pub fn put_json(key: Key, value: &impl serde::Serialize) -> Self {
        Self::put(key, json(value))
    }

    /// A delete without condition.
    pub fn delete(key: Key) -> Self {
        Self::Delete { key, condition: Condition::Always }
    }

    /// An addition without condition.
    pub fn add(key: Key, delta: i64) -> Self {
        Self::Add { key, delta, condition: Condition::Always }
    }

    /// A condition alone.
    pub fn check(key: Key, condition: Condition) -> Self {
        Self::Check { key, condition }
    }

    /// The same write under a condition.
    #[must_use]
    pub fn when(mut self, wanted: Condition) -> Self {
        match &mut self {
            Self::Put { condition, .. }
            | Self::Delete { condition, .. }
            | Self::Add { condition, .. }
            | Self::Check { condition, .. } => *condition = wanted,
        }
        self
    }

    /// The same put with an expiry; other writes have none.
    #[must_use]
    pub fn expiring(mut self, at: Time) -> Self {
        if let Self::Put { expires_at, .. } = &mut self {
            *expires_at = Some(at);
        }
        self
    }

    /// Where it writes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key, .. }
            | Self::Add { key, .. }
            | Self::Check { key, .. } => key,
        }
    }

    /// What must hold before.
    pub fn condition(&self) -> Condition {
        match self {
            Self::Put { condition, .. }
            | Self::Delete { condition, .. }
            | Self::Add { condition, .. }
            | Self::Check { condition, .. } => *condition,
        }
    }
}

/// One write of a scatter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scatter {
    /// Replaces the item, its counter becoming zero.
    Put {
        /// Where.
        key: Key,
        /// What.
        body: Bytes,
        /// From when on the item counts as absent.
        expires_at: Option<Time>,
    },
    /// Removes the item.
    Delete(Key),
}

impl Scatter {
    /// Where it writes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// Which way a query walks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// From the smallest sort key on.
    Ascending,
    /// From the largest sort key on.
    Descending,
}

/// A walk through one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The partition.
    pub partition: String,
    /// Smallest sort key.
    pub from: Bound<String>,
    /// Largest sort key.
    pub to: Bound<String>,
    /// Which way.
    pub order: Order,
    /// Items at most, 1 to [`QUERY_ITEMS_MAX`].
    pub limit: usize,
}

impl Query {
    /// The whole of `partition`, ascending, `limit` items at most.
    pub fn all(partition: impl Into<String>, limit: usize) -> Self {
        Self {
            partition: partition.into(),
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            order: Order::Ascending,
            limit,
        }
    }

    /// The same walk from the other end.
    #[must_use]
    pub fn descending(self) -> Self {
        Self { order: Order::Descending, ..self }
    }

    /// The same walk, only over sort keys greater than `sort`.
    #[must_use]
    pub fn above(self, sort: impl Into<String>) -> Self {
        Self { from: Bound::Excluded(sort.into()), ..self }
    }

    /// The same walk, only over sort keys less than `sort`.
    #[must_use]
    pub fn below(self, sort: impl Into<String>) -> Self {
        Self { to: Bound::Excluded(sort.into()), ..self }
    }

    /// The same walk, only over sort keys that begin with `prefix`.
    #[must_use]
    pub fn starting_with(self, prefix: &str) -> Self {
        // U+10FFFF sorts after every other character, bytewise too, and stands in no key.
        let end = format!("{prefix}\u{10FFFF}");
        Self { from: Bound::Included(prefix.to_owned()), to: Bound::Excluded(end), ..self }
    }
}

/// What a query found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Items {
    /// The items in the query's order.
    pub items: Vec<Item>,
    /// Where to go on, exclusively, when there may be more: the sort key of the last item seen.
    pub next: Option<String>,
}

/// Why a table did not do as asked. Nothing was written, except after `Unavailable` and `Contended`
/// of a scatter (some of it may be) and `Unavailable` of a commit (all of it may be).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// The condition of the write at this index did not hold; the first such.
    #[error("the condition of write {0} did not hold")]
    Unmet(usize),
    /// Another commit touched the same item at the same moment; trying again may do.
    #[error("another commit was in the way")]
    Contended,
    /// Too much at once; try again later.
    #[error("the table is throttling")]
    Throttled,
    /// The table cannot be reached or cannot write.
    #[error("the table is unavailable: {0}")]
    Unavailable(String),
    /// The request breaks a limit, or a stored item cannot be read.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// One service's store.
#[async_trait]
pub trait Table: Send + Sync {
    /// The items at up to [`GET_KEYS_MAX`] keys, in the keys' order; sees every commit answered
    /// before, and each item whole. Of a commit that is being made at the same moment it may see a
    /// part.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError>;

    /// A walk through a partition; sees every commit answered before. Of a commit that is being
    /// made at the same moment it may see a part.
    async fn query(&self, query: Query) -> Result<Items, TableError>;

    /// 1 to [`COMMIT_WRITES_MAX`] writes on distinct keys, all or none, durable when answered.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError>;

    /// A [`commit`](Self::commit) of rows ordered by the ticket's id. A backend that may go on with
    /// a commit after its future was dropped holds a clone of the ticket until the rows are visible
    /// or never will be; the one given here goes with the future.
    async fn commit_ordered(&self, writes: Vec<Write>, ticket: &Ticket) -> Result<(), TableError> {
        let _ = ticket;
        self.commit(writes).await
    }

    /// Many plain writes on distinct keys, durable when answered, not atomic, repeatable.
    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError>;
}

/// The item at one key.
pub async fn get_one(table: &dyn Table, key: Key) -> Result<Option<Item>, TableError> {
    Ok(table.get(&[key]).await?.pop().flatten())
}

/// A value as JSON bytes. The types that are stored here cannot fail to be written.
pub fn json(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("stored types serialise"))
}

/// Tries a read-then-commit again while others are in the way: `attempt` reads afresh each time.
///
/// Ten tries are more than any real contention here needs; the last refusal is a 409.
pub async fn retry<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Attempt>>,
{
    for _ in 0..9 {
        match attempt().await {
            Err(Attempt::Again) => tokio::task::yield_now().await,
            Err(Attempt::Refused(problem)) => return Err(problem),
            Ok(done) => return Ok(done),
        }
    }
    match attempt().await {
        Ok(done) => Ok(done),
        Err(Attempt::Refused(problem)) => Err(problem),
        Err(Attempt::Again) => Err(TableError::Contended.into()),
    }
}

/// How one try of [`retry`] failed.
#[derive(Debug)]
pub enum Attempt {
    /// Somebody else was faster; read again and try again.
    Again,
    /// It will not do.
    Refused(Problem),
}

impl From<Problem> for Attempt {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// A lost race is tried again; every other refusal is final.
impl From<TableError> for Attempt {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Unmet(_) | TableError::Contended => Self::Again,
            other => Self::Refused(other.into()),
        }
    }
}
