//! The timeline service's reactions to the messages of its queues.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::timeline::react)
}
