//! What the embedded table does with its directory: opening, refusing, coming back.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conformance::TestClock;
use embedded::intact;
use embedded::table::{OpenError, Options, Store};
use kernel::Clock;
use kernel::table::{Condition, Key, Query, Table, TableError, Write, get_one};

fn open(dir: &tempfile::TempDir) -> Result<Store, OpenError> {
    Store::open(dir.path().join("user"), Options::default(), TestClock::new())
}

fn refused(dir: &tempfile::TempDir) -> OpenError {
    match open(dir) {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

/// Every file with its content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// Demands that the store is refused as damaged, and every file is as it was.
#[track_caller]
fn damaged(dir: &tempfile::TempDir) -> String {
    let before = tree(dir.path());
    let error = refused(dir);
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    let after = tree(dir.path());
    assert!(before.keys().eq(after.keys()), "the same files: {:?}", after.keys());
    for (path, bytes) in before {
        assert!(bytes == after[&path], "{} is as it was", path.display());
    }
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// A store with some batches, and its journal's place.
async fn written(batches: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    for n in 0..batches {
        put(&store, &format!("value number {n}")).await;
    }
    drop(store);
    let journal = journal(&dir);
    (dir, journal)
}

async fn put(store: &Store, sort: &str) {
    store.commit(vec![Write::put(Key::new("p", sort), sort.to_owned())]).await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let store = open(&dir).unwrap();
        for n in 0..100 {
            put(&store, &format!("{round}-{n:03}")).await;
        }
        store.commit(vec![Write::add(Key::new("counter", ""), 2)]).await.unwrap();
        drop(store);
    }
    let store = open(&dir).unwrap();
    let found = store.query(Query::all("p", 1000)).await.unwrap();
    assert_eq!(found.items.len(), 300);
    let counter = get_one(&store, Key::new("counter", "")).await.unwrap().unwrap();
    assert_eq!(counter.count, 6);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let error = refused(&dir);
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let line = error.to_string();
    assert!(line.contains("user") && line.contains("in use") && !line.contains('\n'), "{line}");
    put(&store, "still works").await;
    drop(store);
    open(&dir).unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(&dir).unwrap(), "kept").await;
    let format = dir.path().join("user/FORMAT");
    let before = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, "mini-sns table 3\n").unwrap();
    let error = refused(&dir);
    assert!(matches!(error, OpenError::Newer { found: 3, known: 2, .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "mini-sns table 3\n");
    std::fs::write(&format, before).unwrap();
    let store = open(&dir).unwrap();
    assert!(get_one(&store, Key::new("p", "kept")).await.unwrap().is_some());
}

fn journal(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir.path().join("user/engine")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|kind| kind == "jnl")).unwrap()
}

#[tokio::test]
async fn a_journal_that_lost_its_tail_is_noticed() {
    let (dir, journal) = written(50).await;
    let good = std::fs::read(&journal).unwrap();
    for length in [1000, 1, 0] {
        std::fs::write(&journal, &good[..length]).unwrap();
        let line = damaged(&dir);
        assert!(line.contains("50 were answered"), "{line}");
    }
    std::fs::remove_file(&journal).unwrap();
    damaged(&dir);
    std::fs::write(&journal, good).unwrap();
    let store = open(&dir).unwrap();
    assert_eq!(store.query(Query::all("p", 100)).await.unwrap().items.len(), 50);
}

#[tokio::test]
async fn a_flipped_byte_in_the_journal_is_noticed_wherever_it_is() {
    let (dir, journal) = written(5).await;
    let mut good = std::fs::read(&journal).unwrap();
    let mut ends = good.windows(4).enumerate().filter(|(_, window)| *window == b"FJL\x03");
    let end = ends.next_back().unwrap().0 + 4;
    good.truncate(end);
    let mut told = 0;
    for at in 0..end {
        for flip in [1, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            std::fs::write(&journal, &bad).unwrap();
            match open(&dir) {
                Err(OpenError::Damaged { .. }) => told += 1,
                Err(other) => panic!("byte {at}: {other:?}"),
                Ok(store) => {
                    let found = store.query(Query::all("p", 100)).await.unwrap().items.len();
                    assert_eq!(found, 5, "byte {at} by {flip}");
                }
            }
            assert!(std::fs::read(&journal).unwrap() == bad, "byte {at}: the journal is as it was");
        }
    }
    assert!(told > end, "{told} of {end} bytes");
}

