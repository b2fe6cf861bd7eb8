//! The feed cache, the registry of sockets, and token buckets on Redis.
