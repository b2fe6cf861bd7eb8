//! What every backend must do, as suites that each implementation of a seam runs, and the tools
//! that tests share: a clock that is moved by hand, ids from a seed, an oracle for the table, a
//! wrapper that injects faults. For tests only.

pub mod bus;
pub mod clock;
pub mod disk;
pub mod document;
pub mod faulty;
pub mod feed;
pub mod identity;
pub mod jostling;
pub mod limiter;
pub mod oracle;
pub mod sockets;
pub mod table;
pub mod testbed;

pub use clock::{SeededIds, TestClock};
pub use oracle::Oracle;
