//! The timeline cache: the newest ids of a person's feed, never pages of somebody's view.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{PostId, Problem, UserId};

/// One entry of a feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeedEntry {
    /// The post.
    pub post_id: PostId,
    /// Who wrote it.
    pub author_id: UserId,
    /// When it arrived in the feed, in the order in which arrivals became visible; zero for what
    /// was there from the start (a back-fill, a pull).
    pub arrival: u64,
}

/// The newest entries of one feed, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Skeleton {
    /// The entries.
    pub entries: Vec<FeedEntry>,
    /// Whether the feed has no older ones.
    pub exhausted: bool,
    /// Whatever arrived in the feed up to this is in it; entries that arrived later are not.
    #[serde(default)]
    pub seen: u64,
}

/// A read through the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// What was found.
    pub skeleton: Arc<Skeleton>,
    /// Whether it came from the cache.
    pub hit: bool,
}

/// How to load what the cache does not hold.
pub type Load<'a> = Pin<Box<dyn Future<Output = Result<Skeleton, Problem>> + Send + 'a>>;

/// The cache of feeds. Entries live 60 s at most; readers that miss together load once.
#[async_trait]
pub trait Feed: Send + Sync {
    /// The user's skeleton, loaded by `load` on a miss. What was loaded before a `forget` that came
    /// in between is answered but not kept.
    async fn get_or_load<'a>(&self, user: UserId, load: Load<'a>) -> Result<Cached, Problem>;

    /// Drops the users' skeletons: their feeds have changed. No reader that starts after the answer
    /// sees the old ones.
    async fn forget(&self, users: &[UserId]) -> Result<(), Problem>;

    /// Proves that the cache works. A cache that is away must not fail a read or a `forget`, so
    /// this is what tells; one in the same process always works.
    async fn check(&self) -> Result<(), Problem> {
        Ok(())
    }
}
