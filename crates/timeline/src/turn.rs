//! Turns: who changes feeds, one after the other.
//!
//! A turn numbers its rows, writes them, lets its number be seen, drops the cached skeletons, and
//! only then sends its frames. Readers take in nothing above the number that they saw before they
//! read, so the order of arrivals is the order of visibility and of frames, and whoever has seen up
//! to a number has seen, or can be given, everything below it. A skeleton that was loaded before
//! the number could be seen is dropped after it could.
//! A check made inside a turn (is the post gone? does she still follow?) holds until its end.
//!
//! Where this process is the only one, a turn is a lock in memory and the number that can be seen
//! is in memory too; the last number is kept in the table, in case the machine's clock is set back
//! between two runs. Where several processes serve the timeline, the turn belongs to the holder of
//! a [`Lease`] in the table, and the number that can be seen stands there.

mod lease;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::table::{Key, Scatter, Table, TableError, json};
use kernel::{Clock, Ids, Problem, Time};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::{Config, store};
use lease::{Held, Lease};

/// Arrivals are milliseconds, shifted by this many bits to leave room for numbers within one.
const SHIFT: u32 = 20;

/// The first arrival of a moment.
pub(crate) fn arrival_at(time: Time) -> u64 {
    u64::try_from(time.millis()).unwrap_or(0) << SHIFT
}

fn key() -> Key {
    Key::new("turn", "")
}

/// The highest number that the table tells of, whichever way turns were taken on it before; zero
/// when none was.
async fn remembered(table: &dyn Table) -> Result<u64, TableError> {
    let found = table.get(&[key(), lease::key()]).await?;
    let [record, row] = &found[..] else { return Ok(0) };
    let record: Option<u64> = store::body(record.as_ref())?;
    let row: Option<lease::Row> = store::body(row.as_ref())?;
    Ok(record.unwrap_or(0).max(row.map_or(0, |row| row.top)))
}

/// The source of turns.
pub(crate) enum Turns {
    /// This process is the only one.
    Alone(Alone),
    /// There are others.
    Leased(Lease),
}

/// Turns of a process that is the only one.
pub(crate) struct Alone {
    last: Mutex<u64>,
    visible: AtomicU64,
    /// Set when the number that the table remembers has been taken into account.
    remembered: OnceCell<()>,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
}

impl Turns {
    /// Turns whose numbers lie above every one given before.
    pub(crate) fn new(
        config: &Config,
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        ids: &dyn Ids,
    ) -> Self {
        if let Some(lasts) = config.turn_lease {
            return Self::Leased(Lease::new(lasts, ids.ulid(), table, clock));
        }
        let start = arrival_at(clock.now());
        let (last, visible) = (Mutex::new(start), AtomicU64::new(start));
        Self::Alone(Alone { last, visible, remembered: OnceCell::new(), table, clock })
    }

    /// Waits for one's turn; for another process's turn up to the caller's deadline only.
    pub(crate) async fn take(&self) -> Result<Turn<'_>, Problem> {
        match self {
            Self::Alone(alone) => {
                alone.remember().await?;
                let last = alone.last.lock().await;
                Ok(Turn::Alone { last, numbered: false, alone })
            }
            Self::Leased(lease) => Ok(Turn::Leased { held: lease.take().await?, lease }),
        }
    }

    /// Does work that may take several turns: the lease is kept between them, and let go at the
    /// end, unless others in this process wait for it.
    pub(crate) async fn in_one_go<T>(&self, work: impl Future<Output = T>) -> T {
        match self {
            Self::Alone(_) => work.await,
            Self::Leased(lease) => lease.in_one_go(work).await,
        }
    }

    /// Everything that arrived up to this number can be read.
    pub(crate) async fn visible(&self) -> Result<u64, TableError> {
        match self {
            Self::Alone(alone) => {
                alone.remember().await?;
                Ok(alone.visible.load(Ordering::Acquire))
            }
            Self::Leased(lease) => lease.visible().await,
        }
    }
}

impl Alone {
    async fn remember(&self) -> Result<(), TableError> {
        let first = self.remembered.get_or_try_init(|| async {
            let remembered = remembered(&*self.table).await?;
            // Nobody has had a turn yet, so the lock is free.
            let mut last = self.last.lock().await;
            *last = remembered.max(*last);
            self.visible.fetch_max(*last, Ordering::AcqRel);
            Ok(())
        });
        first.await.copied()
    }
}

