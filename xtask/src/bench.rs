//! `cargo xtask bench`: the figures of the performance record, measured in one sitting. What has a
//! ceiling is measured in turns with it, so that a slow minute of the machine slows both.

mod backup;
mod machine;
mod process;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use self::process::{Program, Programs, Server};
use self::table::{Figure, Table};
use crate::record;
use crate::shell::{cargo, root, run as run_command, target};

/// Open files that the server and the generator need for the idle sockets.
const OPEN_FILES: u64 = 12_000;
/// Idle sockets that are weighed.
const SOCKETS: u32 = 5_000;
/// Posts on disk before the timed start.
const POSTS: u64 = 1_000_000;
/// Requests that the server has at work at once, at most: the default of `requests_in_flight_max`.
const IN_FLIGHT: u32 = 512;

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Fewer and shorter rounds, and a tenth of the posts: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// Write the table into docs/performance.md
    #[arg(long)]
    write: bool,
}

/// How much is done.
struct Plan {
    rounds: usize,
    round_secs: u32,
    writers: u32,
    posts: u64,
    deliveries: u32,
}

impl Plan {
    fn new(quick: bool) -> Self {
        if quick {
            Self { rounds: 2, round_secs: 2, writers: 500, posts: POSTS / 10, deliveries: 50 }
        } else {
            Self { rounds: 5, round_secs: 4, writers: 4_000, posts: POSTS, deliveries: 300 }
        }
    }
}

/// Builds, measures and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    machine::raise_open_files(OPEN_FILES)?;
    let build =
        ["build", "--release", "-p", "mini-sns", "--bin", "mini-sns", "--example", "ceiling"];
    run_command(&mut cargo(&build)?)?;
    let programs = Programs::new(&target()?)?;
    let plan = Plan::new(arguments.quick);
    let mut bench = Bench { programs, plan, table: Table::default() };
    bench.idle()?;
    bench.busy()?;
    let command = if arguments.quick { "cargo xtask bench --quick" } else { "cargo xtask bench" };
    let how = "the generator runs on the same cores. Both sides are release builds; Mini-SNS logs \
               errors only.";
    let record = format!("{}\n{}", record::describe(command, how)?, bench.table);
    println!("{record}");
    if arguments.write {
        let path = root()?.join("docs/performance.md");
        record::write(&path, "bench", "cargo xtask bench --write", &record)?;
    }
    Ok(())
}

struct Bench {
    programs: Programs,
    plan: Plan,
    table: Table,
}

impl Bench {
    /// A server that has nothing to do: its memory, and that of idle sockets. It is started anew
    /// once the sockets' owners are signed in, for hashing their passwords took memory that the
    /// allocator gives back only later.
    fn idle(&mut self) -> Result<()> {
        step("an idle server and its sockets");
        let owners = self.pool("owners", "sockets")?;
        let people = (SOCKETS / 20).to_string();
        let owned = [&owners.options()[..], &["--users", &people]].concat();
        let server = self.programs.serve("idle")?;
        let resident = server.program.resident_bytes()?;
        self.table.add(Figure::at_most("idle memory, new data", mega(resident), 60.0, "MB"));
        self.programs.set_up(&server.url, &owned)?;
        server.settled()?;
        server.program.stop()?;

        let server = self.programs.serve("idle")?;
        let (sockets, pid) = (SOCKETS.to_string(), server.program.pid().to_string());
        let options = [&owned[..], &["--connections", &sockets, "--pid", &pid]].concat();
        let report = self.programs.load(&server.url, &options)?;
        let each = report["memory"]["eachBytes"].as_f64().context("no memory was read")?;
        let held = report["memory"]["sockets"].as_f64().unwrap_or_default();
        let name = format!("idle socket, of {held}");
        self.table.add(Figure::at_most(&name, each / 1024.0, 16.0, "KiB"));
        server.program.stop()
    }

    /// Everything that needs a filled server.
    fn busy(&mut self) -> Result<()> {
        step("setting up");
        let server = self.programs.serve("busy")?;
        let readers = self.pool("readers", "timeline")?;
        let writers = self.pool("writers", "posts")?;
        let plan_writers = self.plan.writers.to_string();
        let reading = ["--users", "64", "--follows", "10", "--connections", "64"];
        let set_up = |pool: &Pool, more: &[&str]| {
            self.programs.set_up(&server.url, &[&pool.options()[..], more].concat())
        };
        set_up(&readers, &reading)?;
        set_up(&writers, &["--users", &plan_writers])?;
        server.settled()?;
        let ceiling = self.programs.ceiling(&server.url, &readers.tokens)?;
        self.against_ceiling(&server, &ceiling, "timeline read, warm, 64 connections", 0.5, &{
            [&readers.options()[..], &reading].concat()
        })?;
        for connections in ["64", "256"] {
            let name = format!("durable posts, {connections} connections");
            let more = ["--users", &plan_writers, "--connections", connections];
            let options = [&writers.options()[..], &more].concat();
            self.against_ceiling(&server, &ceiling, &name, 0.35, &options)?;
        }
        self.traced(&ceiling, &reading)?;
        self.encrypted(&["--users", &plan_writers, "--connections", "64"])?;
        ceiling.stop()?;
        self.overload(&server, &writers, &plan_writers)?;
        self.deliveries(&server)?;
        self.start_with_posts(server, &writers)
    }

