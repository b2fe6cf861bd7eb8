//! `mini-sns stats`: how a server is, in one look. Of a running one what it counts anyway;
//! accounts, posts, follows and likes are counted row by row, and so only in the data of a stopped
//! one.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use indicatif::{HumanBytes, HumanCount};
use kernel::Time;
use kernel::table::TableError;
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::client::{Server, print_json};
use crate::data::Data;
use crate::encryption::KeyArgs;
use crate::failure::Failure;
use crate::output;
use crate::progress::Line;
use crate::settings::{Layer, Settings};
use crate::world::Engine;
use crate::world::embedded as backend;

/// Of which server.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Data directory of a stopped server: counts what is in it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    server: Server,
}

/// Tells how the server is, or what its data holds.
pub(crate) async fn run(args: StatsArgs) -> Result<(), Failure> {
    let told = match &args.data {
        Some(data) => of_data(data, args.keys).await?,
        None => of_running(&args.server).await?,
    };
    if args.server.json {
        let named = told.into_iter().map(|(name, value)| (name.to_owned(), value));
        return print_json(&Value::Object(named.collect()));
    }
    print(&told)
}

/// What there is to tell, by name, in the order in which people read it.
type Told = Vec<(&'static str, Value)>;

async fn of_running(server: &Server) -> Result<Told, Failure> {
    let queues = server.ask(Method::GET, "/queues", None).await?;
    let metrics = Metrics(server.text("/metrics").await?);
    let whole = |value: Option<f64>| value.map(|value| value.round());
    let copied = metrics.sum("backup_last_success_timestamp_seconds", "");
    let copied = copied.filter(|secs| *secs > 0.0).and_then(|secs| moment(secs * 1000.0));
    Ok(vec![
        ("takesWrites", json!(metrics.least("table_writable").map(|least| least > 0.0))),
        ("openSockets", json!(whole(metrics.sum("websocket_connections", "").or(Some(0.0))))),
        ("eventsToPublish", json!(queues["outbox"])),
        ("eventsWaiting", json!(whole(metrics.sum("queue_depth", "state=\"waiting\"")))),
        ("eventsInHand", json!(whole(metrics.sum("queue_depth", "state=\"in_flight\"")))),
        ("deadLetters", json!(whole(metrics.sum("queue_dead_letters", "")))),
        ("openReports", json!(whole(metrics.sum("reports_open", "")))),
        (
            "failedRequests",
            json!(whole(metrics.sum("http_requests_total", "status=\"5xx\"").or(Some(0.0)))),
        ),
        ("memoryBytes", json!(whole(metrics.sum("process_resident_memory_bytes", "")))),
        ("spareDiskBytes", json!(whole(metrics.least("table_spare_disk_bytes")))),
        ("lastBackup", json!(copied)),
    ])
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a time that is shown")]
fn moment(millis: f64) -> Option<Time> {
    (0.0..1e15).contains(&millis).then(|| Time::from_millis(millis as i64))
}

/// What `/metrics` says.
struct Metrics(String);

impl Metrics {
    fn values<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = f64> + 'a {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let is_it = labels.is_empty() || labels.starts_with('{');
            (is_it && labels.contains(label)).then(|| value.parse().ok())?
        })
    }

    /// Over all series with this label; none where there are none.
    fn sum(&self, name: &str, label: &str) -> Option<f64> {
        self.values(name, label).reduce(|one, other| one + other)
    }

    fn least(&self, name: &str) -> Option<f64> {
        self.values(name, "").reduce(f64::min)
    }
}

async fn of_data(data: &Path, keys: KeyArgs) -> Result<Told, Failure> {
    Data::existing(data)?;
    let layer = keys.with(Layer { data: Some(data.to_owned()), ..Layer::default() });
    let settings = Settings::read(layer, None).map_err(Failure::usage)?;
    let (_world, engine) = backend::open(&settings)?;
    let failed = |error: TableError| Failure::failed(error);
    let line = Line::of_rows("counting");
    let snapshots = engine.stores.all().map(|(_, store)| store.snapshot().map_err(failed));
    let [user, post, social, _] = snapshots;
    let (user, post, social) = (user?, post?, social?);
    let (shown, suspended) = users::count(&line.counting(&user)).map_err(failed)?;
    let posts = posts::count(&line.counting(&post)).map_err(failed)?;
    let (follows, likes) = social::count(&line.counting(&social)).map_err(failed)?;
    drop(line);
    drop((user, post, social));
    engine.close().await;
    let bytes = size(data).map_err(|error| Failure::failed(format!("data: {error}")))?;
    Ok(vec![
        ("accounts", json!(shown + suspended)),
        ("suspended", json!(suspended)),
        ("posts", json!(posts)),
        ("follows", json!(follows)),
        ("likes", json!(likes)),
        ("diskBytes", json!(bytes)),
    ])
}

fn size(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn print(told: &[(&str, Value)]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    for (name, value) in told {
        table.add_row([words(name), shown(name, value)]);
    }
    output::line(&table.to_string())
}

/// `openSockets` as people write it.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.trim_end_matches("Bytes").chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[expect(clippy::cast_possible_truncation, reason = "counts and sizes that are shown")]
#[expect(clippy::cast_sign_loss, reason = "the same")]
fn shown(name: &str, value: &Value) -> String {
    let number = value.as_f64().map(|number| number.max(0.0) as u64);
    match (value, number) {
        (Value::Null, _) => "-".to_owned(),
        (Value::Bool(true), _) => "yes".to_owned(),
        (Value::Bool(false), _) => "no".to_owned(),
        (_, Some(number)) if name.ends_with("Bytes") => HumanBytes(number).to_string(),
        (_, Some(number)) => HumanCount(number).to_string(),
        (Value::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_up_by_name_and_label() {
        let metrics = Metrics(
            "# TYPE queue_depth gauge\n\
             queue_depth{queue=\"a\",state=\"waiting\"} 2\n\
             queue_depth{queue=\"b\",state=\"waiting\"} 3\n\
             queue_depth{queue=\"b\",state=\"in_flight\"} 7\n\
             queue_depth_of_others 100\n\
             websocket_connections 4\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("queue_depth", "state=\"waiting\""), Some(5.0));
        assert_eq!(metrics.least("queue_depth"), Some(2.0));
        assert_eq!(metrics.sum("websocket_connections", ""), Some(4.0));
        assert_eq!(metrics.sum("nobody", ""), None);
    }

    #[test]
    fn names_and_sizes_are_for_people() {
        assert_eq!(words("spareDiskBytes"), "spare disk");
        assert_eq!(shown("spareDiskBytes", &json!(2048.0)), "2.00 KiB");
        assert_eq!(shown("posts", &json!(1_234_567)), "1,234,567");
        assert_eq!(shown("lastBackup", &Value::Null), "-");
    }
}
