//! What a viewer likes, remembered for as long as nothing about it changed.
//!
//! Every page of a timeline asks which of its posts the viewer likes, and must never be answered
//! with what was true a moment ago. Each change of a user's likes counts up one item of theirs in
//! the same commit; so one read of that item tells whether what is remembered still holds, in
//! place of one read for each post.
//!
//! The item is in the table, so changes by other processes are noticed like one's own. But of a
//! commit under way a reader may see the count changed and the like not yet. Where that can be (a
//! settle lag is set), nothing is remembered until the count has stood for so long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::table::{Key, Table, TableError, Write, get_one};
use kernel::{PostId, Time, UserId};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::store::likes;

/// Posts remembered of one viewer, at most.
const POSTS_MAX: usize = 512;
/// What one remembered post costs, about.
const POST_BYTES: usize = 40;
/// What one viewer costs beside their posts, about.
const VIEWER_BYTES: usize = 200;

/// What was found when the viewer's likes had changed `changes` times.
struct Known {
    changes: i64,
    /// When that was first seen.
    since: Time,
    liked: HashMap<PostId, bool, DefaultHashBuilder>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<UserId, Arc<Known>> for ByBytes {
    fn weight(&self, _: &UserId, known: &Arc<Known>) -> u64 {
        u64::try_from(VIEWER_BYTES + POST_BYTES * known.liked.len()).unwrap_or(u64::MAX)
    }
}

/// What viewers are known to like.
pub(crate) struct Viewers {
    cache: Cache<UserId, Arc<Known>, ByBytes>,
    lag: Duration,
}

/// The write that says that a user's likes changed; it belongs in the commit that changes them.
pub(crate) fn changed(user: UserId) -> Write {
    Write::add(changes_key(user), 1)
}

/// Where the changes of a user's likes are counted.
pub(crate) fn changes_key(user: UserId) -> Key {
    Key::new(user.prefixed("like-changes#"), "")
}

impl Viewers {
    pub(crate) fn new(bytes_max: u64, lag: Option<Duration>) -> Self {
        let items = usize::try_from(bytes_max).unwrap_or(usize::MAX) / VIEWER_BYTES;
        let cache = Cache::with_weighter(items, bytes_max, ByBytes);
        Self { cache, lag: lag.unwrap_or_default() }
    }

    /// Which of up to 100 posts the viewer likes, as of `now`.
    pub(crate) async fn liked(
        &self,
        table: &dyn Table,
        now: Time,
        viewer: UserId,
        posts: &[PostId],
    ) -> Result<Vec<bool>, TableError> {
        // Read before the likes: a change in between makes what is found here out of date at once.
        let changes = get_one(table, changes_key(viewer)).await?.map_or(0, |item| item.count);
        let known = self.cache.get(&viewer).filter(|known| known.changes == changes);
        if let Some(known) = &known {
            let mut found = Vec::with_capacity(posts.len());
            found.extend(posts.iter().map_while(|post| known.liked.get(post)));
            if found.len() == posts.len() {
                return Ok(found);
            }
        }
        let found = likes::liked(table, viewer, posts).await?;
        let since = known.as_ref().map_or(now, |known| known.since);
        if now.since(since) < self.lag {
            if known.is_none() {
                let liked = HashMap::default();
                self.cache.insert(viewer, Arc::new(Known { changes, since, liked }));
            }
            return Ok(found);
        }
        let mut liked = match &known {
            Some(known) if known.liked.len() + posts.len() <= POSTS_MAX => known.liked.clone(),
            _ => HashMap::with_capacity_and_hasher(posts.len(), DefaultHashBuilder::default()),
        };
        liked.extend(posts.iter().copied().zip(found.iter().copied()));
        self.cache.insert(viewer, Arc::new(Known { changes, since, liked }));
        Ok(found)
    }
}
