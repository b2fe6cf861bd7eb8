//! The shared words of Mini-SNS and the seams between what it does and what it runs on.
//!
//! Every service speaks in these types and reaches the world through these traits; every backend
//! implements the traits. Nothing here performs I/O, names a backend, or knows a service.

pub mod acts;
pub mod audit;
pub mod bus;
pub mod clock;
pub mod event;
pub mod feed;
pub mod fill;
pub mod fold;
pub mod identity;
pub mod ids;
pub mod internal;
pub mod limiter;
pub mod mail;
pub mod outbox;
pub mod page;
pub mod peers;
pub mod principal;
pub mod problem;
pub mod queues;
pub mod request;
pub mod sequence;
pub mod sockets;
pub mod spans;
pub mod table;
pub mod trace;
pub mod words;

pub use clock::{Clock, Time};
pub use event::{Event, EventData, EventKind};
pub use fold::fold;
pub use ids::{Ids, PostId, UserId};
pub use page::{Cursor, Limit, Limits, Page};
pub use principal::Principal;
pub use problem::{Code, FieldError, Problem};
pub use words::{Post, Profile};
