//! Waiting for an engine that is behind with its flushes or its compactions, and room for them.
//!
//! A commit waits for them by itself, but without end, also when they have failed: so every commit
//! waits here first, where a failure is seen.

use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace, PersistMode};

/// Full memtables at which a commit waits; it fills one more at most, and at 4 the engine waits.
const SEALED_MAX: usize = 3;
/// Runs of fresh tables at which a commit waits; the full memtables become one each, and at 30 the
/// engine waits.
const RUNS_MAX: usize = 24;
/// Runs of fresh tables at which the engine merges them into the level below.
const RUNS_MERGED: u8 = 8;
/// Bytes of a table. The level below the fresh ones, all of which a merge of them writes anew, has
/// as many tables as runs are merged; what is not new and not between what is new goes on from
/// there as it is.
const TABLE_BYTES: u64 = 16 << 20;
/// Bytes that one compaction writes, at most, about: the fresh tables and the level below them, or
/// a table and those ten that it overlaps in the level below, of 64 MiB each in data of releases
/// before [`TABLE_BYTES`].
const COMPACTION_BYTES_MAX: u64 = 768 << 20;
const PAUSE: Duration = Duration::from_millis(5);

/// How the engine merges its tables. Fixed when they are made.
pub(crate) fn strategy() -> Arc<Leveled> {
    let leveled = Leveled::default().with_l0_threshold(RUNS_MERGED);
    Arc::new(leveled.with_table_target_size(TABLE_BYTES))
}

/// Bytes that the engine may write to disk without being asked: what it has still to flush, and a
/// compaction, which writes no more than it reads. A disk that ends on the way stops it.
pub(crate) fn owed_bytes(db: &Database, rows: &Keyspace) -> u64 {
    db.write_buffer_size().saturating_add(rows.disk_space().min(COMPACTION_BYTES_MAX))
}

/// Waits until `rows` can take a batch; fails when the engine of `db` has failed.
pub(crate) fn keep(db: &Database, rows: &Keyspace) -> fjall::Result<()> {
    let tree = &rows.tree;
    while tree.sealed_memtable_count() >= SEALED_MAX || tree.l0_run_count() >= RUNS_MAX {
        db.persist(PersistMode::Buffer)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fjall::KeyspaceCreateOptions;

    use super::*;

    #[test]
    fn a_compaction_of_what_is_on_disk_is_owed() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        assert_eq!(owed_bytes(&db, &rows), db.write_buffer_size());
        for n in 0..1000_u32 {
            // What does not compress.
            let value: Vec<u8> = (0..100_u32).flat_map(|i| (n * i * i).to_le_bytes()).collect();
            rows.insert(n.to_be_bytes(), value).unwrap();
        }
        rows.rotate_memtable_and_wait().unwrap();
        assert!(rows.disk_space() > 10_000);
        assert_eq!(owed_bytes(&db, &rows), db.write_buffer_size() + rows.disk_space());
    }
}
