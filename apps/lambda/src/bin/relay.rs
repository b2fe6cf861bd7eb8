//! One service's relay from its table's stream to the bus.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::relay::wire)
}
