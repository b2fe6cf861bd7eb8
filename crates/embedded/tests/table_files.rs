//! What the embedded table does with its directory: opening, refusing, coming back.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::sync::Arc;

use conformance::TestClock;
use embedded::table::{OpenError, Options, Store};
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
    assert_eq!((counter.count, counter.version), (6, 3));
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
    std::fs::write(&format, "mini-sns table 2\n").unwrap();
    let error = refused(&dir);
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "mini-sns table 2\n");
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
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    for n in 0..50 {
        put(&store, &format!("{n}")).await;
    }
    drop(store);
    let file = std::fs::OpenOptions::new().write(true).open(journal(&dir)).unwrap();
    file.set_len(1000).unwrap();
    let error = refused(&dir);
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    let line = error.to_string();
    assert!(line.contains("50 were answered") && !line.contains('\n'), "{line}");
}

#[tokio::test]
async fn a_flipped_bit_in_the_journal_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    for n in 0..50 {
        put(&store, &format!("value number {n}")).await;
    }
    drop(store);
    let path = journal(&dir);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(15).position(|window| window == b"value number 25").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(refused(&dir), OpenError::Damaged { .. }));
}

#[tokio::test]
async fn a_missing_file_is_damage_and_never_a_new_store() {
    for name in ["FORMAT", "POSITION", "engine"] {
        let dir = tempfile::tempdir().unwrap();
        put(&open(&dir).unwrap(), "kept").await;
        let (path, aside) = (dir.path().join("user").join(name), dir.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        let error = refused(&dir);
        assert!(matches!(error, OpenError::Damaged { .. }), "without {name}: {error:?}");
        // What a refused start may have left must not stand in the way of putting it back.
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::rename(&aside, &path).unwrap();
        let store = open(&dir).unwrap();
        assert!(get_one(&store, Key::new("p", "kept")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("user/engine");
    std::fs::create_dir_all(&engine).unwrap();
    std::fs::write(engine.join("0.jnl"), b"").unwrap();
    let store = open(&dir).unwrap();
    put(&store, "works").await;
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
