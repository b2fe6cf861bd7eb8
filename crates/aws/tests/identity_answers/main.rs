//! The Cognito identity against the answers that AWS documents, given by a server of the test's
//! own: what no emulator does, faults, and tokens that no pool would sign.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

mod calls;
mod pool;
mod server;
mod verify;
