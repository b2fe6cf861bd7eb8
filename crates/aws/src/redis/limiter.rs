//! Token buckets in Redis: one number a bucket, the moment it will be full again, moved by a script
//! on the server and by the server's clock, so that all processes count alike.
//!
//! While Redis is away everything is allowed: a limiter guards the service and must not take it
//! down. The counter `limiter_failures_total` tells.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use kernel::limiter::{Bucket, Decision, Limiter};
use kernel::{Clock, Problem};
use redis::Script;

use super::link::Redis;

const SEC_MICROS: u64 = 1_000_000;
/// How long a full bucket stays by the server's clock.
const MARGIN_MILLIS: u64 = 1_000;
/// How long where another clock than the server's tells the time.
const OTHER_MARGIN_MILLIS: u64 = 60_000;

/// Takes a token. Numbers are microseconds, which doubles hold exactly until the year 2255.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local token, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(ARGV[3])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local missing = math.min(math.max(full_at - now, 0), capacity)
local after = missing + token
if after > capacity then
    return {0, 0, math.ceil((after - capacity) / 1000)}
end
local kept = math.ceil(after / 1000) + tonumber(ARGV[4])
redis.call('SET', KEYS[1], string.format('%.0f', now + after), 'PX', string.format('%.0f', kept))
return {1, math.floor((capacity - after) / token), 0}
",
    )
});

/// A [`Limiter`] in Redis.
pub struct RedisLimiter {
    redis: Redis,
    clock: Option<Arc<dyn Clock>>,
}

impl RedisLimiter {
    /// Buckets that fill by the server's clock.
    pub fn new(redis: Redis) -> Arc<Self> {
        Arc::new(Self { redis, clock: None })
    }

    /// Buckets that fill by `clock`.
    pub fn by_clock(redis: Redis, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { redis, clock: Some(clock) })
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn take(&self, bucket: Bucket, key: &str) -> Result<Decision, Problem> {
        // Rounded up, so that rounding never lets one more through. Zeros count as one.
        let token_micros = SEC_MICROS.div_ceil(u64::from(bucket.rate.per_sec.max(1)));
        let burst = bucket.rate.burst.max(1);
        let now = self.clock.as_ref().map(|clock| clock.now().millis().saturating_mul(1000));
        let margin = now.map_or(MARGIN_MILLIS, |_| OTHER_MARGIN_MILLIS);
        let mut take = TAKE.key(self.redis.plain_key("limit", &format!("{}:{key}", bucket.name)));
        take.arg(token_micros).arg(token_micros.saturating_mul(u64::from(burst)));
        take.arg(now.map_or(String::new(), |micros| micros.to_string())).arg(margin);
        match self.redis.invoke::<(u8, u32, u64)>(&take).await {
            Ok((allowed, remaining, retry_after_ms)) => {
                Ok(Decision { allowed: allowed == 1, remaining, retry_after_ms })
            }
            Err(failure) => {
                metrics::counter!("limiter_failures_total", "bucket" => bucket.name).increment(1);
                tracing::debug!(bucket = bucket.name, %failure, "the limiter failed");
                Ok(Decision { allowed: true, remaining: burst, retry_after_ms: 0 })
            }
        }
    }
}
