//! The bus on EventBridge and SQS.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

#[path = "../bed/mod.rs"]
mod bed;
mod differences;
mod events;
mod faults;
mod lambda;
mod operator;
mod relay;
mod script;
mod stage;
mod streams;
mod suite;
mod taker;
