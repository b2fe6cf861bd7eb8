//! Time and identifiers under a test's control.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kernel::{Clock, Ids, Time};
use ulid::Ulid;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock at 2026-01-01T00:00:00Z.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_767_225_600_000)))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("a test moves time by less than an age");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Monotonic ids and secrets that are the same in every run with the same seed.
#[derive(Debug)]
pub struct SeededIds {
    clock: Arc<TestClock>,
    seed: u64,
    given: AtomicU64,
}

impl SeededIds {
    /// Ids stamped with `clock`'s time.
    pub fn new(clock: Arc<TestClock>, seed: u64) -> Arc<Self> {
        Arc::new(Self { clock, seed, given: AtomicU64::new(0) })
    }
}

impl Ids for SeededIds {
    fn ulid(&self) -> Ulid {
        let millis = u64::try_from(self.clock.now().millis()).expect("after 1970");
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        // The clock only moves forward, so time first and number second keeps the ids growing.
        Ulid::from_parts(millis, (u128::from(number) << 32) | u128::from(self.seed & 0xFFFF_FFFF))
    }

    fn secret(&self) -> [u8; 32] {
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        let mut secret = [0; 32];
        let mut state = self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for chunk in secret.chunks_exact_mut(8) {
            // SplitMix64
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        secret
    }
}
