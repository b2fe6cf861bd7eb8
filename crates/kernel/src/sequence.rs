//! Ids that order a list, given so that readers can tell what is settled.
//!
//! An id is given before its commit, and commits do not finish in the order of their ids. A reader
//! who took the newest visible row for the end of a list would lose the row with a smaller id that
//! appears a moment later. So a reader asks up to which id everything is settled, and reads no
//! further. This is exact within one process.
//!
//! What other processes have in flight nobody can know. Among others, an id is settled when it is
//! older than any commit takes, the difference of clocks included; what is newer is shown all the
//! same, for people want to see what they wrote, and is noted in cursors ([`crate::fill`]).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use ulid::Ulid;

use crate::fill::Newest;
use crate::{Clock, Ids};

/// A reader waits no longer than this for commits in flight; then it reads what is settled already.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// The source of one service's ordering ids.
pub struct Sequence {
    ids: Arc<dyn Ids>,
    flights: Arc<Flights>,
    /// What tells which ids of other processes are settled; none where there are no others.
    others: Option<(Arc<dyn Clock>, Duration)>,
}

/// The ids given whose rows are not yet known to be written or given up.
#[derive(Default)]
struct Flights {
    in_flight: Mutex<BTreeSet<Ulid>>,
    settled: Notify,
}

/// An id whose row is not yet known to be written or given up; dropping the last clone says that it
/// is. Whoever asks for the commit holds one, and the table another until the commit's real end
/// ([`Table::commit_ordered`](crate::table::Table::commit_ordered)): an asker may go away before.
#[derive(Clone)]
#[must_use = "the id counts as settled once this is dropped"]
pub struct Ticket(Arc<Flight>);

struct Flight {
    id: Ulid,
    flights: Arc<Flights>,
}

impl Ticket {
    /// The id.
    pub fn id(&self) -> Ulid {
        self.0.id
    }
}

impl Sequence {
    /// A sequence of ids from `ids`.
    pub fn new(ids: Arc<dyn Ids>) -> Self {
        Self { ids, flights: Arc::default(), others: None }
    }

    /// The same beside other processes that give ids for the same lists: whatever they have in
    /// flight is there, or never will be, after `lag` by `clock`. None: there are no others.
    #[must_use]
    pub fn beside_others(self, clock: Arc<dyn Clock>, lag: Option<Duration>) -> Self {
        Self { others: lag.map(|lag| (clock, lag)), ..self }
    }

    /// How far a list can be read; none where that does not matter, since the page does not
    /// `reach_newest`.
    pub async fn newest(&self, reach_newest: bool) -> Option<Newest> {
        match &self.others {
            Some((clock, lag)) => {
                let millis = u64::try_from((clock.now() - *lag).millis()).unwrap_or(0);
                let settled = Ulid::from_parts(millis, 0);
                let own = self.flights.first_in_flight().map_or(settled, |id| Ulid(id.0 - 1));
                Some(Newest::Settling(settled.min(own).to_string()))
            }
            None if reach_newest => Some(Newest::Settled(self.settled().await.to_string())),
            None => None,
        }
    }

    /// The next id, larger than all before.
    pub fn take(&self) -> Ticket {
        let mut in_flight = self.flights.in_flight();
        let id = self.ids.ulid();
        in_flight.insert(id);
        Ticket(Arc::new(Flight { id, flights: Arc::clone(&self.flights) }))
    }

    /// An id up to which no row will appear any more. Every commit answered before the call has
    /// a smaller one, unless a commit in flight takes longer than a quarter of a second.
    pub async fn settled(&self) -> Ulid {
        let newest = {
            let in_flight = self.flights.in_flight();
            let newest = self.ids.ulid();
            if in_flight.is_empty() {
                return newest;
            }
            newest
        };
        let quiet = async {
            loop {
                let settled = self.flights.settled.notified();
                if self.flights.first_in_flight().is_none_or(|first| first > newest) {
                    return;
                }
                settled.await;
            }
        };
        if tokio::time::timeout(WAIT_MAX, quiet).await.is_ok() {
            return newest;
        }
        match self.flights.first_in_flight() {
            Some(first) if first < newest => Ulid(first.0 - 1),
            _ => newest,
        }
    }
}

impl Flights {
    fn first_in_flight(&self) -> Option<Ulid> {
        self.in_flight().first().copied()
    }

    fn in_flight(&self) -> MutexGuard<'_, BTreeSet<Ulid>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.in_flight().remove(&self.id);
        self.flights.settled.notify_waiters();
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
        let id = ticket.id();
        let (settled, ()) = tokio::join!(sequence.settled(), async { drop(ticket) });
        assert!(settled > id);
    }

    #[tokio::test]
    async fn an_id_is_in_flight_until_its_last_holder_lets_go() {
        let sequence = sequence();
        let ticket = sequence.take();
        let (id, held) = (ticket.id(), ticket.clone());
        drop(ticket);
        assert!(sequence.settled().await < id);
        drop(held);
        assert!(sequence.settled().await > id);
    }

    #[tokio::test]
    async fn beside_others_what_is_young_is_settling() {
        let sequence = sequence();
        assert_eq!(sequence.newest(false).await, None);
        assert!(matches!(sequence.newest(true).await, Some(Newest::Settled(_))));
        let sequence = sequence.beside_others(Arc::new(SystemClock), Some(Duration::from_secs(4)));
        let mine = sequence.take().id();
        let Some(Newest::Settling(settled)) = sequence.newest(false).await else { panic!() };
        let settled: Ulid = settled.parse().unwrap();
        let age = mine.timestamp_ms() - settled.timestamp_ms();
        assert!((3900..=4000).contains(&age), "{age}");
        let sequence = sequence.beside_others(Arc::new(SystemClock), Some(Duration::ZERO));
        let hanging = sequence.take();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let Some(Newest::Settling(settled)) = sequence.newest(true).await else { panic!() };
        assert!(settled < hanging.id().to_string(), "one's own are known exactly");
    }

    #[tokio::test]
    async fn a_commit_that_hangs_only_hides_what_came_after_it() {
        let sequence = sequence();
        let done = sequence.take().id();
        let hanging = sequence.take();
        let after = sequence.take().id();
        let settled = sequence.settled().await;
        assert!(done <= settled && settled < hanging.id() && settled < after);
    }
}
