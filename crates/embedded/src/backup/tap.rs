//! What a committer hands over: every batch that it wrote, with its number and its moment.
//!
//! All committers of a process take their moments from one [`Moments`], *before* they write. What a
//! batch brings about can only be written after the batch can be read, so it has a later moment or
//! the same: to cut every database at one moment is to cut between causes and effects nowhere.
//!
//! The hand-over is bounded and never waits. What does not fit is dropped and said to be lost, and
//! a base is taken anew.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fjall::Slice;
use kernel::{Clock, Time};

use super::writer::Command;

/// Bytes that wait before the writer is woken.
const WAKE_BYTES: usize = 4 << 20;
/// What a row costs besides its key and value, about.
const ROW_OVERHEAD_BYTES: usize = 64;

/// A row as the engine is given it; none where it is removed.
pub(crate) type Row = (Slice, Option<Slice>);

/// Moments that never run backwards, whatever the clock does.
pub(crate) struct Moments {
    clock: Arc<dyn Clock>,
    last: Mutex<Time>,
}

impl Moments {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, last: Mutex::new(Time::from_millis(i64::MIN)) })
    }

    /// Not before any that was given.
    pub(super) fn next(&self) -> Time {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = self.clock.now().max(*last);
        *last
    }

    /// The same, and every later one is after it.
    pub(super) fn close(&self) -> Time {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = self.clock.now().max(*last);
        *last = closed + Duration::from_millis(1);
        closed
    }

    /// None is given any more that is not after `moment`.
    pub(super) fn pass(&self, moment: Time) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.max(moment + Duration::from_millis(1));
    }
}

/// A batch that is durable, or as durable as its database wants it.
pub(crate) struct Batch {
    pub(super) position: u64,
    pub(super) at: Time,
    pub(super) rows: Vec<Row>,
}

/// What was handed over since the last time.
pub(super) struct Taken {
    pub(super) batches: VecDeque<Batch>,
    /// Something is missing before these.
    pub(super) lost: bool,
    /// Every batch up to here is among what was taken, now or before.
    pub(super) until: Time,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    lost: bool,
    /// The moment of the batch that is being written.
    writing: Option<Time>,
    woken: bool,
}

/// The hand-over from one committer to the writer of backups.
pub(crate) struct Tap {
    moments: Arc<Moments>,
    bytes_max: usize,
    state: Mutex<State>,
    writer: Sender<Command>,
}

impl Tap {
    pub(super) fn new(
        moments: Arc<Moments>,
        bytes_max: usize,
        writer: Sender<Command>,
    ) -> Arc<Self> {
        Arc::new(Self { moments, bytes_max, state: Mutex::default(), writer })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is about to be written: its moment.
    pub(crate) fn begin(&self) -> Time {
        let mut state = self.state();
        let at = self.moments.next();
        state.writing = Some(at);
        at
    }

    /// It is written, and can be read.
    pub(crate) fn written(&self, position: u64, at: Time, rows: Vec<Row>) {
        let value_len = |value: &Option<Slice>| value.as_ref().map_or(0, |value| value.len());
        let row_bytes = |(key, value): &Row| ROW_OVERHEAD_BYTES + key.len() + value_len(value);
        let bytes: usize = rows.iter().map(row_bytes).sum();
        let mut state = self.state();
        state.writing = None;
        if state.bytes > 0 && state.bytes + bytes > self.bytes_max {
            state.batches.clear();
            state.bytes = 0;
            state.lost = true;
        }
        state.bytes += bytes;
        state.batches.push_back(Batch { position, at, rows });
        if state.bytes >= WAKE_BYTES && !state.woken {
            state.woken = true;
            // Where the writer is gone nobody has to be told.
            let _ = self.writer.send(Command::Drain);
        }
    }

    /// It failed, and may be on disk all the same.
    pub(crate) fn failed(&self) {
        let mut state = self.state();
        state.writing = None;
        state.lost = true;
    }

    pub(super) fn take(&self) -> Taken {
        let mut state = self.state();
        let until = match state.writing {
            Some(at) => at - Duration::from_millis(1),
            None => self.moments.close(),
        };
        let emptied = State { writing: state.writing, ..State::default() };
        let State { batches, lost, .. } = std::mem::replace(&mut *state, emptied);
        Taken { batches, lost, until }
    }
}
