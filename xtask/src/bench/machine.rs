//! What the figures depend on: the machine, its disk and its limits.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::shell::output;

/// Syncs that are timed.
const SYNCS: usize = 300;
/// Bytes appended before each sync.
const SYNC_BYTES: usize = 300;

/// How long one append and sync takes.
pub(super) struct SyncTimes {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Times appends to a new file, each with a sync of its own.
pub(super) fn sync_times(path: &Path) -> Result<SyncTimes> {
    let mut file = File::create(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[b'x'; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(SyncTimes { p50: times[SYNCS / 2], p99: times[SYNCS * 99 / 100] })
}

/// Raises the number of files that this process, and those that it starts, may have open.
pub(super) fn raise_open_files(wanted: u64) -> Result<()> {
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

/// When, on what and how: the line above the table.
pub(super) fn describe(command: &str) -> Result<String> {
    let date = String::from_utf8(output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?)?;
    let cores = std::thread::available_parallelism()?;
    let memory = kibi_field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:")? / 1024 / 1024;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    Ok(format!(
        "Measured on {} by `{command}`: {cores} cores ({model}), {memory} GiB of memory, Linux {}; \
         the generator runs on the same cores. Both sides are release \
         builds; Mini-SNS logs errors only.\n",
        date.trim(),
        kernel.trim(),
    ))
}

/// The number of a `Name:   123 kB` line.
pub(super) fn kibi_field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("there is no {name}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found() {
        let text = "VmPeak:\t    9 kB\nVmRSS:\t  4321 kB\n";
        assert_eq!(kibi_field(text, "VmRSS:").unwrap(), 4321);
        assert!(kibi_field(text, "VmSwap:").is_err());
    }
}
