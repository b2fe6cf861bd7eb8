//! The real bootstraps, as child processes of a Runtime API of our own, fed with events as AWS
//! documents them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bootstraps;
mod events;
mod runtime;
mod starts;
