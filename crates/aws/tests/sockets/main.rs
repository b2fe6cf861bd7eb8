//! Sockets on `@connections`, played by a small endpoint of this test, with the registry in a real
//! Redis.

#[cfg(test)]
#[path = "../bed/mod.rs"]
mod bed;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod gateway;
#[cfg(test)]
#[expect(dead_code, reason = "shared with the tests of Redis, which need more of it")]
#[path = "../redis/servers.rs"]
mod servers;
