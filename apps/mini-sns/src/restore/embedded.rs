//! A new data directory out of copies, as the data was at one moment.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use embedded::backup::{self, Plan, Progress, Reader};
use indicatif::HumanBytes;
use kernel::clock::SystemClock;
use kernel::ids::SystemIds;
use tokio::runtime::Handle;

use super::RestoreArgs;
use crate::backup::{reader, refused};
use crate::data::Data;
use crate::failure::Failure;
use crate::output;
use crate::progress::with_bar;
use crate::settings::Settings;

/// Restores into `settings.data`.
pub(super) async fn run(args: RestoreArgs, settings: Settings) -> Result<(), Failure> {
    let Some(copies) = &settings.backup_dir else {
        return Err(Failure::usage("backup_dir: say where the copies are"));
    };
    let to = &settings.data;
    let mut of = args.of;
    let mut at = args.at.map(|at| at.0);
    // One that was broken off goes on, whatever was copied meanwhile.
    if let (Some((data, before)), None) = (backup::unfinished(to).map_err(refused)?, at) {
        (of, at) = (Some(data), Some(before));
    }
    // What a bucket holds is brought elsewhere by whoever only looks.
    let aside = args.dry_run.then(tempfile::tempdir).transpose().map_err(Failure::failed)?;
    let scratch =
        || aside.as_ref().map_or_else(|| backup::scratch(to), |dir| Ok(dir.path().into()));
    let reader = reader(copies, settings.backup_endpoint.as_deref(), scratch)?;
    let catalog = reader.catalog(of.as_deref()).await.map_err(refused)?;
    let plan: Plan = reader.held(catalog.plan(at)).map_err(refused)?;
    let operator = settings.operator_keys()?;
    let encryption = plan.encryption(operator.as_ref()).map_err(refused)?;
    if args.dry_run {
        return try_out(reader, plan, to).await;
    }
    let began = Instant::now();
    let progress = Arc::new(Progress::default());
    let (bytes, at) = (plan.bytes(), plan.at);
    let (shared, place, options) = (Arc::clone(&progress), to.clone(), settings.table(&encryption));
    with_bar(reader.bytes(&plan) + bytes, &progress, move || {
        backup::begin(&plan, &place)?;
        Handle::current().block_on(reader.fetch(&plan, &shared))?;
        reader.held(backup::restore(&plan, &place, &options, &shared))
    })
    .await?;
    Data::adopt(to, &SystemIds::new(Arc::new(SystemClock)))?;
    backup::finish(to).map_err(refused)?;
    let (bytes, took) = (HumanBytes(bytes), began.elapsed());
    let place = to.display();
    output::line(&format!("{place} is as it was at {at}: {bytes} of copies in {took:.1?}"))?;
    output::line(&format!("Check it with: mini-sns verify --data {place}"))
}

/// Reads all that would be restored, and refuses what a restore would refuse.
async fn try_out(reader: Reader, plan: Plan, to: &Path) -> Result<(), Failure> {
    backup::admits(&plan, to).map_err(refused)?;
    let progress = Arc::new(Progress::default());
    let (at, data, bytes) = (plan.at, plan.data.clone(), plan.size());
    let shared = Arc::clone(&progress);
    let check = move || Handle::current().block_on(reader.check_plan(&plan, &shared));
    with_bar(bytes, &progress, check).await?;
    let (place, bytes) = (to.display(), HumanBytes(bytes));
    output::line(&format!(
        "{place} would be {data} as it was at {at}: {bytes} of copies, all whole"
    ))
}
