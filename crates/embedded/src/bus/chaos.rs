//! Deliveries as bad as the contract allows them, for tests: each twice, in any order. Seeded, so
//! that a failure comes again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// SplitMix64 over a shared counter.
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn roll(&self, sides: u64) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut word = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % sides.max(1)
    }

    /// Fisher-Yates.
    pub(super) fn shuffle(&self, items: &mut [u64]) {
        for end in (1..items.len()).rev() {
            let other = self.roll(u64::try_from(end).unwrap_or(0) + 1);
            items.swap(end, usize::try_from(other).unwrap_or(end));
        }
    }

    /// How long a worker dawdles before it takes a batch, so that there is something to shuffle.
    pub(super) fn dawdle(&self) -> Duration {
        Duration::from_micros(self.roll(3_000))
    }

    /// A batch's size, 1 to `most`.
    pub(super) fn batch(&self, most: usize) -> usize {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        usize::try_from(self.roll(most)).unwrap_or(0) + 1
    }
}
