//! The timeline cache in this process: the newest ids of feeds, bounded by bytes.
//!
//! `quick_cache` lets the readers that miss together wait for one load: the first gets a guard on
//! a placeholder, the others its value. Removing a key removes its placeholder too, and a guard
//! whose placeholder is gone cannot insert; so `forget` keeps out what was being loaded, and a
//! reader that comes after it starts a load of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::feed::{Cached, Feed, FeedEntry, Load, Skeleton};
use kernel::{Clock, Problem, Time, UserId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// How much the cache keeps, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedLimits {
    /// Bytes of all skeletons together.
    pub bytes_max: u64,
    /// How long a skeleton is good.
    pub kept: Duration,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self { bytes_max: 64 * 1024 * 1024, kept: Duration::from_secs(60) }
    }
}

#[derive(Clone)]
struct Kept {
    skeleton: Arc<Skeleton>,
    loaded: Time,
}

#[derive(Clone, Copy)]
struct Bytes;

/// What an entry of the cache costs beside the skeleton's own entries.
const OVERHEAD_BYTES: usize = 128;

impl Weighter<UserId, Kept> for Bytes {
    fn weight(&self, _: &UserId, kept: &Kept) -> u64 {
        let bytes = kept.skeleton.entries.len() * size_of::<FeedEntry>() + OVERHEAD_BYTES;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// A [`Feed`] in memory.
pub struct MemoryFeed {
    cache: Cache<UserId, Kept, Bytes>,
    clock: Arc<dyn Clock>,
    kept: Duration,
}

impl MemoryFeed {
    /// An empty cache whose entries age by `clock`.
    pub fn new(limits: FeedLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        // A full skeleton of 100 entries is about 4 KiB; most feeds are shorter.
        let items = usize::try_from(limits.bytes_max / 2048).unwrap_or(usize::MAX);
        let cache = Cache::with_weighter(items, limits.bytes_max, Bytes);
        Arc::new(Self { cache, clock, kept: limits.kept })
    }

    fn is_good(&self, kept: &Kept) -> bool {
        self.clock.now().since(kept.loaded) < self.kept
    }
}

#[async_trait]
impl Feed for MemoryFeed {
    async fn get_or_load<'a>(&self, user: UserId, load: Load<'a>) -> Result<Cached, Problem> {
        loop {
            let guard = match self.cache.get_value_or_guard_async(&user).await {
                Ok(kept) if self.is_good(&kept) => {
                    return Ok(Cached { skeleton: kept.skeleton, hit: true });
                }
                Ok(old) => {
                    self.cache.remove_if(&user, |kept| kept.loaded == old.loaded);
                    continue;
                }
                Err(guard) => guard,
            };
            // The age counts from before the load, so that nothing older than that is answered.
            let loaded = self.clock.now();
            let skeleton = Arc::new(load.await?);
            let kept = Kept { skeleton: Arc::clone(&skeleton), loaded };
            // Refused when forgotten in between: then it is answered, and not kept.
            let _ = guard.insert(kept);
            return Ok(Cached { skeleton, hit: false });
        }
    }

    async fn forget(&self, users: &[UserId]) -> Result<(), Problem> {
        for user in users {
            self.cache.remove(user);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_a_feed() {
        conformance::feed::suite(|clock| MemoryFeed::new(FeedLimits::default(), clock)).await;
    }

    #[tokio::test]
    async fn it_stays_within_its_bytes() {
        let clock = conformance::TestClock::new();
        let limits = FeedLimits { bytes_max: 1024 * 1024, ..FeedLimits::default() };
        let feed = MemoryFeed::new(limits, clock.clone());
        for number in 0..2000_u128 {
            let skeleton = conformance::feed::skeleton(100);
            let user = UserId(number.into());
            feed.get_or_load(user, Box::pin(async { Ok(skeleton) })).await.unwrap();
        }
        assert!(feed.cache.weight() <= 1024 * 1024);
        assert!(feed.cache.len() > 100);
    }
}