    /// Timeline reads with every request recorded. What is kept goes to the ceiling, which takes
    /// no traces: sending them is what costs.
    fn traced(&mut self, ceiling: &Program, reading: &[&str]) -> Result<()> {
        let endpoint = format!("{}/v1/traces", ceiling.first_url()?);
        let pools = [self.pool("traced", "timeline")?, self.pool("untraced", "timeline")?];
        let ratio = self.with_and_without(&["--otlp-endpoint", &endpoint], &pools, reading)?;
        let name = "timeline read, warm, with traces";
        self.table.add(Figure::at_least(name, ratio, 0.95, "of that without"));
        Ok(())
    }

    /// Durable posts to data that is encrypted.
    fn encrypted(&mut self, writing: &[&str]) -> Result<()> {
        let key = self.programs.key_file()?;
        let key = key.to_str().context("the path is no text")?;
        let pools = [self.pool("encrypted", "posts")?, self.pool("plain", "posts")?];
        let ratio = self.with_and_without(&["--encryption-key-file", key], &pools, writing)?;
        let name = "durable posts, 64 connections, encrypted at rest";
        self.table.add(Figure::fact(name, ratio, "of those that are not"));
        Ok(())
    }

    /// Some rounds of two new servers in turns, one with more options; the ratio of its rate to
    /// the other's is the median of the rounds'.
    fn with_and_without(&self, more: &[&str], pools: &[Pool; 2], load: &[&str]) -> Result<f64> {
        let servers =
            [self.programs.serve_with(pools[0].name, more)?, self.programs.serve(pools[1].name)?];
        for (server, pool) in servers.iter().zip(pools) {
            self.programs.set_up(&server.url, &[&pool.options()[..], load].concat())?;
            server.settled()?;
        }
        let secs = self.plan.round_secs.to_string();
        let rate = |server: &Server, pool: &Pool| {
            let options = [&pool.options()[..], load, &["--duration-secs", &secs]].concat();
            let rate = per_second(&self.programs.load(&server.url, &options)?);
            server.settled()?;
            rate
        };
        let mut ratios = Vec::new();
        for round in 1..=self.plan.rounds {
            step(&format!("{} and not: round {round} of {}", pools[0].name, self.plan.rounds));
            ratios.push(rate(&servers[0], &pools[0])? / rate(&servers[1], &pools[1])?);
        }
        for server in servers {
            server.program.stop()?;
        }
        Ok(median(ratios))
    }

    fn pool(&self, name: &'static str, scenario: &'static str) -> Result<Pool> {
        let tokens = self.programs.path(&format!("{name}.json"));
        let text = tokens.to_str().context("the path is no text")?.to_owned();
        Ok(Pool { name, scenario, tokens, text })
    }

