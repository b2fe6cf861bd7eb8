//! Redis: the cache of feeds ([`feed`]), the registry of sockets ([`sockets`]), and token buckets
//! where Redis is at hand ([`limiter`]), over one connection ([`link`]), to a single server or to a
//! cluster, plain or over TLS.
//!
//! | key | value | expires |
//! |---|---|---|
//! | `P:feed:{U}` | a lease, or the skeleton of U's feed | 30 s, 60 s after it was loaded |
//! | `P:sockets:{U}` | sorted set: U's connections by when they end | with the last of them |
//! | `P:socket:{C}` | the user of connection C | 2 h 10 min after the last sign of life |
//! | `P:greeted:{C}` | nothing: connection C has had its greeting | 2 h 10 min after it |
//! | `P:limit:F:K` | when the bucket of K in the family F is full | when it is full |
//!
//! P is the prefix of the environment. Every command and script touches one key, so all of it runs
//! on a cluster as it does on one server; the hash tags say what a key belongs to.

pub mod feed;
pub mod limiter;
pub mod link;
pub mod sockets;

pub use feed::RedisFeed;
pub use limiter::RedisLimiter;
pub use link::{Redis, Settings};
pub use sockets::SocketRegistry;
