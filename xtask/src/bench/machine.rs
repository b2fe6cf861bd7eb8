//! What the figures depend on: the machine's disk and its limits.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

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
