//! How far long work is: on a terminal, on standard error, and gone when it is done. Elsewhere
//! nothing is written.

use std::time::Duration;

use embedded::backup::{BackupError, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use kernel::audit::Snapshot;
use kernel::table::{Item, TableError};

use crate::backup::refused;
use crate::failure::Failure;

const TICK: Duration = Duration::from_millis(200);

/// A line that lives as long as this does.
pub(crate) struct Line(ProgressBar);

impl Line {
    fn new(bar: ProgressBar, template: &str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Work of which nobody knows how long it takes.
    pub(crate) fn of(what: &'static str) -> Self {
        let line = Self::new(ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}");
        line.say(what);
        line
    }

    /// Work that goes through rows.
    pub(crate) fn of_rows(what: &'static str) -> Self {
        let template = "{spinner} {msg}: {human_pos} rows, {per_sec}, {elapsed}";
        let line = Self::new(ProgressBar::new_spinner(), template);
        line.say(what);
        line
    }

    /// Work on so many things of one kind.
    pub(crate) fn of_many(what: &'static str, count: usize) -> Self {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let template = "{msg}: {human_pos} of {human_len} {wide_bar} {eta} left";
        let line = Self::new(ProgressBar::new(count), template);
        line.say(what);
        line
    }

    /// What is being done now.
    pub(crate) fn say(&self, what: &'static str) {
        self.0.set_message(what);
    }

    /// One more row, or thing, is done.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }

    /// The same data, each row of which is counted as it is read.
    pub(crate) const fn counting<'a, S>(&'a self, data: &'a S) -> Counting<'a, S> {
        Counting { data, line: self }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Data whose reading is shown.
pub(crate) struct Counting<'a, S> {
    data: &'a S,
    line: &'a Line,
}

impl<S: Snapshot> Snapshot for Counting<'_, S> {
    fn items<'a>(
        &'a self,
        prefix: &str,
    ) -> Box<dyn Iterator<Item = Result<Item, TableError>> + Send + 'a> {
        Box::new(self.data.items(prefix).inspect(|_| self.line.step()))
    }
}

/// Does long work with copies, of which so many bytes are known.
pub(crate) async fn with_bar(
    bytes: u64,
    progress: &Progress,
    work: impl FnOnce() -> Result<(), BackupError> + Send + 'static,
) -> Result<(), Failure> {
    let template = "{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
    let line = Line::new(ProgressBar::new(bytes), template);
    let mut work = tokio::task::spawn_blocking(work);
    let mut ticks = tokio::time::interval(TICK);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => line.0.set_position(progress.done()),
        }
    };
    drop(line);
    done.map_err(Failure::failed)?.map_err(refused)
}
