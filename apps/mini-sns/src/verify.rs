//! `mini-sns verify`: whether a stopped server's data keeps its own rules; with `--repair`, what
//! is derived is rebuilt.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use embedded::intact;
use kernel::audit::Finding;
use kernel::table::TableError;
use serde_json::json;
use tokio::time::Instant;

use crate::data::Data;
use crate::encryption::KeyArgs;
use crate::failure::Failure;
use crate::output;
use crate::progress::Line;
use crate::settings::{Layer, Settings};
use crate::world::embedded::{self as backend, Embedded, STORES};
use crate::world::{Stop, World};

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The data directory
    #[arg(long, env = "MINI_SNS_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
    /// Rebuild what is derived: timelines and what they project of follows
    #[arg(long)]
    repair: bool,
    /// Only tell what --repair would do
    #[arg(long, requires = "repair")]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How long events of the last run may wait without any getting through, as on a full disk.
const SETTLE_WAIT: Duration = Duration::from_secs(15);
/// Findings that are printed one by one; the rest are counted.
const SHOWN_MAX: usize = 100;

/// Checks, repairs where asked, and fails where something is left.
pub(crate) async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let data = Data::existing(&args.data)?;
    let line = Line::of("reading every file");
    check_files(&data)?;
    drop(line);
    let settings = args.keys.with(Layer { data: Some(args.data), ..Layer::default() });
    let settings = Settings::read(settings, None).map_err(Failure::usage)?;
    let (world, engine) = backend::open(&settings)?;
    settle(&world, &engine).await?;
    let mut findings = audit(&world, &engine).await?;
    if args.dry_run && !args.json {
        let would = if findings.is_empty() { "Nothing" } else { "All that is derived" };
        output::line(&format!("{would} would be rebuilt"))?;
    }
    if args.repair && !args.dry_run && !findings.is_empty() {
        repair(&world, &engine).await?;
        settle(&world, &engine).await?;
        output::line(&format!("{} findings before the repair", findings.len()))?;
        findings = audit(&world, &engine).await?;
    }
    if args.json {
        print_json(&findings)?;
    } else {
        print(&findings)?;
    }
    match findings.len() {
        0 => Ok(()),
        number => Err(Failure::failed(format!("{number} rules are broken"))),
    }
}

/// Holds every file of the storage engine to its checksum before anything is opened: the rules look
/// only at what they know, and the engine only at what it is asked for.
fn check_files(data: &Data) -> Result<(), Failure> {
    let refused = |error| Failure::usage(format!("data: {error}"));
    for name in STORES {
        intact::table(data.part(name)).map_err(refused)?;
    }
    intact::bus(data.part("bus")).map_err(refused)
}

/// Handles the events that the last run left, so that what is derived is up to date.
async fn settle(world: &World, engine: &Embedded) -> Result<(), Failure> {
    let stop = Stop::default();
    let mut tasks = world.start(&stop);
    let (mut left, mut since) = (usize::MAX, Instant::now());
    loop {
        let rows = world.outbox_rows().await.map_err(Failure::failed)?;
        if rows == 0 {
            break;
        }
        if rows < left {
            (left, since) = (rows, Instant::now());
        } else if since.elapsed() > SETTLE_WAIT {
            return Err(Failure::failed(format!("{rows} events do not get to the bus")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine.bus.idle().await;
    stop.end.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn audit(world: &World, engine: &Embedded) -> Result<Vec<Finding>, Failure> {
    let failed = |error: TableError| Failure::failed(error);
    let [user, post, social, timeline] =
        engine.stores.all().map(|(_, store)| store.snapshot().map_err(failed));
    let (user, post, social, timeline) = (user?, post?, social?, timeline?);
    let line = Line::of_rows("accounts");
    let mut findings = users::audit(&line.counting(&user)).map_err(failed)?;
    findings.extend(embedded::identity::audit(&line.counting(&user)).map_err(failed)?);
    line.say("posts");
    findings.extend(posts::audit(&line.counting(&post)).map_err(failed)?);
    line.say("follows and likes");
    findings.extend(social::audit(&line.counting(&social)).map_err(failed)?);
    line.say("timelines");
    let peers = world.peers.as_ref();
    let of_timeline = timeline::audit::audit(&line.counting(&timeline), peers).await;
    findings.extend(of_timeline.map_err(Failure::failed)?);
    Ok(findings)
}

/// Makes what is derived anew: handles and the search of people from profiles, timelines from the
/// other services. Everything else is somebody's word, which no program may make up.
async fn repair(world: &World, engine: &Embedded) -> Result<(), Failure> {
    let stores = &engine.stores;
    let profiles = stores.user.snapshot().map_err(Failure::failed)?;
    users::repair(stores.user.as_ref(), &profiles).await.map_err(Failure::failed)?;
    let Some(timeline) = &world.timeline else { return Ok(()) };
    let timelines = stores.timeline.snapshot().map_err(Failure::failed)?;
    let users = timeline::audit::users(&timelines).map_err(Failure::failed)?;
    let line = Line::of_many("timelines", users.len());
    for user in users {
        timeline.rebuild(user).await.map_err(Failure::failed)?;
        line.step();
    }
    Ok(())
}

fn print(findings: &[Finding]) -> Result<(), Failure> {
    if findings.is_empty() {
        return output::line("Every rule holds.");
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["rule", "place", "found"]);
    for finding in findings.iter().take(SHOWN_MAX) {
        table.add_row([finding.rule, &finding.place, &finding.detail]);
    }
    output::line(&table.to_string())?;
    match findings.len().checked_sub(SHOWN_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => output::line(&format!("and {more} more")),
    }
}

fn print_json(findings: &[Finding]) -> Result<(), Failure> {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({"rule": finding.rule, "place": finding.place, "detail": finding.detail})
        })
        .collect();
    output::line(&json!({"findings": rows}).to_string())
}
