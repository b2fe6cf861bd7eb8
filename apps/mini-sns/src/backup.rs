//! `mini-sns backup` copies the data as it is now; `mini-sns backups` lists what copies there are.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use embedded::backup::{BackupError, Bucket, Listing, Options, Progress, Reader};
use indicatif::HumanBytes;
use kernel::Time;
use reqwest::Method;
use serde_json::json;
use tokio::runtime::Handle;

use crate::admin::client::{Server, print_json};
use crate::data::Data;
use crate::encryption::KeyArgs;
use crate::failure::Failure;
use crate::output;
use crate::progress::{Line, with_bar};
use crate::settings::{Layer, Settings};
use crate::values::CopiesAt;
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
    /// Folder or bucket (s3://bucket/prefix) with the copies of the stopped server
    #[arg(long, env = "MINI_SNS_BACKUP_DIR", value_name = "DIR")]
    backup_dir: Option<CopiesAt>,
    /// Address of the service that has the bucket, where it is not AWS
    #[arg(long, env = "MINI_SNS_BACKUP_ENDPOINT", value_name = "URL")]
    backup_endpoint: Option<String>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    server: Server,
}

/// Which copies to list.
#[derive(Debug, Args)]
pub(crate) struct BackupsArgs {
    /// Folder or bucket (s3://bucket/prefix) with the copies
    #[arg(long, env = "MINI_SNS_BACKUP_DIR", value_name = "DIR")]
    backup_dir: CopiesAt,
    /// Address of the service that has the bucket, where it is not AWS
    #[arg(long, env = "MINI_SNS_BACKUP_ENDPOINT", value_name = "URL")]
    backup_endpoint: Option<String>,
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
        (Some(data), Some(at)) => {
            let layer = Layer {
                data: Some(data),
                backup_dir: Some(at),
                backup_endpoint: args.backup_endpoint,
                ..Layer::default()
            };
            json!({"until": of_stopped(args.keys.with(layer), args.base).await?})
        }
        _ => {
            let body = json!({"base": args.base});
            let _line = Line::of("the server copies");
            args.server.ask(Method::POST, "/backup", Some(&body)).await?
        }
    };
    if args.server.json {
        return print_json(&answer);
    }
    let until = answer["until"].as_str().unwrap_or("now");
    output::line(&format!("Copied. The last moment that can be restored is {until}"))
}

async fn of_stopped(layer: Layer, base: bool) -> Result<Time, Failure> {
    let settings = Settings::read(layer, None).map_err(Failure::usage)?;
    Data::existing(&settings.data)?;
    // Copies are begun below, in another way than a server's.
    let none = Settings { backup_dir: None, backup_endpoint: None, ..settings.clone() };
    let (_world, engine) = backend::open(&none)?;
    let options = settings.backup(&engine.encryption)?;
    // Nobody else wants the machine.
    engine.back_up(Options { base_rests: 0, ..options.unwrap_or_default() })?;
    let line = Line::of("copying");
    let until = engine.copy(base).await;
    engine.close().await;
    drop(line);
    until.map_err(|problem| {
        let cause = problem.cause.as_ref().map(ToString::to_string);
        Failure::failed(cause.unwrap_or_else(|| problem.detail.to_string()))
    })
}

/// Lists copies, and fails where one is not whole.
pub(crate) async fn list(args: BackupsArgs) -> Result<(), Failure> {
    let scratch = tempfile::tempdir().map_err(Failure::failed)?;
    let endpoint = args.backup_endpoint.as_deref();
    let reader = reader(&args.backup_dir, endpoint, || Ok(scratch.path().to_owned()))?;
    let catalog = reader.catalog(None).await.map_err(refused)?;
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
        let check = move || Handle::current().block_on(reader.check(&catalog, &shared));
        with_bar(bytes, &progress, check).await?;
    }
    Ok(())
}

/// What reads the copies; those of a bucket are brought to a folder for that.
pub(crate) fn reader(
    copies: &CopiesAt,
    endpoint: Option<&str>,
    scratch: impl FnOnce() -> Result<PathBuf, BackupError>,
) -> Result<Reader, Failure> {
    let reader = match copies {
        CopiesAt::Folder(dir) => Ok(Reader::of_dir(dir.clone())),
        CopiesAt::Bucket(address) => Bucket::open(address, endpoint)
            .and_then(|bucket| Ok(Reader::of_bucket(bucket, scratch()?))),
    };
    reader.map_err(refused)
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
