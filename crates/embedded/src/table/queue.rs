//! The jobs that wait for the committer: people's commits first, then fan-out a chunk at a time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::sequence::Ticket;
use kernel::table::{Scatter, TableError, Write};
use tokio::sync::oneshot;

/// Jobs in one batch, at most.
const BATCH_JOBS_MAX: usize = 1000;
/// Bytes in one batch, about.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Rows of one scatter chunk, at most: they take 3 to 4 ms.
pub(super) const CHUNK_ROWS_MAX: usize = 1000;
/// Bytes that may wait, about; beyond them the table throttles.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What one write costs besides its key and body, about.
const WRITE_OVERHEAD_BYTES: usize = 128;

/// A committer that does not come for more work in this time is stuck: a batch takes milliseconds.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Where a job's outcome goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, TableError>>;

/// A job and who waits for it.
pub(super) struct Job<W> {
    pub(super) writes: Vec<W>,
    pub(super) answer: Answer<()>,
    /// Held until the rows are there or never will be, which outlasts an asker that goes away.
    pub(super) ticket: Option<Ticket>,
    bytes: usize,
}

/// What the committer does next.
#[derive(Default)]
pub(super) struct Work {
    pub(super) commits: Vec<Job<Write>>,
    pub(super) chunks: Vec<Job<Scatter>>,
    /// Who waits for a sweep of expired items, and gets the number of items it removed.
    pub(super) sweeps: Vec<Answer<usize>>,
}

#[derive(Default)]
struct Waiting {
    commits: VecDeque<Job<Write>>,
    chunks: VecDeque<Job<Scatter>>,
    sweeps: Vec<Answer<usize>>,
    bytes: usize,
    /// Since when the committer is at what it took last; none while it waits here.
    busy_since: Option<Instant>,
    closed: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.chunks.is_empty() && self.sweeps.is_empty()
    }

    /// Whether there is room for a job of `bytes`.
    fn admit(&mut self, bytes: usize) -> Result<(), TableError> {
        if self.closed {
            return Err(closed());
        }
        if self.bytes + bytes > WAITING_BYTES_MAX && self.bytes > 0 {
            return Err(TableError::Throttled);
        }
        self.bytes += bytes;
        Ok(())
    }
}

/// The queue between the async workers and the committer's thread.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

/// The answer when nobody is there to give one.
pub(super) fn closed() -> TableError {
    TableError::Unavailable("the store is closed".to_owned())
}

impl Queue {
    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn commit(
        &self,
        writes: Vec<Write>,
        ticket: Option<Ticket>,
        answer: Answer<()>,
    ) -> Result<(), TableError> {
        let bytes = writes.iter().map(commit_bytes).sum();
        let mut waiting = self.locked();
        waiting.admit(bytes)?;
        waiting.commits.push_back(Job { writes, answer, ticket, bytes });
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes all chunks of a scatter or none.
    pub(super) fn scatter(
        &self,
        chunks: Vec<(Vec<Scatter>, Answer<()>)>,
    ) -> Result<(), TableError> {
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|(writes, answer)| {
                let bytes = writes.iter().map(scatter_bytes).sum();
                Job { writes, answer, ticket: None, bytes }
            })
            .collect();
        let mut waiting = self.locked();
        waiting.admit(chunks.iter().map(|job| job.bytes).sum())?;
        waiting.chunks.extend(chunks);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    pub(super) fn sweep(&self, answer: Answer<usize>) -> Result<(), TableError> {
        let mut waiting = self.locked();
        waiting.admit(0)?;
        waiting.sweeps.push(answer);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Whether somebody takes what is put here, as far as can be known at `now`.
    pub(super) fn check(&self, now: Instant) -> Result<(), TableError> {
        let waiting = self.locked();
        if waiting.closed {
            return Err(closed());
        }
        match waiting.busy_since.map(|since| now.saturating_duration_since(since)) {
            Some(busy) if busy > STUCK_AFTER => {
                let what = format!("the committer has been at one batch for {busy:.0?}");
                Err(TableError::Unavailable(what))
            }
            _ => Ok(()),
        }
    }

    /// The next batch, an empty one after `wait` without work, none once closed and drained.
    pub(super) fn take(&self, wait: Duration) -> Option<Work> {
        let mut waiting = self.locked();
        waiting.busy_since = None;
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, wait, |waiting| waiting.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() && waiting.closed {
            return None;
        }
        waiting.busy_since = Some(Instant::now());
        let mut work = Work { sweeps: std::mem::take(&mut waiting.sweeps), ..Work::default() };
        let mut bytes = 0;
        while work.commits.len() < BATCH_JOBS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(job) = waiting.commits.pop_front() else { break };
            bytes += job.bytes;
            work.commits.push(job);
        }
        // Fan-out gets one chunk's worth of rows in each batch, so that neither side starves.
        let mut rows = 0;
        while let Some(job) = waiting.chunks.front() {
            rows += job.writes.len();
            if !work.chunks.is_empty() && (rows > CHUNK_ROWS_MAX || bytes >= BATCH_BYTES_MAX) {
                break;
            }
            bytes += job.bytes;
            work.chunks.extend(waiting.chunks.pop_front());
        }
        waiting.bytes -= bytes;
        Some(work)
    }

    /// Takes no more jobs; the committer finishes those that are there.
    pub(super) fn close(&self) {
        self.locked().closed = true;
        self.arrived.notify_all();
    }

    /// Takes no more jobs and drops those that are there: nobody is left to do them.
    pub(super) fn abandon(&self) {
        let mut waiting = self.locked();
        *waiting = Waiting { closed: true, ..Waiting::default() };
    }
}

fn commit_bytes(write: &Write) -> usize {
    let body_len = match write {
        Write::Put { body, .. } => body.len(),
        Write::Delete { .. } | Write::Add { .. } | Write::Check { .. } => 0,
    };
    WRITE_OVERHEAD_BYTES + write.key().partition.len() + write.key().sort.len() + body_len
}

fn scatter_bytes(write: &Scatter) -> usize {
    let body_len = match write {
        Scatter::Put { body, .. } => body.len(),
        Scatter::Delete(_) => 0,
    };
    WRITE_OVERHEAD_BYTES + write.key().partition.len() + write.key().sort.len() + body_len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_committer_that_does_not_come_back_is_noticed() {
        let queue = Queue::default();
        let later = || Instant::now() + STUCK_AFTER + Duration::from_secs(1);
        assert_eq!(queue.check(later()), Ok(()), "it waits for work");
        queue.sweep(oneshot::channel().0).unwrap();
        assert!(queue.take(Duration::ZERO).is_some());
        assert_eq!(queue.check(Instant::now()), Ok(()));
        assert!(matches!(queue.check(later()), Err(TableError::Unavailable(_))));
        queue.abandon();
        assert_eq!(queue.check(Instant::now()), Err(closed()));
    }
}
