//! Turns: who changes feeds, one after the other.
//!
//! A turn numbers its rows, writes them, lets its number be seen, drops the cached skeletons, and
//! only then sends its frames. Readers take in nothing above the number that they saw before they
//! read, so the order of arrivals is the order of visibility and of frames, and whoever has seen up
//! to a number has seen, or can be given, everything below it. A skeleton that was loaded before
//! the number could be seen is dropped after it could.
//! A check made inside a turn (is the post gone? does she still follow?) holds until its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::{Clock, Time};
use tokio::sync::{Mutex, MutexGuard};

/// Arrivals are milliseconds, shifted by this many bits to leave room for numbers within one.
const SHIFT: u32 = 20;

/// The first arrival of a moment.
pub(crate) fn arrival_at(time: Time) -> u64 {
    u64::try_from(time.millis()).unwrap_or(0) << SHIFT
}

/// The source of turns.
pub(crate) struct Turns {
    last: Mutex<u64>,
    visible: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Turns {
    /// Turns whose numbers lie above every one given before the present moment.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let start = arrival_at(clock.now());
        Self { last: Mutex::new(start), visible: AtomicU64::new(start), clock }
    }

    /// Waits for one's turn.
    pub(crate) async fn take(&self) -> Turn<'_> {
        Turn { last: self.last.lock().await, turns: self }
    }

    /// Everything that arrived up to this number can be read.
    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
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

    /// Says that the rows are written. Cached skeletons are dropped after this, never before: one
    /// loaded in between would hide them until it ages.
    pub(crate) fn show(&self) {
        self.turns.visible.store(*self.last, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conformance::TestClock;

    use super::*;

    #[tokio::test]
    async fn arrivals_grow_while_the_clock_stands_and_follow_it_when_it_moves() {
        let clock = TestClock::new();
        let turns = Turns::new(clock.clone());
        let before = turns.visible();
        let mut turn = turns.take().await;
        let (one, two) = (turn.next(), turn.next());
        assert!(before < one && one < two);
        assert_eq!(turns.visible(), before);
        turn.show();
        assert_eq!(turns.visible(), two);
        clock.advance(Duration::from_millis(5));
        assert_eq!(turn.next(), arrival_at(clock.now()));
    }
}
