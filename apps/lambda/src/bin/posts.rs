//! The post service's routes, behind an API Gateway REST API.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda::run(lambda::posts::api)
}
