//! A socket has ended.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::sockets::disconnect)
}
