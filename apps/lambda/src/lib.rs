//! Mini-SNS as functions of AWS Lambda: one bootstrap each (`src/bin`), over the wiring here.
//!
//! | bootstrap | is given | wired by |
//! |---|---|---|
//! | `users`, `posts`, `social`, `timeline` | requests of a REST API | the service's module |
//! | the same but `timeline` | what other functions ask | the same |
//! | `react-users` and so on | messages of the service's queues | the same |
//! | `relay` | the stream of one service's table | [`relay`] |
//! | `authorizer` | who may open a socket | [`authorizer`] |
//! | `socket-connect`, `socket-disconnect` | sockets that open and end | [`sockets`] |
//! | `socket-message` | what is said on sockets | [`timeline::messages`] |
//! | `pre-sign-up` | sign-ups at the Cognito pool | [`sign_up`] |
//!
//! A function reads its settings from the environment ([`Settings`]), fills the seams that it needs
//! ([`World`]) without a call to anywhere, and serves events one by one until its process is ended.
//! Nothing works in the background: between two events Lambda stops the process. Each bootstrap
//! needs the Cargo feature of its own service alone, and `cargo xtask lambda` builds it so.

#[cfg(any(feature = "posts", feature = "social", feature = "timeline"))]
mod absent;
mod apart;
pub mod authorizer;
mod function;
#[cfg(any(feature = "users", feature = "posts", feature = "social", feature = "timeline"))]
mod http_api;
#[cfg(any(feature = "users", feature = "posts", feature = "social", feature = "timeline"))]
mod invoked;
mod logging;
#[cfg(feature = "timeline")]
mod messages;
mod metering;
#[cfg(feature = "posts")]
pub mod posts;
#[cfg(any(feature = "users", feature = "posts", feature = "social", feature = "timeline"))]
mod processes;
#[cfg(any(feature = "users", feature = "posts", feature = "social", feature = "timeline"))]
pub mod queues;
pub mod relay;
#[cfg(any(feature = "users", feature = "posts", feature = "social", feature = "timeline"))]
mod rest;
mod settings;
pub mod sign_up;
#[cfg(feature = "social")]
pub mod social;
pub mod sockets;
#[cfg(feature = "timeline")]
pub mod timeline;
#[cfg(feature = "users")]
pub mod users;
mod world;

pub use function::{Failure, Function, Wire, run};
pub use settings::{Refused, Settings};
pub use world::World;
