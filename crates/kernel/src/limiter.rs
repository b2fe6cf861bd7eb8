//! Token buckets: how often somebody may do something.

use async_trait::async_trait;

use crate::Problem;

/// A bucket's size and how fast it fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_sec: u32,
    /// Tokens it holds when full.
    pub burst: u32,
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
