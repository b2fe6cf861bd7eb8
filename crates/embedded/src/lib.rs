//! embedded

pub mod limiter;
