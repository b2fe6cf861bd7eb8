//! Which posts are still there, remembered for as long as nobody deletes any.
//!
//! Every page of a timeline asks whether its posts still exist, and must never be answered with
//! what was true a moment ago. Every deletion counts up an item in its own commit; so one read of
//! that item tells whether what is remembered still holds, in place of one read for each post. The
//! item has replicas, so that on a partitioned store no single one is read by everybody; a
//! deletion, the rarer thing, writes them all.

use kernel::PostId;
use kernel::table::{Key, Table, TableError, Write, get_one};
use quick_cache::sync::Cache;

use crate::store;

/// Copies of the counter.
const REPLICAS: usize = 4;

/// Posts found when a replica of the counter stood at the number.
pub(crate) struct Existing(Cache<PostId, i64>);

/// The writes that say that posts were deleted; they belong in the commit that deletes them.
pub(crate) fn deleted() -> impl Iterator<Item = Write> {
    (0..REPLICAS).map(|replica| Write::add(counter_key(replica), 1))
}

fn counter_key(replica: usize) -> Key {
    Key::new(format!("deletions#{replica}"), "")
}

impl Existing {
    pub(crate) fn new(posts_max: usize) -> Self {
        Self(Cache::new(posts_max))
    }

    /// Which of up to 100 posts exist, as of now.
    pub(crate) async fn check(
        &self,
        table: &dyn Table,
        ids: &[PostId],
    ) -> Result<Vec<bool>, TableError> {
        // Any replica will do; all stand at the same number.
        let Some(first) = ids.first() else { return Ok(Vec::new()) };
        let replica = usize::from(first.0.to_bytes()[15]) % REPLICAS;
        // Read before the posts: a deletion in between makes what is found out of date at once.
        let deletions = get_one(table, counter_key(replica)).await?.map_or(0, |item| item.count);
        let known = |id: &&PostId| self.0.get(*id) == Some(deletions);
        let unknown: Vec<PostId> = ids.iter().filter(|id| !known(id)).copied().collect();
        if unknown.is_empty() {
            return Ok(vec![true; ids.len()]);
        }
        let found = store::items(table, &unknown).await?;
        let mut absent = Vec::new();
        for (id, item) in unknown.into_iter().zip(found) {
            match item {
                Some(_) => self.0.insert(id, deletions),
                None => absent.push(id),
            }
        }
        Ok(ids.iter().map(|id| !absent.contains(id)).collect())
    }
}
