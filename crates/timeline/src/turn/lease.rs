//! Turns where several processes serve the timeline on one table.
//!
//! One row says whose turn it is, until when, up to which number its holder may give, and up to
//! which everything can be read. A process takes the row by a conditional commit when it is free or
//! has run out, and lets it go when nobody in the process waits for a turn; so it is kept over many
//! turns while there is much to do. What a turn shows is written into the same row under the same
//! condition, so a holder that has lost it cannot show anything, and its successor begins above
//! every number that it may have given.
//!
//! # When a holder is too slow
//!
//! A third of the lease is margin. Before each piece of writing, while it takes its time, and
//! before frames, a holder makes sure that more than that is left, and renews the lease when half
//! of it is gone; a successor takes it over when the same margin has gone by after its end. So the
//! clocks of processes may differ by the margin.
//!
//! What remains: a process that is stopped for longer than both margins between that look and the
//! arrival of its rows in the table writes them after its successor has shown a greater number. The
//! rows are whole and each is the right one; first pages show them, and the turn, which cannot be
//! shown any more, is repeated by its message and tells its frames. But a reader who had already
//! been given the successor's rows is not led to these by a cursor. No store without conditions on
//! plain writes can do better, and a condition on each row would cost as much as the rows do again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::problem::told;
use kernel::table::{Condition, Item, Key, Scatter, Table, TableError, Write, get_one};
use kernel::{Clock, Code, Problem, Time, request};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use ulid::Ulid;

use super::{SHIFT, after, arrival_at, remembered};
use crate::store;

/// Rows written between two looks at the lease.
const PIECE: usize = 1000;
/// The first pause of somebody who waits for another process; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Tries of one change of the row. Nobody but its holder changes it before it has run out.
const TRIES: usize = 3;

pub(super) fn key() -> Key {
    Key::new("turn", "lease")
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    /// The process; nil when the lease was let go.
    #[serde(rename = "h")]
    holder: Ulid,
    /// When the lease ends.
    #[serde(rename = "u")]
    until: Time,
    /// No number above this was given.
    #[serde(rename = "t")]
    pub(super) top: u64,
    /// Everything that arrived up to this number can be read.
    #[serde(rename = "v")]
    visible: u64,
}

/// What this process knows of its lease; kept under the lock that the process's own turns share.
#[derive(Default)]
pub(crate) struct Held {
    term: Option<Term>,
    /// Others go first until then: this process has had the lease for long enough.
    rests: Option<Instant>,
}

/// From the taking of a lease to its end.
struct Term {
    row: Row,
    last: u64,
    /// The lease's end by the clock that is never set.
    ends: Instant,
    since: Instant,
}

/// The lease as this process sees it.
pub(crate) struct Lease {
    lasts: Duration,
    me: Ulid,
    held: Mutex<Held>,
    /// How many in this process are to have a turn soon.
    soon: AtomicUsize,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
}

/// One of those who are to have a turn soon.
struct Soon<'a>(&'a AtomicUsize);

impl<'a> Soon<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for Soon<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("another process has the turn")]
    Busy,
    #[error("the turn has gone over to another process")]
    Lost,
    #[error("to renew the turn's lease took as long as it lasts")]
    Late,
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem::unavailable(failure)
    }
}

impl Lease {
    pub(super) fn new(
        lasts: Duration,
        me: Ulid,
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { lasts, me, held: Mutex::default(), soon: AtomicUsize::new(0), table, clock }
    }

    /// What is not counted on, at either end.
    fn margin(&self) -> Duration {
        self.lasts / 3
    }

    /// How long a process keeps the lease while others may be waiting.
    fn tenure(&self) -> Duration {
        self.lasts / 6
    }

    async fn read(&self) -> Result<(Option<Item>, Option<Row>), TableError> {
        let item = get_one(&*self.table, key()).await?;
        let row = store::body(item.as_ref())?;
        Ok((item, row))
    }

