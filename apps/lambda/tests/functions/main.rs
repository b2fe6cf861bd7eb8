//! The real bootstraps, as child processes of a Runtime API of our own, fed with events as AWS
//! documents them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod batches;
mod bootstraps;
mod calls;
mod connections;
mod cost;
mod ends;
mod events;
mod flows;
mod gateway;
mod invocations;
mod nowhere;
mod person;
mod programs;
mod runtime;
mod stage;
mod starts;
