//! A store's whole data at one moment.

use std::ops::Bound;

use fjall::{Keyspace, Readable};
use kernel::Time;
use kernel::audit::Snapshot;
use kernel::table::{Item, Key, TableError};

use super::codec::Row;
use super::engine::{self, Engine};
use super::{Store, codec};
use crate::encryption::Cipher;

/// A store's whole data at one moment; every walk through it sees the same.
pub struct StoreSnapshot {
    snapshot: fjall::Snapshot,
    items: Keyspace,
    cipher: Cipher,
    now: Time,
}

impl StoreSnapshot {
    pub(super) fn new(engine: &Engine, now: Time) -> Self {
        let (snapshot, items) = engine.snapshot();
        Self { snapshot, items, cipher: engine.cipher().clone(), now }
    }

    fn walk(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = Result<Item, TableError>> + Send + 'static {
        let (cipher, now) = (self.cipher.clone(), self.now);
        let stored = cipher.prefix(prefix).as_bytes().to_vec();
        let from = stored.as_slice().max(codec::FIRST_ITEM_KEY).to_vec();
        let prefix = prefix.to_owned();
        let range = (Bound::Included(from), Bound::Unbounded);
        self.snapshot
            .range(&self.items, range)
            .map(|guard| guard.into_inner().map_err(|error| engine::unavailable(&error)))
            .take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&stored)))
            .map(move |pair| {
                let (key, value) = pair?;
                let row = codec::decode(&cipher, &key, &value)?;
                Ok((codec::decode_key(&cipher, &key)?, row))
            })
            .filter(move |pair| {
                let is_meant = |(key, row): &(Key, Row)| {
                    key.partition.starts_with(&prefix) && row.is_live(now)
                };
                pair.as_ref().map_or(true, is_meant)
            })
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
