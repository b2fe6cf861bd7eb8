//! Sockets on API Gateway's `@connections`.