#[tokio::test]
async fn damaged_tables_are_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: 64 << 10, ..Options::default() };
    let place = dir.path().join("user");
    let store = Store::open(&place, options.clone(), TestClock::new()).unwrap();
    for n in 0..100 {
        let write = Write::put(Key::new("p", format!("{n:03}")), vec![b'x'; 4096]);
        store.commit(vec![write]).await.unwrap();
    }
    drop(store);
    let is_table = |path: &&PathBuf| path.parent().unwrap().ends_with("keyspaces/1/tables");
    let files = tree(&place);
    let tables: Vec<_> = files.keys().filter(is_table).collect();
    assert!(!tables.is_empty(), "something was flushed: {:?}", files.keys());
    intact::table(&place).unwrap();
    for path in tables {
        // Wherever it is, a flipped byte is found by whoever looks at the file.
        for at in (0..files[path].len()).step_by(files[path].len() / 40) {
            let mut bad = files[path].clone();
            bad[at] ^= 1;
            std::fs::write(path, bad).unwrap();
            let error = intact::table(&place).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "byte {at}: {error}");
        }
        let bad = [vec![], files[path][..files[path].len() / 2].to_vec()];
        for bad in bad {
            std::fs::write(path, bad).unwrap();
            damaged(&dir);
            intact::table(&place).unwrap_err();
        }
        std::fs::remove_file(path).unwrap();
        damaged(&dir);
        intact::table(&place).unwrap_err();
        std::fs::write(path, &files[path]).unwrap();
        // In a copy, for an open store may merge its tables into others.
        let copied = tempfile::tempdir().unwrap();
        for (file, bytes) in &files {
            let to = copied.path().join(file.strip_prefix(dir.path()).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let mut bytes = bytes.clone();
            if file == path {
                bytes[100] ^= 1;
            }
            std::fs::write(to, bytes).unwrap();
        }
        let copy = copied.path().join("user");
        let store = Store::open(copy, options.clone(), TestClock::new()).unwrap();
        let error = store.query(Query::all("p", 100)).await.unwrap_err();
        assert!(matches!(error, TableError::Unavailable(_)), "{error:?}");
    }
    let store = open(&dir).unwrap();
    assert_eq!(store.query(Query::all("p", 100)).await.unwrap().items.len(), 100);
}

#[tokio::test]
async fn a_damaged_list_of_tables_is_found() {
    let (dir, _) = written(5).await;
    let place = dir.path().join("user");
    let before = tree(&place);
    let keyspaces = place.join("engine/keyspaces");
    let is_list = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        path.starts_with(&keyspaces) && (name == "current" || name.starts_with('v'))
    };
    let lists: Vec<_> = before.keys().filter(is_list).collect();
    assert!(lists.len() >= 4, "{lists:?}");
    intact::table(&place).unwrap();
    // Several are there where the last of them was not yet the only one.
    let in_force = |path: &Path| {
        let current = &before[&path.with_file_name("current")];
        let number = u64::from_le_bytes(current[..8].try_into().unwrap());
        path.ends_with("current") || path.ends_with(format!("v{number}"))
    };
    for path in lists {
        for at in 0..before[path].len() {
            let mut bad = before[path].clone();
            bad[at] ^= 1;
            std::fs::write(path, bad).unwrap();
            let found = intact::table(&place).is_err();
            assert_eq!(found, in_force(path), "byte {at} of {}", path.display());
        }
        std::fs::write(path, &before[path]).unwrap();
    }
    assert!(before == tree(&place), "nothing was changed");
}

#[tokio::test]
async fn a_store_that_is_not_settled_sweeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let place = dir.path().join("user");
    let start = || Store::open(&place, Options::default(), clock.clone()).unwrap();
    let expiring = Write::put(Key::new("p", "expires"), "").expiring(clock.now());
    start().commit(vec![expiring]).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let before = tree(&place);
    let store = start();
    // Longer than the pause between two sweeps.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    drop(store);
    assert!(before == tree(&place), "every file is as it was");
    assert_eq!(start().sweep().await, Ok(1), "it was still there");
}

