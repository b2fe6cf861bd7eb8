//! Turns: who changes feeds, one after the other.
//!
//! A turn numbers its rows, writes them, lets its number be seen, drops the cached skeletons, and
//! only then sends its frames. Readers take in nothing above the number that they saw before they
//! read, so the order of arrivals is the order of visibility and of frames, and whoever has seen up
//! to a number has seen, or can be given, everything below it. A skeleton that was loaded before
//! the number could be seen is dropped after it could.
//! A check made inside a turn (is the post gone? does she still follow?) holds until its end.

//!
//! The last number is kept in the table, in case the machine's clock is set back between two runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::table::{Key, Scatter, Table, TableError, get_one, json};
use kernel::{Clock, Time};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Arrivals are milliseconds, shifted by this many bits to leave room for numbers within one.
const SHIFT: u32 = 20;

/// The first arrival of a moment.
pub(crate) fn arrival_at(time: Time) -> u64 {
    u64::try_from(time.millis()).unwrap_or(0) << SHIFT
}

fn key() -> Key {
    Key::new("turn", "")
}

/// The source of turns.
pub(crate) struct Turns {
    last: Mutex<u64>,
    visible: AtomicU64,
    /// Set when the number that the table remembers has been taken into account.
    remembered: OnceCell<()>,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
}

impl Turns {
    /// Turns whose numbers lie above every one given before.
    pub(crate) fn new(table: Arc<dyn Table>, clock: Arc<dyn Clock>) -> Self {
        let start = arrival_at(clock.now());
        let (last, visible) = (Mutex::new(start), AtomicU64::new(start));
        Self { last, visible, remembered: OnceCell::new(), table, clock }
    }

    /// Waits for one's turn.
    pub(crate) async fn take(&self) -> Result<Turn<'_>, TableError> {
        self.remember().await?;
        Ok(Turn { last: self.last.lock().await, turns: self })
    }

    /// Everything that arrived up to this number can be read.
    pub(crate) async fn visible(&self) -> Result<u64, TableError> {
        self.remember().await?;
        Ok(self.visible.load(Ordering::Acquire))
    }

    async fn remember(&self) -> Result<(), TableError> {
        let first = self.remembered.get_or_try_init(|| async {
            if let Some(item) = get_one(&*self.table, key()).await? {
                // Nobody has had a turn yet, so the lock is free.
                let mut last = self.last.lock().await;
                *last = item.json::<u64>()?.max(*last);
                self.visible.fetch_max(*last, Ordering::AcqRel);
            }
            Ok(())
        });
        first.await.copied()
    }
}

/// The right to change feeds.
pub(crate) struct Turn<'a> {
    last: MutexGuard<'a, u64>,
    turns: &'a Turns,
}

impl Turn<'_> {
    /// The next arrival.
    pub(crate) fn next(&mut self) -> u64 {
        *self.last = (*self.last + 1).max(arrival_at(self.turns.clock.now()));
        *self.last
    }

    /// The write that keeps the last number; goes before the rows that carry it.
    pub(crate) fn record(&self) -> Scatter {
        Scatter::Put { key: key(), body: json(&*self.last), expires_at: None }
    }

    /// Says that the rows are written. Cached skeletons are dropped after this, never before: one
    /// loaded in between would hide them until it ages.
    pub(crate) fn show(&self) {
        self.turns.visible.store(*self.last, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conformance::{Oracle, TestClock};

    use super::*;

    #[tokio::test]
    async fn arrivals_grow_while_the_clock_stands_and_follow_it_when_it_moves() {
        let clock = TestClock::new();
        let turns = Turns::new(Oracle::new(clock.clone()), clock.clone());
        let before = turns.visible().await.unwrap();
        let mut turn = turns.take().await.unwrap();
        let (one, two) = (turn.next(), turn.next());
        assert!(before < one && one < two);
        assert_eq!(turns.visible().await.unwrap(), before);
        turn.show();
        assert_eq!(turns.visible().await.unwrap(), two);
        clock.advance(Duration::from_millis(5));
        assert_eq!(turn.next(), arrival_at(clock.now()));
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_does_not_give_numbers_again() {
        let (ahead, behind) = (TestClock::new(), TestClock::new());
        ahead.advance(Duration::from_hours(1));
        let table = Oracle::new(behind.clone());
        let turns = Turns::new(table.clone(), ahead);
        let mut turn = turns.take().await.unwrap();
        let given = turn.next();
        table.scatter(vec![turn.record()]).await.unwrap();
        let again = Turns::new(table, behind);
        assert_eq!(again.visible().await.unwrap(), given);
        assert!(again.take().await.unwrap().next() > given);
    }
}
