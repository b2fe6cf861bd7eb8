//! The embedded table when its process is killed or its disk fails.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod encrypted;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use conformance::TestClock;
use embedded::table::{Options, Store};
use kernel::audit::Snapshot;
use kernel::outbox::Told;
use kernel::table::{Condition, Key, Query, Scatter, Table, TableError, Write, get_one};

/// Names the directory to the child; without it, the child's test has nothing to do.
const CHILD_DIR: &str = "MINI_SNS_TABLE_CRASH_DIR";
const CHILD_ENCRYPTED: &str = "MINI_SNS_TABLE_CRASH_ENCRYPTED";
const CHILD_FIRST: &str = "MINI_SNS_TABLE_CRASH_FIRST";
const WRITERS: usize = 8;

fn open(dir: &Path) -> Store {
    let options = Options { memtable_bytes: 256 * 1024, ..Options::default() };
    Store::open(dir, options, TestClock::new()).unwrap()
}

fn open_encrypted(dir: &Path) -> Store {
    let encryption = encrypted::encryption(dir);
    let options = Options { memtable_bytes: 256 * 1024, encryption, ..Options::default() };
    Store::open(dir, options, TestClock::new()).unwrap()
}

fn pair(n: u64) -> (Key, Key) {
    (Key::new("left", format!("{n:08}")), Key::new("right", format!("{n:08}")))
}

/// Runs in a child process: writes until it is killed, and says what was answered. The output goes
/// through the harness's `--nocapture`, so a line is whole once it is read.
#[tokio::test(flavor = "multi_thread")]
async fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let first: u64 = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
    let is_encrypted = std::env::var_os(CHILD_ENCRYPTED).is_some();
    let open = if is_encrypted { open_encrypted } else { open };
    let store = Arc::new(open(Path::new(&dir)));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS as u64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for n in (first + writer..).step_by(WRITERS) {
                let (left, right) = pair(n);
                let body = "x".repeat(200 + usize::try_from(n % 1000).unwrap());
                let writes = vec![
                    Write::put(left, body.clone()).when(Condition::Absent),
                    Write::put(right, body),
                    Write::add(Key::new("count", ""), 1),
                ];
                store.commit(writes).await.unwrap();
                say(&format!("wrote {n}"));
                if n % 16 == 0 {
                    let row = |row| Scatter::Put {
                        key: Key::new("rows", format!("{n:08}-{row}")),
                        body: "row".into(),
                        expires_at: None,
                    };
                    store.scatter((0..20).map(row).collect()).await.unwrap();
                    say(&format!("scattered {n}"));
                }
            }
        });
    }
    tasks.join_all().await;
}

fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    // One write, so that the kill cannot fall into the middle of a line's bytes.
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[derive(Default)]
struct Answered {
    written: BTreeSet<u64>,
    scattered: BTreeSet<u64>,
}

/// Lets a child write from number `first` on, kills it after `lines` answers, and takes down all
/// that it was told.
fn kill_after(dir: &Path, first: u64, lines: usize, encrypted: bool, answered: &mut Answered) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    if encrypted {
        child.env(CHILD_ENCRYPTED, "1");
    }
    let mut child = child
        .args(["child_writes_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        // The harness's own words may stand before the first line.
        let number = |word: &str| line.split(word).nth(1).and_then(|rest| rest.trim().parse().ok());
        if let Some(n) = number("wrote ") {
            answered.written.insert(n);
        } else if let Some(n) = number("scattered ") {
            answered.scattered.insert(n);
        } else {
            continue;
        }
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
    }
    assert!(seen >= lines, "the child ended by itself after {seen} answers");
    child.wait().unwrap();
}

#[tokio::test]
async fn killed_again_and_again_it_loses_nothing_it_answered() {
    killed_again_and_again(8, false).await;
}

#[tokio::test]
async fn encrypted_it_loses_nothing_either() {
    killed_again_and_again(4, true).await;
}

async fn killed_again_and_again(rounds: u64, is_encrypted: bool) {
    let open = if is_encrypted { open_encrypted } else { open };
    let dir = tempfile::tempdir().unwrap();
    let mut answered = Answered::default();
    for round in 0..rounds {
        let lines = 200 + 171 * usize::try_from(round).unwrap();
        kill_after(dir.path(), round * 1_000_000, lines, is_encrypted, &mut answered);
        let store = open(dir.path());
        let sorts = |partition: &str| -> BTreeSet<String> {
            store.items(partition).map(|item| item.unwrap().key.sort).collect()
        };
        let (left, right, rows) = (sorts("left"), sorts("right"), sorts("rows"));
        assert_eq!(left, right, "half a commit survived");
        for n in &answered.written {
            assert!(left.contains(&format!("{n:08}")), "answered write {n} is lost");
        }
        for n in &answered.scattered {
            assert!((0..20).all(|row| rows.contains(&format!("{n:08}-{row}"))), "rows of {n}");
        }
        let count = get_one(&store, Key::new("count", "")).await.unwrap().unwrap();
        assert_eq!(usize::try_from(count.count).unwrap(), left.len());
    }
    assert!(answered.written.len() as u64 > 250 * rounds);
}

