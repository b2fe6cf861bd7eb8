//! A store's whole data at one moment.

use std::ops::Bound;

use fjall::{Keyspace, Readable};
use kernel::Time;
use kernel::audit::Snapshot;
use kernel::table::{Item, TableError};

use super::engine::{self, Engine};
use super::{Store, codec};

/// A store's whole data at one moment; every walk through it sees the same.
pub struct StoreSnapshot {
    snapshot: fjall::Snapshot,
    items: Keyspace,
    now: Time,
}

impl StoreSnapshot {
    pub(super) fn new(engine: &Engine, now: Time) -> Self {
        let (snapshot, items) = engine.snapshot();
        Self { snapshot, items, now }
    }

    fn walk(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = Result<Item, TableError>> + Send + 'static {
        let (prefix, now) = (prefix.as_bytes().to_vec(), self.now);
        let from = prefix.as_slice().max(codec::FIRST_ITEM_KEY).to_vec();
        let range = (Bound::Included(from), Bound::Unbounded);
        self.snapshot
            .range(&self.items, range)
            .map(|guard| guard.into_inner().map_err(|error| engine::unavailable(&error)))
            .take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
            .map(|pair| {
                let (key, value) = pair?;
                Ok((codec::decode_key(&key)?, codec::decode(&key, &value)?))
            })
            .filter(move |pair| pair.as_ref().map_or(true, |(_, row)| row.is_live(now)))
            .map(|pair| pair.map(|(key, row)| row.into_item(key)))
    }
}

impl Snapshot for StoreSnapshot {
    fn items<'a>(
        &'a self,
        prefix: &str,
    ) -> Box<dyn Iterator<Item = Result<Item, TableError>> + Send + 'a> {
        Box::new(self.walk(prefix))
    }
}

/// Each walk sees its own moment; [`Store::snapshot`] holds one for several walks.
impl Snapshot for Store {
    fn items<'a>(
        &'a self,
        prefix: &str,
    ) -> Box<dyn Iterator<Item = Result<Item, TableError>> + Send + 'a> {
        match self.snapshot() {
            Ok(snapshot) => Box::new(snapshot.walk(prefix)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}
