//! Whose posts are shown to nobody, remembered for as long as no account is suspended or restored.
//!
//! Suspensions are few, so a reader keeps the whole set. Each change of it counts up an item in its
//! own commit; every read of posts reads that item along with them, and so costs no request more.
//! The item has replicas, as that of deletions has, and a suspension counts as a deletion too: of
//! posts that are remembered to exist some may be hidden now.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kernel::event::Suspension;
use kernel::table::{
    self, Condition, Item, Key, QUERY_ITEMS_MAX, Query, Table, TableError, Write, get_one,
};
use kernel::{PostId, Problem, Time, UserId};
use serde::{Deserialize, Serialize};

use crate::{Posts, existing};

/// The partition of the rows that say who is, or was, suspended.
const PARTITION: &str = "suspended";
/// Copies of the counter.
const REPLICAS: usize = 4;

/// What the last event about somebody said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Standing {
    #[serde(rename = "v")]
    version: u64,
    suspended: bool,
}

/// Who is suspended, as far as known.
pub(crate) struct Suspended {
    known: RwLock<Arc<Known>>,
    lag: Duration,
}

/// What was found when the counter stood at `changes`.
#[derive(Default)]
struct Known {
    /// None before the first look.
    changes: Option<i64>,
    /// When the counter was first seen to stand there.
    since: Time,
    users: Arc<HashSet<UserId>>,
}

/// A counter of every suspension and restoration. Any replica will do, and one that goes by the
/// post spreads its readers.
pub(crate) fn counter_key(post: PostId) -> Key {
    replica_key(usize::from(post.0.to_bytes()[15]) % REPLICAS)
}

fn replica_key(replica: usize) -> Key {
    Key::new(format!("suspensions#{replica}"), "")
}

impl Suspended {
    pub(crate) fn new(lag: Option<Duration>) -> Self {
        Self { known: RwLock::default(), lag: lag.unwrap_or_default() }
    }

    /// Whose posts are hidden, by the counter's item as it was read at `now`.
    pub(crate) async fn users(
        &self,
        table: &dyn Table,
        counter: Option<&Item>,
        now: Time,
    ) -> Result<Arc<HashSet<UserId>>, TableError> {
        let changes = counter.map_or(0, |item| item.count);
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let stands = known.changes == Some(changes);
        // Of a commit under way a reader may see the counter changed and the row not yet.
        if stands && now.since(known.since) >= self.lag {
            return Ok(Arc::clone(&known.users));
        }
        let since = if stands { known.since } else { now };
        let users = Arc::new(all(table).await?);
        let found = Arc::new(Known { changes: Some(changes), since, users });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.changes <= found.changes {
            *known = Arc::clone(&found);
        }
        Ok(Arc::clone(&found.users))
    }
}

async fn all(table: &dyn Table) -> Result<HashSet<UserId>, TableError> {
    let mut query = Query::all(PARTITION, QUERY_ITEMS_MAX);
    let mut users = HashSet::new();
    loop {
        let found = table.query(query.clone()).await?;
        for item in &found.items {
            if is_suspended(item)? {
                users.insert(
                    item.key.sort.parse().map_err(|_| {
                        TableError::Malformed(format!("{:?} names nobody", item.key))
                    })?,
                );
            }
        }
        let Some(next) = found.next else { return Ok(users) };
        query = query.above(next);
    }
}

/// Takes over what an event says, unless a newer one is known.
pub(crate) async fn note(posts: &Posts, told: &Suspension, suspended: bool) -> Result<(), Problem> {
    let key = key(told.user_id);
    let standing = Standing { version: told.version, suspended };
    table::retry(|| async {
        let item = get_one(&*posts.table, key.clone()).await?;
        let before: Option<Standing> = item.as_ref().map(Item::json).transpose()?;
        if before.is_some_and(|before| before.version >= standing.version) {
            return Ok(());
        }
        let put = Write::put_json(key.clone(), &standing);
        let mut writes = vec![put.when(Condition::unchanged(item.as_ref()))];
        writes.extend((0..REPLICAS).map(|replica| Write::add(replica_key(replica), 1)));
        writes.extend(existing::deleted());
        Ok(posts.table.commit(writes).await?)
    })
    .await
}

/// Where it says whether a user is suspended.
pub(crate) fn key(user: UserId) -> Key {
    Key::new(PARTITION, user.text())
}

/// What it says there.
pub(crate) fn is_suspended(item: &Item) -> Result<bool, TableError> {
    Ok(item.json::<Standing>()?.suspended)
}

/// The write that forgets a deleted user.
pub(crate) fn forget(user: UserId) -> Write {
    Write::delete(key(user))
}
