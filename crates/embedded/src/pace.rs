//! Waiting for an engine that is behind with its flushes or its compactions.
//!
//! A commit waits for them by itself, but without end, also when they have failed: so every commit
//! waits here first, where a failure is seen.

use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, PersistMode};

/// Full memtables at which a commit waits; it fills one more at most, and at 4 the engine waits.
const SEALED_MAX: usize = 3;
/// Runs of fresh tables at which a commit waits; the full memtables become one each, and at 30 the
/// engine waits.
const RUNS_MAX: usize = 24;
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `rows` can take a batch; fails when the engine of `db` has failed.
pub(crate) fn keep(db: &Database, rows: &Keyspace) -> fjall::Result<()> {
    let tree = &rows.tree;
    while tree.sealed_memtable_count() >= SEALED_MAX || tree.l0_run_count() >= RUNS_MAX {
        db.persist(PersistMode::Buffer)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
