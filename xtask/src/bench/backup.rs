//! What copies cost those who write, and how long a restore takes.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::process::Server;
use super::table::Figure;
use super::{Bench, Pool, median, operation, per_second, step};
use crate::shell::output;

/// Posts that an hour of restoring has to be enough for.
const POSTS: f64 = 10_000_000.0;
/// Syncs in every round, where one a minute is usual.
const INTERVAL: &str = "1s";
/// Time after which the slowest of a hundred posts is told, in ms.
const P99: &str = "p99Ms";

impl Bench {
    /// Posts at half of the peak, in turns without copies, with a log, and while a base is taken;
    /// then everything is restored. The data directory holds this many posts.
    pub(super) fn backup(&mut self, writers: &Pool, posts: u64) -> Result<()> {
        let copies = self.programs.path("copies");
        let copies = copies.to_str().context("the path is no text")?;
        let (users, secs) = (self.plan.writers.to_string(), self.plan.round_secs.to_string());
        let each = ["--users", &users, "--connections", "64", "--duration-secs", &secs];
        let options = [&writers.options()[..], &each].concat();
        let kept = ["--backup-dir", copies, "--backup-interval", INTERVAL];
        step("the first base");
        let server = self.programs.serve("busy")?;
        let rate = per_second(&self.programs.load(&server.url, &options)?)? / 2.0;
        let rate = format!("{rate:.0}");
        server.settled()?;
        server.program.stop()?;
        let server = self.programs.serve_with("busy", &kept)?;
        let begun = Instant::now();
        output(&mut self.copy(&server, &[]))?;
        let name = format!("a base, {posts} posts");
        self.table.add(Figure::fact(&name, begun.elapsed().as_secs_f64(), "s"));
        server.program.stop()?;
        let options = [&options[..], &["--rate", &rate]].concat();
        let (mut of_log, mut of_base, mut plains) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.plan.rounds {
            step(&format!("posts without and with copies: round {round} of {}", self.plan.rounds));
            let p99 = |server: &Server| -> Result<f64> {
                let report = self.programs.load(&server.url, &options)?;
                server.settled()?;
                operation(&report, "post")?[P99].as_f64().context("a time is missing")
            };
            let server = self.programs.serve("busy")?;
            let plain = p99(&server)?;
            server.program.stop()?;
            let server = self.programs.serve_with("busy", &kept)?;
            // What was written without copies is a gap; the base after it is not what is meant.
            output(&mut self.copy(&server, &[]))?;
            of_log.push(p99(&server)? / plain);
            let mut base = self.copy(&server, &["--base"]).spawn()?;
            of_base.push(p99(&server)? / plain);
            base.wait()?;
            server.program.stop()?;
            plains.push(plain);
        }
        let detail = format!("{:.2} ms without, {rate} posts a second", median(plains));
        let log = Figure::at_most("p99 of a post, with a log", median(of_log), 1.2, "of without");
        self.table.add(log.with(detail));
        let name = "the same, while a base is taken";
        self.table.add(Figure::at_most(name, median(of_base), 1.2, "of without"));
        self.restore(copies, posts)
    }

    /// What returns when all that was written is copied.
    fn copy(&self, server: &Server, arguments: &[&str]) -> Command {
        let mut command = self.programs.command(&["backup", "--admin", &server.admin]);
        command.args(arguments).stdout(Stdio::null());
        command
    }

    fn restore(&mut self, copies: &str, posts: u64) -> Result<()> {
        step("restoring");
        let to = self.programs.path("restored");
        let mut restore = self.programs.command(&["restore", "--backup-dir", copies, "--data"]);
        let begun = Instant::now();
        output(restore.arg(&to))?;
        let secs = begun.elapsed().as_secs_f64();
        let minutes = secs / posts as f64 * POSTS / 60.0;
        let detail = format!("{posts} posts in {secs:.1} s");
        let name = "restoring 10 million posts, worked out";
        self.table.add(Figure::at_most(name, minutes, 60.0, "min").with(detail));
        Ok(())
    }
}
