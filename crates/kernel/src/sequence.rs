//! Ids that order a list, given so that readers can tell what is settled.
//!
//! An id is given before its commit, and commits do not finish in the order of their ids. A reader
//! who took the newest visible row for the end of a list would lose the row with a smaller id that
//! appears a moment later. So a reader asks up to which id everything is settled, and reads no
//! further. This is exact within one process; between processes it is as good as their clocks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use ulid::Ulid;

use crate::Ids;

/// A reader waits no longer than this for commits in flight; then it reads what is settled already.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// The source of one service's ordering ids.
pub struct Sequence {
    ids: Arc<dyn Ids>,
    in_flight: Mutex<BTreeSet<Ulid>>,
    settled: Notify,
}

/// An id whose row is not yet known to be written or given up; dropping it says that it is.
#[must_use = "the id counts as settled once this is dropped"]
pub struct Ticket<'a> {
    /// The id.
    pub id: Ulid,
    sequence: &'a Sequence,
}

impl Sequence {
    /// A sequence of ids from `ids`.
    pub fn new(ids: Arc<dyn Ids>) -> Self {
        Self { ids, in_flight: Mutex::new(BTreeSet::new()), settled: Notify::new() }
    }

    /// The next id, larger than all before; hold it until the commit has answered.
    pub fn take(&self) -> Ticket<'_> {
        let mut in_flight = self.in_flight();
        let id = self.ids.ulid();
        in_flight.insert(id);
        Ticket { id, sequence: self }
    }

    /// An id up to which no row will appear any more. Every commit answered before the call has
    /// a smaller one, unless a commit in flight takes longer than a quarter of a second.
    pub async fn settled(&self) -> Ulid {
        let newest = {
            let in_flight = self.in_flight();
            let newest = self.ids.ulid();
            if in_flight.is_empty() {
                return newest;
            }
            newest
        };
        let quiet = async {
            loop {
                let settled = self.settled.notified();
                if self.first_in_flight().is_none_or(|first| first > newest) {
                    return;
                }
                settled.await;
            }
        };
        if tokio::time::timeout(WAIT_MAX, quiet).await.is_ok() {
            return newest;
        }
        match self.first_in_flight() {
            Some(first) if first < newest => Ulid(first.0 - 1),
            _ => newest,
        }
    }

    fn first_in_flight(&self) -> Option<Ulid> {
        self.in_flight().first().copied()
    }

    fn in_flight(&self) -> MutexGuard<'_, BTreeSet<Ulid>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.sequence.in_flight().remove(&self.id);
        self.sequence.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::ids::SystemIds;

    fn sequence() -> Sequence {
        Sequence::new(Arc::new(SystemIds::new(Arc::new(SystemClock))))
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_is_in_flight() {
        let sequence = sequence();
        let ticket = sequence.take();
        let id = ticket.id;
        let (settled, ()) = tokio::join!(sequence.settled(), async { drop(ticket) });
        assert!(settled > id);
    }

    #[tokio::test]
    async fn a_commit_that_hangs_only_hides_what_came_after_it() {
        let sequence = sequence();
        let done = sequence.take().id;
        let hanging = sequence.take();
        let after = sequence.take().id;
        let settled = sequence.settled().await;
        assert!(done <= settled && settled < hanging.id && settled < after);
    }
}
