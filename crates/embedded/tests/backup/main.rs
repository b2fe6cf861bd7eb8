//! Backups at the crate's door: whatever moment is restored, it is what the databases were then.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

mod broken;
mod bucket;
mod cloud;
mod encrypted;
mod moments;
mod stage;
