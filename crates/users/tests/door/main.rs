//! The user service at its door.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

mod care;
mod deletion;
mod profiles;
mod signing_in;
mod stage;
mod suspension;
