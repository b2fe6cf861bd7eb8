//! `mini-sns load`: puts load on any Mini-SNS and measures it. It signs people up, lets them
//! follow one another, and then reads, posts, likes or listens in their names. Where the server
//! says 429 it waits as long as it is asked, and counts it.

mod drive;
mod fanout;
mod mix;
mod people;
mod report;
mod sockets;
mod target;
mod wire;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Deserialize;

use drive::Job;
use mix::Mix;
use people::{Person, Wanted};
use report::Report;
use target::Target;
use wire::{Connection, render};

use crate::failure::Failure;

/// Files that the generator needs beside its sockets.
const FILES_SPARE: u64 = 64;
/// Posts of each person before reads are measured, so that there is something to read.
const POSTS_EACH: usize = 5;

/// How to put load on a server.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    /// Address of the Mini-SNS, such as http://127.0.0.1:8080
    #[arg(value_name = "URL")]
    target: Target,
    /// People who use it; fanout takes one more than there are connections instead
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    /// People whom each of them follows
    #[arg(long, value_name = "N", default_value_t = 10)]
    follows: u32,
    /// Connections that are kept busy; sockets that are opened
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration_secs: u64,
    /// Send so many requests a second, as far as the connections go, and heed no Retry-After
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// End after so many requests, if that is sooner
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Shares of what is done
    #[arg(long, value_name = "MIX", default_value = "read=90,post=8,like=2")]
    mix: Mix,
    /// Measure one thing instead of a mix
    #[arg(long, value_name = "NAME", conflicts_with = "mix")]
    scenario: Option<Scenario>,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Keep the people's tokens here, so that the next run need not sign them in
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Name of the people, the start of their e-mail addresses
    #[arg(long, value_name = "NAME", default_value = "load")]
    pool: String,
    /// Sign the people in and let them follow, but measure nothing
    #[arg(long)]
    setup_only: bool,
    /// Process id of the server on this machine; sockets then reads its memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// One thing to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Scenario {
    /// Timeline reads
    Timeline,
    /// Posts by people whom nobody follows
    Posts,
    /// From a post to its frame on every follower's socket; one follower a connection
    Fanout,
    /// Idle sockets
    Sockets,
}

impl Scenario {
    const fn word(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Posts => "posts",
            Self::Fanout => "fanout",
            Self::Sockets => "sockets",
        }
    }
}

/// Runs the load and prints what was measured. That something was answered with 429 is no failure;
/// any other error in the table is.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| Failure::failed(format!("load: {error:#}"));
    let Some(report) = reported(&args).await.map_err(failed)? else { return Ok(()) };
    let text = if args.json { format!("{}\n", report.json()) } else { report.table() };
    crate::output::text(&text)?;
    report.failure().map_or(Ok(()), |failure| Err(Failure::failed(format!("load: {failure}"))))
}

/// Sets up and measures; none where only the first was asked for.
async fn reported(args: &LoadArgs) -> Result<Option<Report>> {
    raise_open_files(u64::from(args.connections) + FILES_SPARE)?;
    let bar = progress(args.json)?;
    let people = set_up(args, &bar).await?;
    let report = if args.setup_only { None } else { Some(measure(args, people, &bar).await?) };
    bar.finish_and_clear();
    Ok(report)
}

fn progress(hidden: bool) -> Result<ProgressBar> {
    let bar = if hidden {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
    } else {
        ProgressBar::new(0)
    };
    bar.set_style(ProgressStyle::with_template("{elapsed:>4} {wide_bar} {percent:>3} % {msg}")?);
    Ok(bar)
}

/// Signs the people in and, where they are new, lets them follow and post.
async fn set_up(args: &LoadArgs, bar: &ProgressBar) -> Result<Vec<Person>> {
    let (target, scenario) = (&args.target, args.scenario);
    let people = if scenario == Some(Scenario::Fanout) { args.connections + 1 } else { args.users };
    let tokens = args.tokens.as_deref();
    let count = usize::try_from(people)?;
    let wanted = Wanted { target, pool: &args.pool, count, tokens };
    let (people, new) = people::sign_in(&wanted, bar).await?;
    if !new {
        return Ok(people);
    }
    match scenario {
        Some(Scenario::Fanout) => people::follow_first(target, &people, bar).await?,
        Some(Scenario::Posts | Scenario::Sockets) => {}
        Some(Scenario::Timeline) | None => {
            let follows = usize::try_from(args.follows)?;
            people::follow_neighbours(target, &people, follows, bar).await?;
            let posts = u64::try_from(people.len() * POSTS_EACH)?;
            let all = job(args, people.clone())?;
            let few = Job { mix: Mix::POSTS, requests_max: Some(posts), rate: None, ..all };
            drive::run(few, bar).await?;
        }
    }
    Ok(people)
}

fn job(args: &LoadArgs, people: Vec<Person>) -> Result<Job> {
    Ok(Job {
        target: args.target.clone(),
        mix: args.mix,
        people: Arc::new(people),
        likeable: Arc::new(Vec::new()),
        connections: usize::try_from(args.connections)?,
        threads: usize::try_from(args.threads.min(args.connections))?,
        duration: Duration::from_secs(args.duration_secs),
        requests_max: args.requests,
        rate: args.rate.map(f64::from),
    })
}

async fn measure(args: &LoadArgs, people: Vec<Person>, bar: &ProgressBar) -> Result<Report> {
    let target = &args.target;
    let connections = usize::try_from(args.connections)?;
    let started = Instant::now();
    bar.set_position(0);
    let mut memory = None;
    let (tally, elapsed) = match args.scenario {
        Some(Scenario::Fanout) => {
            let duration = Duration::from_secs(args.duration_secs);
            fanout::run(target, &people, duration, args.requests, bar).await?
        }
        Some(Scenario::Sockets) => {
            let tally;
            (tally, memory) = sockets::idle(target, &people, connections, args.pid, bar).await?;
            (tally, started.elapsed())
        }
        Some(Scenario::Timeline) => {
            drive::run(Job { mix: Mix::READS, ..job(args, people)? }, bar).await?
        }
        Some(Scenario::Posts) => {
            drive::run(Job { mix: Mix::POSTS, ..job(args, people)? }, bar).await?
        }
        None => {
            let likes = args.mix.likes();
            let likeable = if likes { likeable(target, &people).await? } else { Vec::new() };
            drive::run(Job { likeable: Arc::new(likeable), ..job(args, people)? }, bar).await?
        }
    };
    let what = args.scenario.map_or_else(|| args.mix.to_string(), |one| one.word().to_owned());
    Ok(Report { target: target.to_string(), what, connections, elapsed, tally, memory })
}

/// Ids of the newest posts.
async fn likeable(target: &Target, people: &[Person]) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Post>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Post {
        post_id: String,
    }
    let token = people.first().context("nobody is signed in")?.token.as_str();
    let mut connection = Connection::new(target);
    let request = render(target, "GET", "/posts?limit=100", token, "");
    let answer = connection.patiently(&request).await?;
    ensure!(answer.status == 200, "cannot read the newest posts: {}", answer.error());
    let page: Page = answer.json()?;
    ensure!(!page.items.is_empty(), "there is no post to like");
    Ok(page.items.into_iter().map(|post| post.post_id).collect())
}

/// Raises the number of files that this process may have open to `wanted`.
pub(crate) fn raise_open_files(wanted: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        bail!("{wanted} open files are needed, and the system allows fewer: see `ulimit -Hn`");
    }
    limit.current = Some(wanted);
    setrlimit(Resource::Nofile, limit).context("cannot raise the number of open files")
}
