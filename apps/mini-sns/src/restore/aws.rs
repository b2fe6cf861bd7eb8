//! Brings back what copies of the tables hold that were restored to a point in time, and makes
//! timelines anew from them. While it runs, nobody may be served.

use std::collections::BTreeSet;

use aws::dynamodb;
use kernel::UserId;
use kernel::table::TableError;

use super::RestoreArgs;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::ServiceName;
use crate::{output, world};

/// What is restored. Timelines are derived from it.
const ORIGINALS: [ServiceName; 3] = [ServiceName::User, ServiceName::Post, ServiceName::Social];
/// Behind these stands a person in the names of the timeline's partitions.
const OF_PEOPLE: [&str; 3] = ["feed#", "following#", "follower#"];
/// The same in the names of the user service's.
const PROFILES: [&str; 1] = ["profile#"];
/// People after whose timelines a line tells how far it is.
const TOLD_EVERY: usize = 1_000;

/// Restores, or only tells what that would change; repeatable.
pub(super) async fn run(args: RestoreArgs, mut settings: Settings) -> Result<(), Failure> {
    if !settings.serves_all() {
        return Err(Failure::usage("services: only all of them are restored"));
    }
    if args.at.is_some() || args.of.is_some() {
        return Err(Failure::usage("at: AWS restores tables to a moment; this takes them in"));
    }
    // Timelines may be made anew while others serve already.
    settings.shared = Some(true);
    let world = world::open(&settings).await?;
    let sdk = settings.aws_connection().load().await;
    let client = dynamodb::client(&sdk, settings.dynamodb_url.as_deref());
    let name = |service: ServiceName| dynamodb::name(&settings.env_name.0, service.word());
    let would = if args.dry_run { "would be " } else { "" };
    if !args.timelines_only {
        for service in ORIGINALS {
            let (table, copy) = (name(service), name(service) + &args.suffix);
            let changed = dynamodb::make_equal(&client, &table, &copy, args.dry_run).await;
            let changed = changed.map_err(|error| failed(&table, &error))?;
            let dynamodb::Changed { written, deleted } = changed;
            let told = format!("{table}: {written} items {would}written, {deleted} {would}deleted");
            output::line(&told)?;
        }
    }
    let mut people = BTreeSet::new();
    for (service, prefixes) in
        [(ServiceName::User, &PROFILES[..]), (ServiceName::Timeline, &OF_PEOPLE)]
    {
        let is_copied = service == ServiceName::User && !args.timelines_only && args.dry_run;
        // Its people are those of the copy once it is restored.
        let table = if is_copied { name(service) + &args.suffix } else { name(service) };
        let found = dynamodb::partitions(&client, &table).await;
        let found = found.map_err(|error| failed(&table, &error))?;
        people.extend(found.iter().filter_map(|partition| person(partition, prefixes)));
    }
    if args.dry_run {
        return output::line(&format!("{} timelines would be made anew", people.len()));
    }
    let timeline = world.timeline.as_ref().ok_or_else(|| Failure::failed("no timeline"))?;
    for (done, user) in people.iter().enumerate() {
        timeline.rebuild(*user).await.map_err(Failure::failed)?;
        if (done + 1) % TOLD_EVERY == 0 {
            output::line(&format!("{} of {} timelines", done + 1, people.len()))?;
        }
    }
    output::line(&format!("{} timelines made anew", people.len()))
}

fn failed(table: &str, error: &TableError) -> Failure {
    Failure::failed(format!("{table}: {error}"))
}

/// Whose a partition is, where it is somebody's.
fn person(partition: &str, prefixes: &[&str]) -> Option<UserId> {
    prefixes.iter().find_map(|prefix| partition.strip_prefix(prefix)?.parse().ok())
}
