//! How often a caller may ask, and the headers that tell them
//! (draft-ietf-httpapi-ratelimit-headers).

use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::limiter::{Bucket, Decision, Limiter, Rate};
use kernel::{Code, Problem};

use crate::Config;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One family of buckets and how answers call it.
pub(crate) struct Policy {
    bucket: Bucket,
    name: &'static str,
    header: Option<HeaderValue>,
}

/// The families.
pub(crate) struct Policies {
    /// Signed-in users.
    pub(crate) user: Policy,
    /// Addresses that are not signed in.
    pub(crate) address: Policy,
    /// Addresses at `/auth/*`.
    pub(crate) auth: Policy,
}

/// What a bucket answered, to be told in the headers.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    policy: &'a Policy,
    decision: Decision,
}

impl Policies {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            user: Policy::new("user", "default", config.user_rate),
            address: Policy::new("address", "default", config.address_rate),
            auth: Policy::new("auth", "auth", config.auth_rate),
        }
    }
}

impl Policy {
    fn new(family: &'static str, name: &'static str, rate: Rate) -> Self {
        let window_secs = rate.burst.div_ceil(rate.per_sec.max(1)).max(1);
        let text = format!("\"{name}\";q={};w={window_secs}", rate.burst);
        let header = HeaderValue::from_str(&text).ok();
        Self { bucket: Bucket { name: family, rate }, name, header }
    }

    /// Takes a token from `key`'s bucket. A limiter that fails lets the request pass: it guards the
    /// service and must not take it down.
    pub(crate) async fn take(&self, limiter: &dyn Limiter, key: &str) -> Option<Taken<'_>> {
        match limiter.take(self.bucket, key).await {
            Ok(decision) => Some(Taken { policy: self, decision }),
            Err(problem) => {
                // Counted, not told at each request: while it lasts, it happens at every one.
                metrics::counter!("limiter_failures_total", "bucket" => self.bucket.name)
                    .increment(1);
                tracing::debug!(bucket = self.bucket.name, %problem, "the limiter failed");
                None
            }
        }
    }
}

impl Taken<'_> {
    /// 429 where there was no token.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.decision.allowed {
            return Ok(());
        }
        let secs = self.decision.retry_after_ms.div_ceil(1000).max(1);
        let rate = self.policy.bucket.rate;
        let detail = format!(
            "This allows {} requests a second and {} at once. Slow down.",
            rate.per_sec, rate.burst
        );
        Err(Problem::new(Code::RateLimited, detail).retry_after_secs(secs))
    }

    /// Tells the policy, the tokens left, and the seconds until the bucket is full again.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let Rate { per_sec, burst } = self.policy.bucket.rate;
        let remaining = self.decision.remaining;
        let full_in_secs = burst.saturating_sub(remaining).div_ceil(per_sec.max(1));
        let mut text = String::with_capacity(48);
        let mut digits = itoa::Buffer::new();
        for part in ["\"", self.policy.name, "\";r=", digits.format(remaining), ";t="] {
            text.push_str(part);
        }
        text.push_str(digits.format(full_in_secs));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(RATELIMIT, value);
        }
        if let Some(value) = &self.policy.header {
            headers.insert(RATELIMIT_POLICY, value.clone());
        }
    }
}
