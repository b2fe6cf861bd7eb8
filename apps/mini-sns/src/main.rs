//! Mini-SNS in one binary: the four services, and the operator's commands. Over the embedded
//! backend nothing else has to be installed; with the feature `aws` the services also run over AWS,
//! in one process or in several.

mod admin;
mod backup;
mod cli;
mod data;
mod demo;
mod dlq;
mod encryption;
mod failure;
mod heartbeat;
mod limits;
mod listener;
mod load;
mod logging;
mod mail;
mod metering;
mod openapi;
mod operate;
mod output;
mod peers;
mod progress;
#[cfg(feature = "aws")]
mod provision;
mod recent;
mod restore;
mod rotate;
mod secret_file;
mod serve;
mod settings;
mod stats;
mod trace;
mod values;
mod verify;
mod web;
mod world;

use std::process::ExitCode;

use cli::{Command, Refusal};
use failure::Failure;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli.command,
        Err(Refusal::Help(text)) => {
            return output::text(&text).map_or_else(Failure::report, |()| ExitCode::SUCCESS);
        }
        Err(Refusal::Usage(line)) => return Failure::usage(line).report(),
    };
    match run(command.unwrap_or_else(|| Command::Serve(Box::default()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Serve(options) => serve::run(*options).await,
            Command::Openapi => openapi::print(),
            Command::Dlq(command) => dlq::run(command).await,
            Command::Backup(args) => backup::run(args).await,
            Command::Backups(args) => backup::list(args).await,
            Command::Restore(args) => restore::run(*args).await,
            Command::Users(command) => operate::users(command).await,
            Command::Posts(command) => operate::posts(command).await,
            Command::Reports(command) => operate::reports::run(command).await,
            Command::Audit(args) => operate::audit(args).await,
            Command::Stats(args) => stats::run(args).await,
            Command::RotateKeys(args) => rotate::run(args),
            Command::Verify(args) => verify::run(args).await,
            Command::Load(args) => load::run(*args).await,
            #[cfg(feature = "aws")]
            Command::Provision(args) => provision::run(args).await,
        }
    })
}
