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
    rows: Mutex<Rows>,
    clock: Arc<dyn Clock>,
}

/// What it holds.
#[derive(Default)]
struct Rows {
    items: BTreeMap<Key, Item>,
    /// The last version that any item got.
    version: u64,
}

impl Oracle {
    /// An empty table whose items expire by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), clock })
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Rows, Time) -> T) -> T {
        let now = self.clock.now();
        work(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

impl Rows {
    fn live(&self, key: &Key, now: Time) -> Option<&Item> {
        self.items.get(key).filter(|item| item.expires_at.is_none_or(|at| at > now))
    }

    fn put(&mut self, mut item: Item) {
        self.version += 1;
        item.version = self.version;
        self.items.insert(item.key.clone(), item);
    }

    fn apply(&mut self, write: Write, now: Time) {
        match write {
            Write::Put { key, body, expires_at, .. } => self.put(fresh(key, body, expires_at)),
            Write::Delete { key, .. } => {
                self.items.remove(&key);
            }
            Write::Add { key, delta, .. } => {
                let before = self.live(&key, now).cloned();
                let mut item = before.unwrap_or_else(|| fresh(key, Bytes::new(), None));
                item.count += delta;
                self.put(item);
            }
            Write::Check { .. } => {}
        }
    }
}

/// An item that has no version yet.
fn fresh(key: Key, body: Bytes, expires_at: Option<Time>) -> Item {
    Item { key, body, count: 0, version: 0, expires_at }
}

fn holds(condition: Condition, item: Option<&Item>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => item.is_none(),
        Condition::Present => item.is_some(),
        Condition::Version(version) => item.is_some_and(|item| item.version == version),
    }
}

#[async_trait]
impl Table for Oracle {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        check::get(keys)?;
        let find =
            |rows: &mut Rows, now| keys.iter().map(|key| rows.live(key, now).cloned()).collect();
        Ok(self.locked(find))
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        check::query(&query)?;
        let mut found: Vec<Item> = self.locked(|rows, now| {
            let in_range = rows.items.values().filter(|item| {
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
        self.locked(|rows, now| {
            let holds = |write: &Write| holds(write.condition(), rows.live(write.key(), now));
            let unmet = writes.iter().position(|write| !holds(write));
            if let Some(index) = unmet {
                return Err(TableError::Unmet(index));
            }
            writes.into_iter().for_each(|write| rows.apply(write, now));
            Ok(())
        })
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        check::scatter(&writes)?;
        self.locked(|rows, _| {
            for write in writes {
                match write {
                    Scatter::Put { key, body, expires_at } => {
                        rows.put(fresh(key, body, expires_at));
                    }
                    Scatter::Delete(key) => {
                        rows.items.remove(&key);
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
        let found: Vec<Item> = self.locked(|rows, now| {
            rows.items
                .values()
                .filter(|item| item.key.partition.starts_with(prefix))
                .filter(|item| item.expires_at.is_none_or(|at| at > now))
                .cloned()
                .collect()
        });
        Box::new(found.into_iter().map(Ok))
    }
}
