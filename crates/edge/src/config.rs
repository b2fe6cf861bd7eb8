//! The edge's limits and settings; the defaults are the contract's numbers.

use kernel::limiter::Rate;

use crate::Network;

/// How the edge behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of a request body, at most; 413 above.
    pub body_max_bytes: usize,
    /// Seconds a body may take to arrive; 408 after.
    pub body_timeout_secs: u64,
    /// Bytes of path and query, at most; 414 above.
    pub uri_max_bytes: usize,
    /// Bytes of an access token, at most; a longer one is not good.
    pub token_max_bytes: usize,
    /// Milliseconds a handler may take; 504 after.
    pub deadline_millis: u64,
    /// Requests at work at once, at most; 503 above. Signing in has a quarter as many of its own.
    pub requests_max: usize,
    /// Requests of a signed-in user.
    pub user_rate: Rate,
    /// Requests of an address that is not signed in.
    pub address_rate: Rate,
    /// Requests of an address to `/auth/*`.
    pub auth_rate: Rate,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Origins (`https://app.example`) whose pages may read answers; none by default.
    pub cors_origins: Vec<String>,
    /// Whether people reach this over TLS; then answers say so for a year (HSTS).
    pub https: bool,
    /// Bytes of a body from which compressing is worth it.
    pub compress_min_bytes: u64,
    /// Traces begun here that are marked as sampled, in percent.
    pub trace_sample_percent: u8,
    /// Paths outside the OpenAPI document that anybody may GET, as the router spells them
    /// (`/assets/{*file}`): the pages of the web client.
    pub public_pages: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let rate = Rate { per_sec: 100, burst: 200 };
        Self {
            body_max_bytes: 64 * 1024,
            body_timeout_secs: 10,
            uri_max_bytes: 8 * 1024,
            token_max_bytes: 4 * 1024,
            deadline_millis: 2500,
            requests_max: 512,
            user_rate: rate,
            address_rate: rate,
            auth_rate: Rate { per_sec: 5, burst: 20 },
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            https: false,
            compress_min_bytes: 1024,
            trace_sample_percent: 5,
            public_pages: Vec::new(),
        }
    }
}
