//! `cargo xtask test`: every test of the workspace, documentation tests included.
//!
//! Everything is built in the dev profile, the binary that the end-to-end tests start as well.

use anyhow::Result;

use crate::shell::{self, cargo, has_cargo_command};

/// Runs the tests with nextest where it is installed, else with cargo's own runner.
pub(crate) fn run() -> Result<()> {
    if has_cargo_command("nextest")? {
        shell::run(&mut cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])?)?;
        // Nextest does not know documentation tests.
        shell::run(&mut cargo(&["test", "--workspace", "--doc"])?)
    } else {
        shell::run(&mut cargo(&["test", "--workspace", "--no-fail-fast"])?)
    }
}
