//! Token buckets in memory.
//!
//! A bucket is one number: the moment it will be full again ([`Gcra`]). A full bucket is no entry
//! at all, so idle keys cost nothing once they are swept out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kernel::limiter::{Bucket, Decision, Gcra, Limiter, Rate, nanos};
use kernel::{Clock, Problem};

const SHARDS: usize = 32;
/// Entries that a shard may gain before it is swept, at least.
const SWEEP_ENTRIES_MIN: usize = 128;

/// The embedded limiter. What it holds is bounded by the keys that took a token in the last
/// burst/rate seconds, twice over.
pub struct MemoryLimiter {
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// There are a handful, so a walk finds one faster than a hash.
    families: Vec<Family>,
    entries: usize,
    sweep_at: usize,
}

struct Family {
    bucket: Bucket,
    /// When each bucket is full again, in nanoseconds since 1970.
    full_at: HashMap<Box<str>, u64>,
}

impl MemoryLimiter {
    /// A limiter with every bucket full.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { clock, hasher: RandomState::new(), shards })
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key).to_le_bytes();
        &self.shards[usize::from(hash[0]) % SHARDS]
    }
}

#[async_trait]
impl Limiter for MemoryLimiter {
    async fn take(&self, bucket: Bucket, key: &str) -> Result<Decision, Problem> {
        let now = nanos(self.clock.now());
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.entries >= shard.sweep_at {
            shard.sweep(now);
        }
        Ok(shard.take(bucket, key, now))
    }
}

impl Shard {
    fn take(&mut self, bucket: Bucket, key: &str, now: u64) -> Decision {
        let known = self.families.iter().position(|family| family.bucket == bucket);
        let index = known.unwrap_or_else(|| {
            self.families.push(Family { bucket, full_at: HashMap::new() });
            self.families.len() - 1
        });
        let full_at = &mut self.families[index].full_at;
        if let Some(at) = full_at.get_mut(key) {
            return take(bucket.rate, at, now);
        }
        let mut at = now;
        let decision = take(bucket.rate, &mut at, now);
        full_at.insert(key.into(), at);
        self.entries += 1;
        decision
    }

    /// Drops full buckets. The next sweep is due when what was left has doubled, so that sweeping
    /// costs each entry a constant share.
    fn sweep(&mut self, now: u64) {
        self.entries = 0;
        for family in &mut self.families {
            family.full_at.retain(|_, at| *at > now);
            self.entries += family.full_at.len();
        }
        self.sweep_at = self.entries * 2 + SWEEP_ENTRIES_MIN;
    }
}

/// Takes a token from the bucket that is full at `full_at`.
fn take(rate: Rate, full_at: &mut u64, now: u64) -> Decision {
    let rate = Gcra::of(rate);
    if rate.available(*full_at, now) == 0 {
        let retry_after_ms = rate.wait_millis(*full_at, now);
        *full_at = rate.after(*full_at, 0, now);
        return Decision { allowed: false, remaining: 0, retry_after_ms };
    }
    *full_at = rate.after(*full_at, 1, now);
    let remaining = rate.available(*full_at, now);
    Decision { allowed: true, remaining, retry_after_ms: 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conformance::TestClock;

    use super::*;

    const SEC_NANOS: u64 = 1_000_000_000;

    #[tokio::test]
    async fn it_is_a_limiter() {
        conformance::limiter::suite(MemoryLimiter::new).await;
    }

    #[tokio::test]
    async fn idle_keys_are_dropped() {
        let clock = TestClock::new();
        let limiter = MemoryLimiter::new(clock.clone());
        let bucket = Bucket { name: "address", rate: Rate { per_sec: 100, burst: 200 } };
        for number in 0..100_000 {
            limiter.take(bucket, &format!("key {number}")).await.unwrap();
            if number % 1000 == 0 {
                clock.advance(Duration::from_secs(2));
            }
        }
        let entries: usize = limiter.shards.iter().map(|shard| shard.lock().unwrap().entries).sum();
        assert!(entries < 10_000, "{entries} entries are left");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let rate = Rate { per_sec: 10, burst: 20 };
        let hour = 3600 * SEC_NANOS;
        let mut full_at = 5 * hour;
        let decision = take(rate, &mut full_at, 4 * hour);
        assert_eq!(decision, Decision { allowed: false, remaining: 0, retry_after_ms: 100 });
        assert!(take(rate, &mut full_at, 4 * hour + SEC_NANOS).allowed);
    }
}
