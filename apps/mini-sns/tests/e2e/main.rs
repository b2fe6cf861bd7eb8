//! The real binary over real HTTP and WebSocket, on free ports and a data directory of its own.
//! Events are delivered doubled and shuffled; at the end of every test nothing may be left over.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod alerts;
mod backup;
mod bucket;
mod collector;
mod crash;
mod damaged;
mod dead;
mod deletion;
mod disk;
mod documents;
mod drill;
mod encryption;
mod flows;
mod hostile;
mod kept;
mod letters;
mod limits;
mod live;
mod moderation;
mod overload;
mod pages;
mod person;
mod process;
mod program;
mod reports;
mod restart;
mod s3;
mod server;
mod sign_in;
mod stats;
mod suspension;
mod tls;
mod tracing;