/// The right to change feeds.
pub(crate) enum Turn<'a> {
    /// By a lock in memory.
    Alone {
        last: MutexGuard<'a, u64>,
        /// Whether this turn has given a number.
        numbered: bool,
        alone: &'a Alone,
    },
    /// By a lease, and for as long as it lasts.
    Leased { held: MutexGuard<'a, Held>, lease: &'a Lease },
}

fn after(last: u64, clock: &dyn Clock) -> u64 {
    (last + 1).max(arrival_at(clock.now()))
}

impl Turn<'_> {
    /// The next arrival.
    pub(crate) fn next(&mut self) -> u64 {
        match self {
            Self::Alone { last, numbered, alone } => {
                (**last, *numbered) = (after(**last, &*alone.clock), true);
                **last
            }
            Self::Leased { held, lease } => lease.next(held),
        }
    }

    /// Writes rows; whatever arrivals they carry were given by this turn. Unavailable, with some of
    /// it written, when the turn has gone over to another process.
    pub(crate) async fn write(&mut self, mut rows: Vec<Scatter>) -> Result<(), Problem> {
        match self {
            Self::Alone { last, numbered, alone } => {
                if *numbered {
                    // Before the rows that carry it; among those the order is all one.
                    let body = json(&**last);
                    rows.push(Scatter::Put { key: key(), body, expires_at: None });
                    let last = rows.len() - 1;
                    rows.swap(0, last);
                }
                Ok(store::scatter_all(&*alone.table, rows).await?)
            }
            Self::Leased { held, lease } => lease.write(held, rows).await,
        }
    }

    /// Says that the rows are written. Cached skeletons are dropped after this, never before: one
    /// loaded in between would hide them until it ages.
    pub(crate) async fn show(&mut self) -> Result<(), Problem> {
        match self {
            Self::Alone { last, alone, .. } => {
                alone.visible.store(**last, Ordering::Release);
                Ok(())
            }
            Self::Leased { held, lease } => lease.show(held).await,
        }
    }

    /// Makes sure that it is still our turn; to be asked before frames are sent, which would come
    /// behind those of the next turn otherwise.
    pub(crate) async fn check(&mut self) -> Result<(), Problem> {
        match self {
            Self::Alone { .. } => Ok(()),
            Self::Leased { held, lease } => lease.secure(held).await,
        }
    }

    /// Lets the next one have it, in whichever process. A turn that is dropped without this keeps
    /// other processes waiting until the lease runs out.
    pub(crate) async fn end(self) {
        if let Self::Leased { mut held, lease } = self {
            lease.end(&mut held).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conformance::{Oracle, SeededIds, TestClock};

    use super::*;

    fn alone(table: Arc<dyn Table>, clock: Arc<TestClock>) -> Turns {
        let ids = SeededIds::new(clock.clone(), 1);
        Turns::new(&Config::default(), table, clock, &*ids)
    }

    #[tokio::test]
    async fn arrivals_grow_while_the_clock_stands_and_follow_it_when_it_moves() {
        let clock = TestClock::new();
        let turns = alone(Oracle::new(clock.clone()), clock.clone());
        let before = turns.visible().await.unwrap();
        let mut turn = turns.take().await.unwrap();
        let (one, two) = (turn.next(), turn.next());
        assert!(before < one && one < two);
        assert_eq!(turns.visible().await.unwrap(), before);
        turn.show().await.unwrap();
        assert_eq!(turns.visible().await.unwrap(), two);
        clock.advance(Duration::from_millis(5));
        assert_eq!(turn.next(), arrival_at(clock.now()));
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_does_not_give_numbers_again() {
        let (ahead, behind) = (TestClock::new(), TestClock::new());
        ahead.advance(Duration::from_hours(1));
        let table = Oracle::new(behind.clone());
        let turns = alone(table.clone(), ahead);
        let mut turn = turns.take().await.unwrap();
        let given = turn.next();
        turn.write(Vec::new()).await.unwrap();
        let again = alone(table, behind);
        assert_eq!(again.visible().await.unwrap(), given);
        assert!(again.take().await.unwrap().next() > given);
    }
}
