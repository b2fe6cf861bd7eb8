//! Which posts are still there, remembered for as long as nobody deletes any.
//!
//! Every page of a timeline asks whether its posts still exist, and must never be answered with
//! what was true a moment ago. Every deletion counts up an item in its own commit; so one read of
//! that item tells whether what is remembered still holds, in place of one read for each post. The
//! item has replicas, so that on a partitioned store no single one is read by everybody; a
//! deletion, the rarer thing, writes them all.
//!
//! The counter is in the table, so deletions by other processes are noticed like one's own. But of
//! a commit under way a reader may see the counter changed and the post still there. Where that can
//! be (a settle lag is set), nothing is remembered until the counter has stood for so long.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use kernel::table::{Key, TableError, Write, get_one};
use kernel::{PostId, Time};
use quick_cache::DefaultHashBuilder;

use crate::{Posts, store};

/// Copies of the counter.
const REPLICAS: usize = 4;

/// Posts that are known to be there.
pub(crate) struct Existing {
    known: RwLock<Known>,
    posts_max: usize,
    lag: Duration,
}

/// What was found when the counter stood at `deletions`.
#[derive(Default)]
struct Known {
    deletions: i64,
    /// When it was first seen to stand there.
    since: Time,
    posts: HashSet<PostId, DefaultHashBuilder>,
}

/// The writes that say that posts were deleted; they belong in the commit that deletes them.
pub(crate) fn deleted() -> impl Iterator<Item = Write> {
    (0..REPLICAS).map(|replica| Write::add(counter_key(replica), 1))
}

fn counter_key(replica: usize) -> Key {
    Key::new(format!("deletions#{replica}"), "")
}

impl Existing {
    pub(crate) fn new(posts_max: usize, lag: Option<Duration>) -> Self {
        Self { known: RwLock::default(), posts_max, lag: lag.unwrap_or_default() }
    }

    /// Those of `ids` that are not known to be there after so many deletions.
    fn unknown(&self, ids: &[PostId], deletions: i64) -> Vec<PostId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_known = |id: &PostId| known.deletions == deletions && known.posts.contains(id);
        ids.iter().filter(|id| !is_known(id)).copied().collect()
    }

    /// Remembers posts that were looked for at `now`, after so many deletions. When there is no
    /// more room, all of them are found anew.
    fn remember(&self, posts: impl ExactSizeIterator<Item = PostId>, deletions: i64, now: Time) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.deletions > deletions {
            return;
        }
        if known.deletions < deletions {
            *known = Known { deletions, since: now, posts: HashSet::default() };
        }
        if now.since(known.since) < self.lag {
            return;
        }
        if known.posts.len() + posts.len() > self.posts_max {
            known.posts.clear();
        }
        known.posts.extend(posts);
    }

    /// Which of up to 100 posts exist, and are not of suspended people.
    pub(crate) async fn check(
        &self,
        posts: &Posts,
        ids: &[PostId],
    ) -> Result<Vec<bool>, TableError> {
        let now = posts.clock.now();
        // Any replica will do; all stand at the same number.
        let Some(first) = ids.first() else { return Ok(Vec::new()) };
        let replica = usize::from(first.0.to_bytes()[15]) % REPLICAS;
        // Read before the posts: a deletion in between makes what is found out of date at once.
        let deletions =
            get_one(&*posts.table, counter_key(replica)).await?.map_or(0, |item| item.count);
        let unknown = self.unknown(ids, deletions);
        if unknown.is_empty() {
            return Ok(vec![true; ids.len()]);
        }
        let found = store::items(posts, &unknown).await?;
        let (mut there, mut absent) = (Vec::with_capacity(unknown.len()), Vec::new());
        for (id, item) in unknown.into_iter().zip(found) {
            if item.is_some() { there.push(id) } else { absent.push(id) }
        }
        self.remember(there.into_iter(), deletions, now);
        Ok(ids.iter().map(|id| !absent.contains(id)).collect())
    }
}
