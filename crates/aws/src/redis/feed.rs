//! The timeline cache in Redis: the newest ids of a feed, for 60 s.
//!
//! Whoever finds nothing under a feed's key leaves a lease there, a token that nobody else has
//! given, loads, and writes the skeleton only if that very lease is still there. `forget` deletes
//! the key, whatever is under it; so what was loaded before it finds its lease gone and is
//! answered, not kept, in whichever process, and who comes after it takes a lease of their own.
//! One key and one round trip for a hit, for a `forget`, for each half of a miss; nothing waits for
//! another process.
//!
//! Within a process, the readers under one lease wait for one load. The lease, not the user, is
//! what they share: a reader that starts after a `forget` anywhere has another lease.
//!
//! While Redis is away every read loads, and a `forget` is owed: until it has been made up for,
//! this process answers nothing from Redis. What other processes that still reach Redis see is as
//! old as 60 s at most, and a Redis that comes back empty, as after a restart, has nothing old to
//! show.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kernel::feed::{Cached, Feed, Load, Skeleton};
use kernel::{Clock, Ids, Problem, Time, UserId};
use quick_cache::sync::Cache;
use redis::Script;
use serde::{Deserialize, Serialize};

use super::link::{Failure, Redis};

/// How long things live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedLimits {
    /// How long a skeleton is good.
    pub kept: Duration,
    /// How long a load may take and still be kept.
    pub lease: Duration,
    /// People whose skeletons are to be dropped when Redis is back.
    pub owed_max: usize,
}

impl Default for FeedLimits {
    fn default() -> Self {
        let (kept, lease) = (Duration::from_secs(60), Duration::from_secs(30));
        Self { kept, lease, owed_max: 100_000 }
    }
}

/// Loads whose answers late joiners still find here.
const FLIGHTS: usize = 256;

/// What is under the key, or else a lease that now is. An old skeleton, given, counts as nothing.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then
    return held
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ARGV[2]
",
    )
});

/// Replaces the lease by the skeleton.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
",
    )
});

/// A skeleton under its key.
#[derive(Serialize, Deserialize)]
struct Kept {
    loaded: Time,
    skeleton: Skeleton,
}

/// What is under a key.
enum Held {
    Lease(String),
    Kept(Kept),
}

/// Forgets that Redis has not heard of.
#[derive(Default)]
struct Owed {
    /// Each with the number of the `forget` that owes it.
    users: HashMap<UserId, u64>,
    last: u64,
    /// When even the newest of them needs no deleting: all that is there has expired.
    until: Time,
}

/// A [`Feed`] in Redis.
pub struct RedisFeed {
    redis: Redis,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    limits: FeedLimits,
    flights: Cache<String, Arc<Skeleton>>,
    owed: Mutex<Owed>,
    settling: tokio::sync::Mutex<()>,
}

