//! The table as its documentation says it, in the simplest code that could do it: a sorted map
//! under one lock. Property tests compare every backend with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use kernel::audit::Snapshot;
use kernel::table::{
    Condition, Item, Items, Key, Order, Query, Scatter, Table, TableError, Write, check,
};
use kernel::{Clock, Time};

/// A [`Table`] in memory.
pub struct Oracle {
    items: Mutex<BTreeMap<Key, Item>>,
    clock: Arc<dyn Clock>,
}

impl Oracle {
    /// An empty table whose items expire by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { items: Mutex::new(BTreeMap::new()), clock })
    }

    fn locked<T>(&self, work: impl FnOnce(&mut BTreeMap<Key, Item>, Time) -> T) -> T {
        let now = self.clock.now();
        work(&mut self.items.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

fn live<'a>(items: &'a BTreeMap<Key, Item>, key: &Key, now: Time) -> Option<&'a Item> {
    items.get(key).filter(|item| item.expires_at.is_none_or(|at| at > now))
}

fn holds(condition: Condition, item: Option<&Item>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => item.is_none(),
        Condition::Present => item.is_some(),
        Condition::Version(version) => item.is_some_and(|item| item.version == version),
    }
}

fn apply(items: &mut BTreeMap<Key, Item>, write: Write, now: Time) {
    let before = live(items, write.key(), now).cloned();
    let version = before.as_ref().map_or(0, |item| item.version) + 1;
    match write {
        Write::Put { key, body, expires_at, .. } => {
            items.insert(key.clone(), Item { key, body, count: 0, version, expires_at });
        }
        Write::Delete { key, .. } => {
            items.remove(&key);
        }
        Write::Add { key, delta, .. } => {
            let fresh = Item { key, body: Bytes::new(), count: 0, version, expires_at: None };
            let mut item = before.unwrap_or(fresh);
            item.count += delta;
            item.version = version;
            items.insert(item.key.clone(), item);
        }
        Write::Check { .. } => {}
    }
}

#[async_trait]
impl Table for Oracle {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        check::get(keys)?;
        Ok(self
            .locked(|items, now| keys.iter().map(|key| live(items, key, now).cloned()).collect()))
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        check::query(&query)?;
        let mut found: Vec<Item> = self.locked(|items, now| {
            let in_range = items.values().filter(|item| {
                item.key.partition == query.partition
                    && std::ops::RangeBounds::contains(
                        &(query.from.clone(), query.to.clone()),
                        &item.key.sort,
                    )
            });
            in_range.filter(|item| item.expires_at.is_none_or(|at| at > now)).cloned().collect()
        });
        if query.order == Order::Descending {
            found.reverse();
        }
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|item| item.key.sort.clone());
        Ok(Items { items: found, next })
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        check::commit(&writes)?;
        self.locked(|items, now| {
            let unmet = writes
                .iter()
                .position(|write| !holds(write.condition(), live(items, write.key(), now)));
            if let Some(index) = unmet {
                return Err(TableError::Unmet(index));
            }
            writes.into_iter().for_each(|write| apply(items, write, now));
            Ok(())
        })
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        check::scatter(&writes)?;
        self.locked(|items, _| {
            for write in writes {
                match write {
                    Scatter::Put { key, body, expires_at } => {
                        let item =
                            Item { key: key.clone(), body, count: 0, version: 1, expires_at };
                        items.insert(key, item);
                    }
                    Scatter::Delete(key) => {
                        items.remove(&key);
                    }
                }
            }
        });
        Ok(())
    }
}

impl Snapshot for Oracle {
    fn items<'a>(
        &'a self,
        prefix: &str,
    ) -> Box<dyn Iterator<Item = Result<Item, TableError>> + Send + 'a> {
        let found: Vec<Item> = self.locked(|items, now| {
            items
                .values()
                .filter(|item| item.key.partition.starts_with(prefix))
                .filter(|item| item.expires_at.is_none_or(|at| at > now))
                .cloned()
                .collect()
        });
        Box::new(found.into_iter().map(Ok))
    }
}
