//! The end-to-end suite of the embedded binary against four processes on the AWS backend, each with
//! a service and a table of its own, behind nginx. They know of each other only signed HTTP and
//! events; what stands in for AWS is the test bed.
//!
//! The files of `tests/e2e` are the same, and ask the same. Not here is what is about one process
//! and its data directory, and would ask nothing of this backend:
//!
//! - `backup.rs`: copies of the data directory. Here AWS keeps them, and [`restore`] takes them in.
//! - `bucket.rs`: the same in a bucket, which [`bucket`] asks of what stands in for S3.
//! - `crash.rs`, `damaged.rs`, `disk.rs`: kills, damage and a full disk under the data, and then
//!   `verify` on it. Here the tables keep what was answered, and [`faults`] ends processes.
//! - `dead.rs`: the queues' patience is an option there. Here it is the queues' own: [`poison`].
//! - `drill.rs`, `restart.rs`, `overload.rs`, `stats.rs`: how one process runs, and what it bears.
//! - `encryption.rs`: the data directory's. Here AWS encrypts.
//! - `kept.rs`: which traces one process keeps, and its log.
//! - `process.rs`, `tls.rs`: options, signals and the demo of one process. Here nginx speaks TLS.
//!
//! `Server::verified` asks what can be asked from outside: queues, outboxes and dead letters are
//! empty, and the processes end in good order.

#![cfg(feature = "aws")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../e2e/collector.rs"]
mod collector;
#[path = "../e2e/deletion.rs"]
mod deletion;
#[path = "../e2e/documents.rs"]
mod documents;
#[path = "../e2e/flows.rs"]
mod flows;
#[path = "../e2e/hostile.rs"]
mod hostile;
#[path = "../e2e/limits.rs"]
mod limits;
#[path = "../e2e/live.rs"]
mod live;
#[path = "../e2e/moderation.rs"]
mod moderation;
#[path = "../e2e/pages.rs"]
mod pages;
#[path = "../e2e/person.rs"]
mod person;
#[path = "../e2e/program.rs"]
mod program;
#[path = "../e2e/sign_in.rs"]
mod sign_in;
#[path = "../e2e/tracing.rs"]
mod tracing;

mod bed;
mod bucket;
mod cost;
mod door;
mod faults;
mod front;
mod poison;
mod restore;
mod server;
mod throttle;
