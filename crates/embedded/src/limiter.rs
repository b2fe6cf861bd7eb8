//! Token buckets in memory.
//!
//! A bucket is one number: the moment it will be full again (GCRA, the leaky bucket seen from its
//! other end). A full bucket is no entry at all, so idle keys cost nothing once they are swept out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kernel::limiter::{Bucket, Decision, Limiter, Rate};
use kernel::{Clock, Problem};

const SHARDS: usize = 32;
/// Entries that a shard may gain before it is swept, at least.
const SWEEP_ENTRIES_MIN: usize = 128;
const SEC_NANOS: u64 = 1_000_000_000;
const MILLI_NANOS: u64 = 1_000_000;

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

    fn now_nanos(&self) -> u64 {
        u64::try_from(self.clock.now().millis()).unwrap_or(0).saturating_mul(MILLI_NANOS)
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key).to_le_bytes();
        &self.shards[usize::from(hash[0]) % SHARDS]
    }
}

#[async_trait]
impl Limiter for MemoryLimiter {
    async fn take(&self, bucket: Bucket, key: &str) -> Result<Decision, Problem> {
        let now = self.now_nanos();
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

/// Takes a token from the bucket that is full at `full_at`. A rate or burst of zero counts as one.
fn take(Rate { per_sec, burst }: Rate, full_at: &mut u64, now: u64) -> Decision {
    // Rounded up, so that rounding never lets one more through.
    let token_nanos = SEC_NANOS.div_ceil(u64::from(per_sec.max(1)));
    let capacity_nanos = token_nanos * u64::from(burst.max(1));
    // No bucket is emptier than empty: where the clock was set back, nobody waits out the jump.
    let missing_nanos = full_at.saturating_sub(now).min(capacity_nanos);
    let after_nanos = missing_nanos + token_nanos;
    if after_nanos > capacity_nanos {
        let wait_nanos = after_nanos - capacity_nanos;
        let retry_after_ms = wait_nanos.div_ceil(MILLI_NANOS);
        *full_at = now + missing_nanos;
        return Decision { allowed: false, remaining: 0, retry_after_ms };
    }
    *full_at = now + after_nanos;
    let left = (capacity_nanos - after_nanos) / token_nanos;
    let remaining = u32::try_from(left).unwrap_or(u32::MAX);
    Decision { allowed: true, remaining, retry_after_ms: 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conformance::TestClock;

    use super::*;

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
