//! Every seam of the kernel in one process, on one machine: no other service is needed.
//!
//! What has to last lies on the [`table`] of this crate, one database a service; its [`relay`]
//! takes committed events to the bus.

pub mod backup;
pub mod bus;
mod directory;
pub mod encryption;
pub mod feed;
pub mod identity;
pub mod intact;
mod keep;
pub mod limiter;
mod opening;
mod pace;
pub mod relay;
pub mod sockets;
pub mod table;
