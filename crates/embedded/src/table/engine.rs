//! The storage engine under the table: one fjall database with one keyspace.
//!
//! One keyspace rather than several, so that there is one memtable to flush: a second one that
//! fills slowly would hold the journal back.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::path::Path;

use fjall::{Database, Iter, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice};
use kernel::Time;
use kernel::table::{Key, Order, Query, TableError};

use crate::backup::{Row as RawRow, Rows};
use crate::directory::{Directory, OpenError};
use crate::encryption::Cipher;
use crate::{opening, pace};

use super::Options;
use super::codec::{self, Row};

/// The database while it is open.
#[derive(Clone)]
pub(super) struct Engine {
    db: Database,
    items: Keyspace,
    cipher: Cipher,
}

/// What a walk finds: stored keys with their rows.
pub(super) type Found = Box<dyn Iterator<Item = Result<(Slice, Row), TableError>> + Send>;

/// A batch failed: the engine takes no more writes and has to be opened again.
pub(super) fn unavailable(error: &fjall::Error) -> TableError {
    TableError::Unavailable(format!("the storage engine failed: {error:?}"))
}

impl Engine {
    /// Opens (or makes) the database and checks that it reaches the directory's position. Also
    /// gives the number of its last batch.
    pub(super) fn open(
        directory: &Directory,
        options: &Options,
        cipher: &Cipher,
    ) -> Result<(Self, u64), OpenError> {
        opening::open(directory, |path| start(path, options, cipher), Self::position)
    }

    /// How what it holds is written.
    pub(super) const fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    fn position(&self) -> fjall::Result<u64> {
        let stored = self.items.get(codec::POSITION_KEY)?;
        let bytes = stored.and_then(|bytes| bytes.first_chunk::<8>().copied());
        Ok(bytes.map_or(0, u64::from_le_bytes))
    }

    /// The row at `key` after the last durable batch.
    pub(super) fn load(&self, key: &Key) -> Result<Option<Row>, TableError> {
        self.load_raw(&codec::encode_key(&self.cipher, key))
    }

    pub(super) fn load_raw(&self, key: &[u8]) -> Result<Option<Row>, TableError> {
        let value = self.items.get(key).map_err(|error| unavailable(&error))?;
        value.map(|value| codec::decode(&self.cipher, key, &value)).transpose()
    }

    /// The live rows of a query's range, in its order, as they are at the present moment.
    pub(super) fn walk(&self, query: &Query, now: Time) -> Found {
        let partition = self.cipher.partition(&query.partition);
        let Some(range) = bounds(query, &partition) else {
            return Box::new(std::iter::empty());
        };
        if let Some(stored) = self.cipher.hidden(&query.partition, common_beginning(query)) {
            return self.walk_hidden(query, &codec::join(&partition, &stored), now);
        }
        // A snapshot shows whole batches only.
        let found = self.db.snapshot().range(&self.items, range);
        match query.order {
            Order::Ascending => self.live(found, now),
            Order::Descending => self.live(found.rev(), now),
        }
    }

    fn live(&self, found: impl Iterator<Item = fjall::Guard> + Send + 'static, now: Time) -> Found {
        let cipher = self.cipher.clone();
        let rows = found.map(move |guard| {
            let (key, value) = guard.into_inner().map_err(|error| unavailable(&error))?;
            let row = codec::decode(&cipher, &key, &value)?;
            Ok((key, row))
        });
        Box::new(rows.filter(move |row| row.as_ref().map_or(true, |(_, row)| row.is_live(now))))
    }

    /// The same where the stored order is another one: everything that is stored with `beginning`
    /// is looked at, and of that are kept the first few.
    fn walk_hidden(&self, query: &Query, beginning: &[u8], now: Time) -> Found {
        let found = self.first_of_hidden(query, beginning, now);
        match (found, query.order) {
            (Err(error), _) => Box::new(std::iter::once(Err(error))),
            (Ok(found), Order::Ascending) => Box::new(found.into_values().map(Ok)),
            (Ok(found), Order::Descending) => Box::new(found.into_values().rev().map(Ok)),
        }
    }

    fn first_of_hidden(
        &self,
        query: &Query,
        beginning: &[u8],
        now: Time,
    ) -> Result<BTreeMap<String, (Slice, Row)>, TableError> {
        let wanted = (query.from.clone(), query.to.clone());
        let is_first = |found: &BTreeMap<String, _>, sort: &String| match query.order {
            Order::Ascending => found.last_key_value().is_some_and(|(last, _)| sort < last),
            Order::Descending => found.first_key_value().is_some_and(|(last, _)| sort > last),
        };
        // One more than is wanted tells that there are more.
        let most = query.limit + 1;
        let mut found = BTreeMap::new();
        for guard in self.db.snapshot().prefix(&self.items, beginning) {
            let (key, value) = guard.into_inner().map_err(|error| unavailable(&error))?;
            let sort = codec::decode_key(&self.cipher, &key)?.sort;
            if !wanted.contains(&sort) || (found.len() == most && !is_first(&found, &sort)) {
                continue;
            }
            let row = codec::decode(&self.cipher, &key, &value)?;
            if !row.is_live(now) {
                continue;
            }
            found.insert(sort, (key, row));
            if found.len() > most {
                match query.order {
                    Order::Ascending => found.pop_last(),
                    Order::Descending => found.pop_first(),
                };
            }
        }
        Ok(found)
    }

