//! The stacks of `infra/`, deployed to the test bed with the real bootstraps behind them, and the
//! flows of the architecture document through their front doors. Tables, queues, bus, pool and both
//! APIs are those that the templates make; only what `emulated.rs` names is otherwise than on AWS.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bed;
mod code;
mod emulated;
mod flows;
mod leave;
mod person;
#[path = "../functions/programs.rs"]
mod programs;
mod world;
