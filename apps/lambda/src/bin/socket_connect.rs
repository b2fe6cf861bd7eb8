//! Somebody opens a socket at the WebSocket API.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::sockets::connect)
}
