//! Whether somebody may be added to the pool.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::sign_up::wire)
}