    /// Waits until this process has the lease and nobody else in it has a turn.
    pub(super) async fn take(&self) -> Result<MutexGuard<'_, Held>, Problem> {
        let soon = Soon::new(&self.soon);
        // A dead holder's lease ends in the meantime, and time to use the turn is left.
        let wait = request::time_left(self.lasts * 2).min(self.lasts * 4) / 4 * 3;
        let deadline = Instant::now() + wait;
        let held = timeout_at(deadline, self.held.lock()).await;
        let mut held = held.map_err(|_| Failure::Busy)?;
        self.hold(&mut held, deadline).await?;
        drop(soon);
        Ok(held)
    }

    async fn hold(&self, held: &mut Held, deadline: Instant) -> Result<(), Problem> {
        if held.term.is_some() && self.secure(held).await.is_ok() {
            return Ok(());
        }
        // From here on only the row tells what may have been given: to take it may succeed without
        // an answer, and others may have had it since this term.
        held.term = None;
        if let Some(rests) = held.rests.take() {
            sleep_until(rests.min(deadline)).await;
        }
        let mut pause = PAUSE_MIN;
        loop {
            match self.try_take().await {
                Ok(Some(term)) => {
                    held.term = Some(term);
                    return Ok(());
                }
                Ok(None) | Err(TableError::Contended | TableError::Throttled) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() + pause >= deadline {
                return Err(Failure::Busy.into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Takes the lease if it is to be had.
    async fn try_take(&self) -> Result<Option<Term>, TableError> {
        let (item, before) = self.read().await?;
        let now = self.clock.now();
        let (top, visible) = match before {
            // One's own is left from a turn that was broken off, or a commit whose answer was lost.
            Some(row) if row.holder != self.me && now < row.until + self.margin() => {
                return Ok(None);
            }
            Some(row) => (row.top, row.visible),
            None => {
                let first = remembered(&*self.table).await?.max(arrival_at(now));
                (first, first)
            }
        };
        let since = Instant::now();
        let row = self.row(now, top, visible);
        let write = Write::put_json(key(), &row).when(Condition::unchanged(item.as_ref()));
        match self.table.commit(vec![write]).await {
            Ok(()) => Ok(Some(Term { row, last: top, ends: since + self.lasts, since })),
            Err(TableError::Unmet(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The row of a lease that begins, or goes on, at `now`, after `last` was given.
    fn row(&self, now: Time, last: u64, visible: u64) -> Row {
        let until = now + self.lasts;
        // Room for as many numbers as a moment has, also where the clock is behind the last one.
        let top = last.max(arrival_at(until)) + (1 << SHIFT);
        Row { holder: self.me, until, top, visible }
    }

    /// How much of the lease is left, by whichever clock says less.
    fn left(&self, term: &Term) -> Duration {
        let by_clock = term.row.until.since(self.clock.now());
        by_clock.min(term.ends.saturating_duration_since(Instant::now()))
    }

    pub(super) fn next(&self, held: &mut Held) -> u64 {
        let last = held.term.as_mut().map(|term| {
            term.last = after(term.last, &*self.clock);
            term.last
        });
        // Without a term nothing can be written any more.
        last.unwrap_or_default()
    }

    /// Whether more than the margin is left.
    fn is_enough(&self, held: &Held) -> bool {
        held.term.as_ref().is_some_and(|term| self.left(term) > self.margin())
    }

    /// Makes sure that the lease is ours for more than the margin, and renews it in time. As long
    /// as nobody else has taken it, it can be renewed however late that is.
    pub(super) async fn secure(&self, held: &mut Held) -> Result<(), Problem> {
        let term = held.term.as_ref().ok_or(Failure::Lost)?;
        let is_covered = term.last <= term.row.top;
        if is_covered && self.left(term) > self.lasts / 2 {
            return Ok(());
        }
        let row = self.row(self.clock.now(), term.last, term.row.visible);
        match self.change(held, row).await {
            // It may have taken long.
            Ok(()) if self.is_enough(held) => Ok(()),
            Ok(()) => Err(Failure::Late.into()),
            // A table that throttles may not do so the next time.
            Err(problem) if problem.code == Code::Unavailable => {
                if is_covered && self.is_enough(held) { Ok(()) } else { Err(problem) }
            }
            Err(problem) => Err(problem),
        }
    }

    /// Writes the row anew, if it still is ours.
    async fn change(&self, held: &mut Held, mut row: Row) -> Result<(), Problem> {
        let mut last = TableError::Contended;
        for _ in 0..TRIES {
            let (item, found) = self.read().await?;
            let (Some(term), Some(found)) = (held.term.as_mut(), found) else {
                return Err(Failure::Lost.into());
            };
            if found.holder != self.me {
                held.term = None;
                return Err(Failure::Lost.into());
            }
            // What was shown by a commit whose answer was lost stays shown.
            row.visible = row.visible.max(found.visible);
            let begun = Instant::now();
            let write = Write::put_json(key(), &row).when(Condition::unchanged(item.as_ref()));
            match self.table.commit(vec![write]).await {
                Ok(()) => {
                    (term.row, term.ends) = (row, begun + self.lasts);
                    return Ok(());
                }
                Err(error @ (TableError::Unmet(_) | TableError::Contended)) => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::unavailable(last))
    }

    /// Writes rows for as long as the lease is ours.
    pub(super) async fn write(
        &self,
        held: &mut Held,
        mut rows: Vec<Scatter>,
    ) -> Result<(), Problem> {
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(PIECE));
            let piece = std::mem::replace(&mut rows, rest);
            self.secure(held).await?;
            let mut writing = pin!(self.table.scatter(piece));
            loop {
                tokio::select! {
                    written = &mut writing => break written?,
                    () = sleep(self.lasts / 8) => self.secure(held).await?,
                }
            }
        }
        Ok(())
    }

    /// Lets everything that was numbered be seen.
    pub(super) async fn show(&self, held: &mut Held) -> Result<(), Problem> {
        let term = held.term.as_ref().ok_or(Failure::Lost)?;
        let row = self.row(self.clock.now(), term.last, term.last);
        self.change(held, row).await
    }

    /// Everything that arrived up to this number can be read, whoever wrote it.
    pub(super) async fn visible(&self) -> Result<u64, TableError> {
        loop {
            if let (_, Some(row)) = self.read().await? {
                return Ok(row.visible);
            }
            // Nobody has had a turn yet; from here on numbers are greater.
            let now = self.clock.now();
            let first = remembered(&*self.table).await?.max(arrival_at(now));
            let row =
                Row { holder: Ulid::nil(), until: Time::default(), top: first, visible: first };
            let write = Write::put_json(key(), &row).when(Condition::Absent);
            match self.table.commit(vec![write]).await {
                Ok(()) => return Ok(first),
                Err(TableError::Unmet(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn in_one_go<T>(&self, work: impl Future<Output = T>) -> T {
        let soon = Soon::new(&self.soon);
        let done = work.await;
        drop(soon);
        // Whoever has a turn for longer lets the lease go at its end. Whoever is just ending one
        // may still have counted on this work.
        if let Ok(mut held) = timeout(PAUSE_MAX, self.held.lock()).await {
            self.end(&mut held).await;
        }
        done
    }

    /// Lets the lease go, unless others in this process are to have a turn soon and other processes
    /// need not wait too long.
    pub(super) async fn end(&self, held: &mut Held) {
        let Some(term) = &held.term else { return };
        let soon = self.soon.load(Ordering::Acquire) > 0;
        if soon && term.since.elapsed() < self.tenure() {
            return;
        }
        let (top, visible) = (term.last, term.row.visible);
        let row = Row { holder: Ulid::nil(), until: Time::default(), top, visible };
        if let Err(problem) = self.change(held, row).await {
            tracing::debug!(error = told(&problem), "the turn ends with its lease");
        }
        held.term = None;
        held.rests = soon.then(|| Instant::now() + PAUSE_MAX * 2);
    }
}

#[cfg(test)]
mod tests;