    /// Some rounds of the server and the ceiling in turns; the ratio is the median of the rounds'.
    fn against_ceiling(
        &mut self,
        server: &Server,
        ceiling: &Program,
        name: &str,
        target: f64,
        options: &[&str],
    ) -> Result<()> {
        let secs = self.plan.round_secs.to_string();
        let options = [options, &["--duration-secs", &secs]].concat();
        let ceiling_url = ceiling.first_url()?;
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            step(&format!("{name}: round {round} of {}", self.plan.rounds));
            let our = per_second(&self.programs.load(&server.url, &options)?)?;
            // What the posts set off is finished before the other one's turn.
            server.settled()?;
            let their = per_second(&self.programs.load(&ceiling_url, &options)?)?;
            ours.push(our);
            theirs.push(their);
            ratios.push(our / their);
        }
        let detail = format!("{:.0} against {:.0} a second", median(ours), median(theirs));
        self.table
            .add(Figure::at_least(name, median(ratios), target, "of the ceiling").with(detail));
        Ok(())
    }

    /// Three times as many posts as the server can take, by clients who heed no Retry-After, in
    /// turns with as many as it can.
    fn overload(&mut self, server: &Server, writers: &Pool, users: &str) -> Result<()> {
        let secs = self.plan.round_secs.to_string();
        let (mut peaks, mut ratios, mut slowest) = (Vec::new(), Vec::new(), 0.0_f64);
        let (calm, many) = (IN_FLIGHT.to_string(), (IN_FLIGHT * 3).to_string());
        for round in 1..=self.plan.rounds {
            step(&format!("overload: round {round} of {}", self.plan.rounds));
            let run = |more: &[&str]| {
                let options = ["--users", users, "--duration-secs", &secs];
                self.programs.load(&server.url, &[&writers.options()[..], &options, more].concat())
            };
            let peak = per_second(&run(&["--connections", &calm])?)?;
            server.settled()?;
            let rate = format!("{:.0}", peak * 3.0);
            let flood = run(&["--connections", &many, "--rate", &rate])?;
            server.settled()?;
            peaks.push(peak);
            ratios.push(per_second(&flood)? / peak);
            let p99 = operation(&flood, "post")?["p99Ms"].as_f64().context("a time is missing")?;
            slowest = slowest.max(p99);
        }
        let name = "posts accepted when three times as many are sent";
        let detail = format!("{:.0} a second", median(peaks));
        self.table.add(Figure::at_least(name, median(ratios), 0.8, "of the peak").with(detail));
        let name = "p99 of those accepted, the slowest round's";
        self.table.add(Figure::at_most(name, slowest, 1000.0, "ms"));
        Ok(())
    }

    /// From a post to its frame on the last follower's socket.
    fn deliveries(&mut self, server: &Server) -> Result<()> {
        let sync = machine::sync_times(&self.programs.path("sync"))?;
        for (followers, target) in [(1_000, 100.0), (5, 25.0 + millis(sync.p50))] {
            step(&format!("delivery to {followers} followers"));
            let (connections, pool) = (followers.to_string(), format!("followers{followers}"));
            let requests = self.plan.deliveries.to_string();
            let report = self.programs.load(
                &server.url,
                &[
                    "--scenario",
                    "fanout",
                    "--connections",
                    &connections,
                    "--pool",
                    &pool,
                    "--requests",
                    &requests,
                    "--duration-secs",
                    "120",
                ],
            )?;
            let last = operation(&report, "last frame")?;
            let time = |key: &str| last[key].as_f64().context("a time is missing");
            let name = format!("post to the last of {followers} followers' sockets, p99");
            let detail = format!("p50 {:.1} ms, {} posts", time("p50Ms")?, last["succeeded"]);
            self.table.add(Figure::at_most(&name, time("p99Ms")?, target, "ms").with(detail));
        }
        let detail = format!("p99 {:.2} ms", millis(sync.p99));
        self.table.add(Figure::fact("one disk sync, p50", millis(sync.p50), "ms").with(detail));
        Ok(())
    }

    /// A start on a disk full of posts, all written through the API.
    fn start_with_posts(&mut self, server: Server, writers: &Pool) -> Result<()> {
        step(&format!("writing {} posts", self.plan.posts));
        let (users, posts) = (self.plan.writers.to_string(), self.plan.posts.to_string());
        let more = [
            "--users",
            &users,
            "--connections",
            "256",
            "--requests",
            &posts,
            "--duration-secs",
            "3600",
        ];
        let report = self.programs.load(&server.url, &[&writers.options()[..], &more].concat())?;
        let written = operation(&report, "post")?["succeeded"].as_u64().unwrap_or_default();
        server.settled()?;
        server.program.stop()?;
        step("starting on them");
        let server = self.programs.serve("busy")?;
        let name = format!("start with {written} posts");
        let secs = server.started_in.as_secs_f64();
        self.table.add(Figure::at_most(&name, secs, 2.0, "s"));
        let resident = server.program.resident_bytes()?;
        let name = format!("memory after that start, {written} posts");
        self.table.add(Figure::fact(&name, mega(resident), "MB"));
        server.program.stop()?;
        self.backup(writers, written)
    }
}

/// People of the generator, kept in a file.
struct Pool {
    name: &'static str,
    scenario: &'static str,
    tokens: PathBuf,
    text: String,
}

impl Pool {
    fn options(&self) -> [&str; 6] {
        ["--scenario", self.scenario, "--pool", self.name, "--tokens", &self.text]
    }
}

fn step(what: &str) {
    eprintln!("bench: {what}");
}

fn operation<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let operations = report["operations"].as_array().context("the report has no operations")?;
    let found = operations.iter().find(|one| one["operation"] == name);
    found.with_context(|| format!("the report has no {name}"))
}

/// Requests a second of a run that has one kind of them.
fn per_second(report: &Value) -> Result<f64> {
    report["operations"][0]["perSecond"].as_f64().context("the report has no rate")
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => numbers[half],
        _ => f64::midpoint(numbers[half - 1], numbers[half]),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mega(bytes: u64) -> f64 {
    Duration::from_micros(bytes).as_secs_f64()
}

/// A directory that goes with what is measured in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies below target/, which nobody misses.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