/// Writes rows of 4 KiB until the engine refuses; gives how many were answered.
async fn write_until_refused(store: &Store) -> usize {
    let (mut done, mut refusal) = (0, None);
    while refusal.is_none() && done < 20_000 {
        match store.commit(row(done)).await {
            Ok(()) => done += 1,
            Err(error) => refusal = Some(error),
        }
    }
    assert!(matches!(refusal, Some(TableError::Unavailable(_))), "{refusal:?} after {done}");
    done
}

/// Asks until the engine is open again, which is tried ever less often.
async fn commit_in_the_end(store: &Store, writes: Vec<Write>) {
    while let Err(refusal) = store.commit(writes.clone()).await {
        assert!(matches!(refusal, TableError::Unavailable(_)), "{refusal:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn row(n: usize) -> Vec<Write> {
    vec![Write::put(Key::new("p", format!("{n:06}")), "x".repeat(4096))]
}

#[tokio::test]
async fn a_failed_engine_is_opened_again_without_losing_anything() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut outbox = store.outbox().unwrap();
    store.commit(row(0)).await.unwrap();

    // Without its directory the engine cannot flush; that stops it, as a failing disk would.
    let (here, away) = (dir.path().join("engine/keyspaces"), dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let done = write_until_refused(&store).await;
    let refusal = store.commit(row(done)).await;
    assert!(matches!(refusal, Err(TableError::Unavailable(_))), "{refusal:?}");
    assert!(matches!(store.get(&[Key::new("p", "1")]).await, Err(TableError::Unavailable(_))));

    std::fs::rename(&away, &here).unwrap();
    let journals = journals_of_long_ago(dir.path());
    commit_in_the_end(&store, vec![Write::put(Key::new("p", "after"), "")]).await;
    for path in journals {
        let modified = std::fs::metadata(&path).map(|file| file.modified().unwrap());
        assert!(modified.is_ok_and(|at| at > UNIX_EPOCH), "{} was written again", path.display());
    }
    assert!(!dir.path().join("DOUBT").exists());
    assert!(matches!(outbox.next(1).await, Told::Missed), "rows of the failed batch are missed");
    for n in 0..done {
        let found = get_one(&store, Key::new("p", format!("{n:06}"))).await.unwrap();
        assert!(found.is_some(), "answered write {n} of {done} is lost");
    }
    assert_eq!(store.query(Query::all("p", 1).descending()).await.unwrap().items.len(), 1);
}

/// The journals of a store, made to look as if nobody had written to them for long.
fn journals_of_long_ago(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("engine")).unwrap();
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "jnl");
    let paths = entries.map(|entry| entry.unwrap().path()).filter(is_journal).collect();
    for path in &paths {
        File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    }
    paths
}

/// A named pipe in place of the file that the engine reads first: opening waits there, as long as
/// the test likes. What is written to the pipe is what the engine reads.
fn stop_at(file: &Path) -> Vec<u8> {
    let content = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_wait_for_an_engine_that_is_being_opened() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let (here, away) = (dir.path().join("engine/keyspaces"), dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let done = write_until_refused(&store).await;
    std::fs::rename(&away, &here).unwrap();
    let gate = dir.path().join("engine/version");
    let content = stop_at(&gate);
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { commit_in_the_end(&store, row(done)).await }
    });
    // Opening a pipe for writing waits for the reader, which is the engine in the midst of opening.
    let open = move || std::fs::OpenOptions::new().write(true).open(gate).unwrap();
    let mut gate = tokio::task::spawn_blocking(open).await.unwrap();
    let reading = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let item = store.get(&[Key::new("p", "1")]).await;
            (item, store.query(Query::all("p", 1)).await)
        }
    });
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
    std::io::Write::write_all(&mut gate, &content).unwrap();
    drop(gate);
    let (got, found) = read.expect("the readers do not wait").unwrap();
    assert!(matches!(got, Err(TableError::Unavailable(_))), "{got:?}");
    assert!(matches!(found, Err(TableError::Unavailable(_))), "{found:?}");
    writing.await.unwrap();
}