#[tokio::test]
async fn a_store_that_was_not_settled_leaves_its_files_as_they_were() {
    let (dir, _) = written(20).await;
    let before = tree(dir.path());
    drop(open(&dir).unwrap());
    assert!(before == tree(dir.path()), "opened and dropped");
    let store = open(&dir).unwrap();
    store.settle();
    assert!(!dir.path().join("user/engine.kept").exists());
    drop(store);
    let store = open(&dir).unwrap();
    put(&store, "a write settles too").await;
    assert!(!dir.path().join("user/engine.kept").exists());
}

/// Copies a directory, as a kill leaves it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_killed_start_left_is_put_back_only_where_nothing_is_newer() {
    let (dir, _) = written(20).await;
    let place = dir.path().join("user");
    let (engine, kept) = (place.join("engine"), place.join("engine.kept"));
    // The engine has cut everything off, and nobody could tell any more.
    copy(&engine, &kept);
    std::fs::write(engine.join("0.jnl"), "").unwrap();
    // A copy that was not finished, and what a refusal could not remove.
    std::fs::create_dir(place.join("engine.kept-unfinished")).unwrap();
    std::fs::create_dir(place.join("engine.refused")).unwrap();
    let count = async |store: &Store| store.query(Query::all("p", 99)).await.unwrap().items.len();
    let store = open(&dir).unwrap();
    assert_eq!(count(&store).await, 20);
    drop(store);
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 4, "nothing is left over");

    // Between the two renames of putting back.
    std::fs::rename(&engine, &kept).unwrap();
    let store = open(&dir).unwrap();
    assert_eq!(count(&store).await, 20);
    put(&store, "newer").await;
    drop(store);

    // An old copy, or one whose content a power cut took, does not undo what was written since.
    for bytes in [0, 1 << 20] {
        copy(&engine, &kept);
        std::fs::write(kept.join("0.jnl"), vec![0; bytes]).unwrap();
        let store = open(&dir).unwrap();
        assert_eq!(count(&store).await, 21);
    }
}

#[tokio::test]
async fn a_missing_file_is_damage_and_never_a_new_store() {
    for name in ["FORMAT", "POSITION", "engine"] {
        let dir = tempfile::tempdir().unwrap();
        put(&open(&dir).unwrap(), "kept").await;
        let (path, aside) = (dir.path().join("user").join(name), dir.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        damaged(&dir);
        std::fs::rename(&aside, &path).unwrap();
        let store = open(&dir).unwrap();
        assert!(get_one(&store, Key::new("p", "kept")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_begun_again() {
    // Without the engine's marker, and with as much of it as a kill leaves.
    for marker in [None, Some(""), Some("FJL")] {
        let dir = tempfile::tempdir().unwrap();
        let engine = dir.path().join("user/engine");
        std::fs::create_dir_all(&engine).unwrap();
        std::fs::write(engine.join("0.jnl"), b"").unwrap();
        if let Some(marker) = marker {
            drop(open(&dir).unwrap());
            std::fs::remove_dir_all(engine.join("keyspaces")).unwrap();
            std::fs::write(engine.join("version"), marker).unwrap();
        }
        let store = open(&dir).unwrap();
        put(&store, "works").await;
        drop(store);
        std::fs::write(engine.join("version"), "FJL").unwrap();
        damaged(&dir);
    }
}

#[tokio::test]
async fn below_the_floor_writes_are_refused_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    put(&store, "before").await;
    assert_eq!(store.writable(), Ok(()));

    store.set_free_space_floor_bytes(u64::MAX);
    let write = || vec![Write::put(Key::new("p", "during"), "")];
    let refusal = store.commit(write()).await.unwrap_err();
    assert!(matches!(refusal, TableError::Unavailable(_)), "{refusal:?}");
    assert!(store.writable().is_err());
    assert!(get_one(&store, Key::new("p", "before")).await.unwrap().is_some());
    assert_eq!(store.query(Query::all("p", 10)).await.unwrap().items.len(), 1);

    store.set_free_space_floor_bytes(0);
    store.commit(write()).await.unwrap();
    assert!(get_one(&store, Key::new("p", "during")).await.unwrap().is_some());
}

#[tokio::test]
async fn jobs_waiting_at_the_end_are_still_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let write = Write::put(Key::new("p", format!("{n}")), "").when(Condition::Absent);
            store.commit(vec![write]).await
        });
    }
    for outcome in tasks.join_all().await {
        outcome.unwrap();
    }
    drop(store);
    let store = open(&dir).unwrap();
    assert_eq!(store.query(Query::all("p", 1000)).await.unwrap().items.len(), 500);
}
