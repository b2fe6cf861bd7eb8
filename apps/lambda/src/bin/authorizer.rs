//! Whether somebody may open a socket.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::authorizer::wire)
}
