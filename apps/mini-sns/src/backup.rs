//! `mini-sns backup` copies the data as it is now; `mini-sns backups` lists what copies there are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use embedded::backup::{self, BackupError, Catalog, Listing, Options, Progress};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use kernel::Time;
use reqwest::Method;
use serde_json::json;

use crate::admin::client::{Server, print_json};
use crate::data::Data;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Layer, Settings};
use crate::world::Engine;
use crate::world::embedded as backend;

/// What to copy.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Copy everything anew, and not only what changed since the last copy
    #[arg(long)]
    base: bool,
    /// Data directory of a stopped server; where left out, the running one is asked
    #[arg(long, value_name = "DIR", requires = "backup_dir")]
    data: Option<PathBuf>,
    /// Folder with the copies of the stopped server
    #[arg(long, env = "MINI_SNS_BACKUP_DIR", value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Which copies to list.
#[derive(Debug, Args)]
pub(crate) struct BackupsArgs {
    /// Folder with the copies
    #[arg(long, env = "MINI_SNS_BACKUP_DIR", value_name = "DIR")]
    backup_dir: PathBuf,
    /// Read all of them, and hold every chunk to its hash
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why copies cannot be used: bad files are for whoever calls to mend, as bad data is.
pub(crate) fn refused(error: BackupError) -> Failure {
    match error {
        BackupError::Failed { .. } => Failure::failed(error),
        _ => Failure::usage(error),
    }
}

/// Copies, and says up to which moment one can go now.
pub(crate) async fn run(args: BackupArgs) -> Result<(), Failure> {
    let answer = match (args.data, args.backup_dir) {
        (Some(data), Some(dir)) => json!({"until": of_stopped(data, dir, args.base).await?}),
        _ => {
            let body = json!({"base": args.base});
            args.server.ask(Method::POST, "/backup", Some(&body)).await?
        }
    };
    if args.server.json {
        return print_json(&answer);
    }
    let until = answer["until"].as_str().unwrap_or("now");
    output::line(&format!("Copied. The last moment that can be restored is {until}"))
}

async fn of_stopped(data: PathBuf, dir: PathBuf, base: bool) -> Result<Time, Failure> {
    if Data::look(&data)?.is_new() {
        let place = data.display();
        return Err(Failure::usage(format!("data: there is no Mini-SNS data in {place}")));
    }
    let layer = Layer { data: Some(data), backup_dir: Some(dir), ..Layer::default() };
    let mut settings = Settings::read(layer, None).map_err(Failure::usage)?;
    let options = settings.backup();
    settings.backup_dir = None;
    let (_world, engine) = backend::open(&settings)?;
    // Nobody else wants the machine.
    engine.back_up(Options { base_rests: 0, ..options.unwrap_or_default() })?;
    let until = engine.copy(base).await;
    engine.close().await;
    until.map_err(|problem| {
        let cause = problem.cause.as_ref().map(ToString::to_string);
        Failure::failed(cause.unwrap_or_else(|| problem.detail.to_string()))
    })
}

/// Lists copies, and fails where one is not whole.
pub(crate) async fn list(args: BackupsArgs) -> Result<(), Failure> {
    let catalog = Catalog::read(&args.backup_dir, None).map_err(refused)?;
    let copies = catalog.copies();
    if args.json {
        print_json(&json!({"copies": copies}))?;
    } else {
        print(&copies)?;
    }
    if let Some(missing) = copies.iter().find_map(|copy| copy.missing.as_ref()) {
        return Err(Failure::usage(missing));
    }
    if args.check {
        let progress = Arc::new(Progress::default());
        let (bytes, shared) = (catalog.bytes(), Arc::clone(&progress));
        with_bar(bytes, &progress, move || backup::check(&catalog, &shared)).await?;
    }
    Ok(())
}

fn print(copies: &[Listing]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["data", "base", "from", "until", "base size", "log size", "state"]);
    for copy in copies {
        let moment = |moment: Option<Time>| moment.map_or("-".to_owned(), |at| at.to_string());
        let state = match (&copy.missing, copy.until) {
            (Some(_), _) => "not whole",
            (None, None) => "not yet",
            (None, Some(_)) => "whole",
        };
        table.add_row([
            copy.data.clone(),
            copy.base.to_string(),
            moment(copy.from),
            moment(copy.until),
            HumanBytes(copy.base_bytes).to_string(),
            HumanBytes(copy.log_bytes).to_string(),
            state.to_owned(),
        ]);
    }
    if copies.is_empty() {
        return output::line("No base is copied yet.");
    }
    output::line(&table.to_string())
}

/// Does long work with copies; on a terminal a bar shows how far it is.
pub(crate) async fn with_bar(
    bytes: u64,
    progress: &Progress,
    work: impl FnOnce() -> Result<(), BackupError> + Send + 'static,
) -> Result<(), Failure> {
    let bar = ProgressBar::new(bytes);
    let line = "{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(line) {
        bar.set_style(style);
    }
    let mut work = tokio::task::spawn_blocking(work);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => bar.set_position(progress.done()),
        }
    };
    bar.finish_and_clear();
    done.map_err(Failure::failed)?.map_err(refused)
}
