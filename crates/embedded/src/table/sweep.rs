//! Expired items leave the disk in the background, a bounded number at a time.
//!
//! An item with an expiry has a row in an index by time. That costs one more row on such a write,
//! where a compaction filter would cost none; but a filter follows the compaction's rhythm, which
//! on a quiet database is never, and a sweep by index is prompt and can be tested by moving a
//! clock. An index row outlives its item's replacement: the sweep looks at the item itself.

use std::time::{Duration, Instant};

use fjall::PersistMode;
use kernel::Time;
use kernel::table::TableError;

use super::cache::RowCache;
use super::codec;
use super::engine::{self, Engine};

const ROWS_MAX: usize = 500;
const PAUSE: Duration = Duration::from_secs(1);
/// The pause while there is more to sweep, which leaves most of the time to people.
const PAUSE_BEHIND: Duration = Duration::from_millis(20);

/// How far the sweep has come.
pub(super) struct Sweep {
    /// Below this the index is empty, which saves walking over what was deleted there.
    from: Vec<u8>,
    due: Instant,
    more: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        let from = codec::expiry_key(Time::from_millis(i64::MIN), &[]);
        Self { from, due: Instant::now() + PAUSE, more: false }
    }
}

impl Sweep {
    /// How long until it is due.
    pub(super) fn wait(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    pub(super) fn is_due(&self) -> bool {
        self.wait().is_zero()
    }

    /// Makes it due after another pause.
    pub(super) fn put_off(&mut self) {
        self.due = Instant::now() + PAUSE;
    }

    /// Whether the last run stopped at its bound.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// A row of the index was written.
    pub(super) fn note(&mut self, index_key: &[u8]) {
        if *index_key < *self.from {
            self.from = index_key.to_vec();
        }
    }

    /// Removes items that expired by `now`; returns how many. Not synced: whatever a crash brings
    /// back has still expired.
    pub(super) fn run(
        &mut self,
        engine: &Engine,
        cache: &RowCache,
        now: Time,
    ) -> Result<usize, TableError> {
        self.due = Instant::now() + PAUSE;
        self.more = false;
        let to = codec::expiry_key(Time::from_millis(now.millis().saturating_add(1)), &[]);
        let mut batch = engine.batch(2 * ROWS_MAX, PersistMode::Buffer);
        let (mut rows, mut items, mut last) = (0, Vec::new(), None);
        for guard in engine.own_rows(&self.from, &to).take(ROWS_MAX) {
            let index_key = guard.key().map_err(|error| engine::unavailable(&error))?;
            rows += 1;
            batch.remove(&index_key);
            last = Some(index_key.clone());
            let Some(key) = codec::expiring_key(&index_key) else { continue };
            let expired = match engine.load_raw(key) {
                Ok(row) => row.is_some_and(|row| !row.is_live(now)),
                Err(TableError::Malformed(what)) => {
                    // It stays for whoever looks into it, and does not stop the sweep for good.
                    tracing::error!(what, "an item that should expire cannot be read");
                    false
                }
                Err(error) => return Err(error),
            };
            if expired {
                batch.remove(key);
                items.push(codec::decode_key(engine.cipher(), key)?);
            }
        }
        let Some(last) = last else { return Ok(0) };
        batch.commit().map_err(|error| engine::unavailable(&error))?;
        // Not before: what was not removed has to be found again.
        self.from = last.to_vec();
        items.iter().for_each(|key| cache.forget(key));
        self.more = rows == ROWS_MAX;
        if self.more {
            self.due = Instant::now() + PAUSE_BEHIND;
        }
        Ok(items.len())
    }
}