    /// The store's own rows from `from` up to, not including, `to`.
    pub(super) fn own_rows(&self, from: &[u8], to: &[u8]) -> Iter {
        self.db.snapshot().range(&self.items, from..to)
    }

    pub(super) fn snapshot(&self) -> (fjall::Snapshot, Keyspace) {
        (self.db.snapshot(), self.items.clone())
    }

    /// All rows, the store's own too.
    pub(super) fn rows(&self) -> Result<Rows, TableError> {
        let rows = Rows::new(&self.db, &self.items, codec::POSITION_KEY);
        rows.map_err(|error| unavailable(&error))
    }

    pub(super) fn into_parts(self) -> (Database, Keyspace) {
        (self.db, self.items)
    }

    /// Writes and syncs rows, all or none, and removes those that were written once and never will
    /// be again: of them nothing reaches the engine's tables when they go as soon as they came.
    pub(super) fn write(&self, rows: Vec<RawRow>, spent: Vec<Slice>) -> fjall::Result<()> {
        let mut batch = self.batch(rows.len() + spent.len(), PersistMode::SyncData);
        for (key, value) in rows {
            match value {
                Some(value) => batch.batch.insert(&self.items, key, value),
                None => batch.batch.remove(&self.items, key),
            }
        }
        spent.into_iter().for_each(|key| batch.batch.remove_weak(&self.items, key));
        batch.commit()
    }

    pub(super) fn batch(&self, rows: usize, mode: PersistMode) -> Batch {
        let batch = fjall::OwnedWriteBatch::with_capacity(self.db.clone(), rows);
        let (db, items) = (self.db.clone(), self.items.clone());
        Batch { batch: batch.durability(Some(mode)), db, items }
    }

    /// Bytes that the engine may have to write without being asked.
    pub(super) fn owed_bytes(&self) -> u64 {
        pace::owed_bytes(&self.db, &self.items)
    }

    /// Whether the engine still takes writes: a failed flush in the background stops it too.
    pub(super) fn check(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::Buffer)
    }
}

/// Writes that happen together.
pub(super) struct Batch {
    batch: fjall::OwnedWriteBatch,
    db: Database,
    items: Keyspace,
}

impl Batch {
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.batch.remove(&self.items, key);
    }

    pub(super) fn commit(self) -> fjall::Result<()> {
        pace::keep(&self.db, &self.items)?;
        self.batch.commit()
    }
}

fn start(path: &Path, options: &Options, cipher: &Cipher) -> fjall::Result<Engine> {
    let db = Database::builder(path)
        .cache_size(options.block_cache_bytes)
        .max_journaling_size(options.journal_bytes_max.max(64 * 1024 * 1024))
        .worker_threads(options.engine_threads.max(1))
        .manual_journal_persist(true)
        .open()?;
    let memtable_bytes = options.memtable_bytes;
    let create = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable_bytes)
            .compaction_strategy(pace::strategy())
            .manual_journal_persist(true)
    };
    let items = db.keyspace("items", create)?;
    Ok(Engine { db, items, cipher: cipher.clone() })
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The query's range in keys; none when it cannot hold anything, which the engine does not expect.
fn bounds(query: &Query, partition: &str) -> Option<Bounds> {
    let at = |sort: &String| codec::join(partition, sort);
    let from = match &query.from {
        Bound::Included(sort) => Bound::Included(at(sort)),
        Bound::Excluded(sort) => Bound::Excluded(at(sort)),
        Bound::Unbounded => Bound::Included(codec::join(partition, "")),
    };
    let to = match &query.to {
        Bound::Included(sort) => Bound::Included(at(sort)),
        Bound::Excluded(sort) => Bound::Excluded(at(sort)),
        Bound::Unbounded => Bound::Excluded(codec::after(partition)),
    };
    let possible = match (&from, &to) {
        (Bound::Included(low), Bound::Included(high)) => low <= high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low < high,
        _ => true,
    };
    possible.then_some((from, to))
}

/// What all sort keys begin with that a query may find.
fn common_beginning(query: &Query) -> &str {
    let (Bound::Included(from) | Bound::Excluded(from)) = &query.from else { return "" };
    let (Bound::Included(to) | Bound::Excluded(to)) = &query.to else { return "" };
    let same = from.char_indices().zip(to.chars()).take_while(|((_, from), to)| from == to);
    let end = same.last().map_or(0, |((at, letter), _)| at + letter.len_utf8());
    &from[..end]
}
