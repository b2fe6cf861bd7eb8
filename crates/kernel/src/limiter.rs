//! Token buckets: how often somebody may do something.

use async_trait::async_trait;

use crate::{Problem, Time};

/// A bucket's size and how fast it fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_sec: u32,
    /// Tokens it holds when full.
    pub burst: u32,
}

/// A [`Rate`] as GCRA counts it (the leaky bucket seen from its other end): a bucket is one number,
/// the moment it will be full again, in nanoseconds since 1970. A rate or burst of zero counts as
/// one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gcra {
    burst: u32,
    token_nanos: u64,
}

const SEC_NANOS: u64 = 1_000_000_000;
const MILLI_NANOS: u64 = 1_000_000;

/// The moment in nanoseconds since 1970.
pub fn nanos(at: Time) -> u64 {
    u64::try_from(at.millis()).unwrap_or(0).saturating_mul(MILLI_NANOS)
}

impl Gcra {
    /// Buckets of that rate.
    pub fn of(rate: Rate) -> Self {
        // Rounded up, so that rounding never lets one more through.
        let token_nanos = SEC_NANOS.div_ceil(u64::from(rate.per_sec.max(1)));
        Self { burst: rate.burst.max(1), token_nanos }
    }

    fn capacity_nanos(&self) -> u64 {
        self.token_nanos * u64::from(self.burst)
    }

    /// What the bucket lacks. None is emptier than empty: where a clock was set back, nobody waits
    /// out the jump.
    fn missing_nanos(&self, full_at: u64, now: u64) -> u64 {
        full_at.saturating_sub(now).min(self.capacity_nanos())
    }

    /// Tokens in the bucket.
    pub fn available(&self, full_at: u64, now: u64) -> u32 {
        let tokens = (self.capacity_nanos() - self.missing_nanos(full_at, now)) / self.token_nanos;
        u32::try_from(tokens).unwrap_or(self.burst)
    }

    /// Tokens that the bucket lacks; one that is not whole yet counts.
    pub fn missing(&self, full_at: u64, now: u64) -> u32 {
        self.burst - self.available(full_at, now)
    }

    /// When the bucket is full again after `count` tokens were taken.
    pub fn after(&self, full_at: u64, count: u32, now: u64) -> u64 {
        now + self.missing_nanos(full_at, now) + self.token_nanos * u64::from(count)
    }

    /// Milliseconds until there is a token.
    pub fn wait_millis(&self, full_at: u64, now: u64) -> u64 {
        let with_one = self.missing_nanos(full_at, now) + self.token_nanos;
        with_one.saturating_sub(self.capacity_nanos()).div_ceil(MILLI_NANOS)
    }
}

/// A family of buckets with one rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// The family's name, such as `user`.
    pub name: &'static str,
    /// Its rate.
    pub rate: Rate,
}

/// What a bucket answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether there was a token.
    pub allowed: bool,
    /// Tokens left.
    pub remaining: u32,
    /// Milliseconds until there is a token; zero when allowed.
    pub retry_after_ms: u64,
}

/// The keeper of buckets.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Takes one token from `key`'s bucket in the family `bucket`.
    async fn take(&self, bucket: Bucket, key: &str) -> Result<Decision, Problem>;
}
