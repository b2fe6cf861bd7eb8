//! What every request passes first: request id, trace, deadline, body limit, token check, rate
//! limit, security headers, problem rendering; and the extractors that handlers take their input
//! from, so that bad input is the same Problem everywhere.

pub mod extract;

pub use extract::{Caller, Json, Path, Query};
