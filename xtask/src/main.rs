//! The developer's commands, run as `cargo xtask <command>`. One file holds one command.

#![expect(clippy::print_stdout, reason = "a command line tool speaks on its standard output")]
#![expect(clippy::print_stderr, reason = "a command line tool complains on its standard error")]

mod alerts;
mod bench;
mod ci;
mod cost;
mod infra;
mod lambda;
mod openapi;
mod record;
mod shell;
mod signals;
mod test;
mod testbed;
mod tools;
mod units;
mod walls;
mod web;
mod workflows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The developer's commands of Mini-SNS.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds and runs every test of the workspace, with the test bed up.
    Test,
    /// Everything a change must pass: format, lints, docs, dependencies, walls, OpenAPI, tests.
    Ci,
    /// Writes docs/openapi.json from the code.
    Openapi,
    /// Measures the release build next to its ceilings and prints the table.
    Bench(bench::Arguments),
    /// Builds the functions of Lambda, and measures size, start and memory.
    Lambda(lambda::Arguments),
    /// Checks the stacks of infra/: linters, translation, rules of our own.
    Infra(infra::Arguments),
    /// Checks Prometheus' rules and Grafana's dashboard with promtool.
    Alerts,
    /// Writes what AWS costs, in docs/cost.md, from what is measured, assumed and asked.
    Cost(cost::Arguments),
    /// Starts and stops what stands in for AWS in tests.
    Testbed(testbed::Arguments),
    /// Checks systemd's units of docs/operate.
    Units,
    /// Checks which crate may know which, and the rules that hold for every source file.
    Walls,
    /// Checks the web client: packages, types, pure parts, and all of it in a browser.
    Web(web::Arguments),
    /// Checks the pipelines of .github/workflows.
    Workflows,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test => test::run(),
        Command::Ci => ci::run(),
        Command::Openapi => openapi::write(),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Lambda(arguments) => lambda::run(&arguments),
        Command::Infra(arguments) => infra::run(&arguments),
        Command::Alerts => alerts::run(),
        Command::Cost(arguments) => cost::run(&arguments),
        Command::Testbed(arguments) => testbed::run(&arguments),
        Command::Units => units::run(),
        Command::Walls => walls::run(),
        Command::Web(arguments) => web::run(&arguments),
        Command::Workflows => workflows::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