impl RedisFeed {
    /// A cache whose entries age by `clock`, and at the latest by Redis' own.
    pub fn new(
        redis: Redis,
        limits: FeedLimits,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Arc<Self> {
        let (owed, settling) = (Mutex::default(), tokio::sync::Mutex::default());
        let flights = Cache::new(FLIGHTS);
        Arc::new(Self { redis, clock, ids, limits, flights, owed, settling })
    }

    fn key(&self, user: UserId) -> String {
        self.redis.key("feed", &user.text())
    }

    fn is_good(&self, kept: &Kept) -> bool {
        self.clock.now().since(kept.loaded) < self.limits.kept
    }

    /// A good skeleton, or the lease to load under.
    async fn take(&self, user: UserId) -> Result<Held, Failure> {
        let (key, lease) = (self.key(user), format!("L{}", self.ids.ulid()));
        let lease_millis = millis(self.limits.lease);
        let mut old = Vec::new();
        loop {
            let mut take = TAKE.key(&key);
            take.arg(&old).arg(&lease).arg(lease_millis);
            let held: Vec<u8> = self.redis.invoke(&take).await?;
            // What cannot be read, as after a change of its form, is as good as an old one.
            let kept = match held.first() {
                Some(b'L') => {
                    return Ok(Held::Lease(String::from_utf8_lossy(&held).into_owned()));
                }
                _ => serde_json::from_slice::<Kept>(&held).ok(),
            };
            match kept {
                Some(kept) if self.is_good(&kept) => return Ok(Held::Kept(kept)),
                _ => old = held,
            }
        }
    }

    async fn load_under<'a>(
        &self,
        user: UserId,
        lease: &str,
        load: Load<'a>,
    ) -> Result<Cached, Problem> {
        let guard = match self.flights.get_value_or_guard_async(lease).await {
            Ok(skeleton) => return Ok(Cached { skeleton, hit: true }),
            Err(guard) => guard,
        };
        // The age counts from before the load, so that nothing older than that is answered.
        let loaded = self.clock.now();
        let skeleton = load.await?;
        let shared = Arc::new(skeleton.clone());
        let _ = guard.insert(Arc::clone(&shared));
        let left = self.limits.kept.saturating_sub(self.clock.now().since(loaded));
        let kept = serde_json::to_vec(&Kept { loaded, skeleton }).map_err(Problem::internal)?;
        let mut keep = KEEP.key(self.key(user));
        keep.arg(lease).arg(kept).arg(millis(left).max(1));
        // Not kept is no failure of the read, whatever the reason.
        let _: Result<u8, Failure> = self.redis.invoke(&keep).await;
        Ok(Cached { skeleton: shared, hit: false })
    }

    async fn delete(&self, users: impl Iterator<Item = UserId>) -> Result<(), Failure> {
        let delete = |user| redis::cmd("UNLINK").arg(self.key(user)).to_owned();
        self.redis.each::<u8>(users.map(delete).collect()).await.map(drop)
    }

    /// Makes up for what is owed; false where that fails, or somebody else is about it.
    async fn settle(&self) -> bool {
        {
            let mut owed = self.owed();
            if self.clock.now() >= owed.until {
                owed.users.clear();
            }
            if owed.users.is_empty() {
                return true;
            }
        }
        let Ok(_settling) = self.settling.try_lock() else { return false };
        // Much may be owed: no read looks through it for a Redis that is still away.
        if self.redis.check().await.is_err() {
            return false;
        }
        let due = self.owed().users.clone();
        if self.delete(due.keys().copied()).await.is_err() {
            return false;
        }
        let mut owed = self.owed();
        // Whoever has come to be owed anew in between still is.
        owed.users.retain(|user, number| due.get(user) != Some(number));
        owed.users.is_empty()
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owe(&self, users: &[UserId], failure: Failure) -> Result<(), Problem> {
        let mut owed = self.owed();
        if owed.users.len() + users.len() > self.limits.owed_max {
            return Err(failure.into());
        }
        owed.last += 1;
        let number = owed.last;
        owed.users.extend(users.iter().map(|user| (*user, number)));
        owed.until = self.clock.now() + self.limits.kept;
        Ok(())
    }
}

#[async_trait]
impl Feed for RedisFeed {
    async fn get_or_load<'a>(&self, user: UserId, load: Load<'a>) -> Result<Cached, Problem> {
        let held = if self.settle().await { self.take(user).await.ok() } else { None };
        match held {
            Some(Held::Kept(kept)) => Ok(Cached { skeleton: Arc::new(kept.skeleton), hit: true }),
            Some(Held::Lease(lease)) => self.load_under(user, &lease, load).await,
            None => Ok(Cached { skeleton: Arc::new(load.await?), hit: false }),
        }
    }

    async fn forget(&self, users: &[UserId]) -> Result<(), Problem> {
        match self.delete(users.iter().copied()).await {
            Ok(()) => Ok(()),
            Err(failure) => self.owe(users, failure),
        }
    }

    async fn check(&self) -> Result<(), Problem> {
        self.redis.check().await?;
        match self.settle().await {
            true => Ok(()),
            false => Err(Failure::Resting.into()),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
