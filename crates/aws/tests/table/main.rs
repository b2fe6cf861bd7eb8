//! The table and the limiter on DynamoDB.

#[path = "../bed/mod.rs"]
mod bed;

mod cost;
mod fates;
mod faults;
mod limiter;
mod own;
mod server;
mod stage;
mod suite;
mod telling;
