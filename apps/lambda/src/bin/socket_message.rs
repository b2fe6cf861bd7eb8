//! Somebody says something on a socket.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::timeline::messages)
}
