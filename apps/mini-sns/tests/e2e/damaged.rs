//! A damaged data directory: refused in one line with nothing touched, or served with everything
//! that was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::person::Person;
use crate::server::{Server, eventually, program};

const AT_ONCE: usize = 6;

/// No limits but the machine's.
const FREE: [&str; 6] = [
    "--posts-per-minute",
    "100000",
    "--user-rate-per-sec",
    "100000",
    "--user-rate-burst",
    "100000",
];

/// Every file with its content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

/// Whether `verify` and `serve` refuse the data. A refusal is one line and exit code 2, and leaves
/// every file as it was. A file that only its checksum tells of is refused by `verify` alone.
#[track_caller]
fn refused(data: &Path, what: &str) -> bool {
    let before = tree(data);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"];
    for (index, args) in [&["verify", "--data"][..], &serve[..]].into_iter().enumerate() {
        let mut command = program();
        command.args(args).arg(data).stdout(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        if index == 0 && output.status.success() {
            return false;
        }
        assert_eq!(output.status.code(), Some(2), "{what}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{what}: {text}");
        assert!(text.contains("data"), "{what}: {text}");
        let after = tree(data);
        assert!(before.keys().eq(after.keys()), "{what}: {:?} {:?}", before.keys(), after.keys());
        for (path, bytes) in &before {
            assert!(*bytes == after[path], "{what}: {} is as it was", path.display());
        }
        if text.contains("does not match its checksum") {
            break;
        }
    }
    true
}

/// What a run left that was killed under load, and what it owes.
struct Left {
    dir: tempfile::TempDir,
    author: Person,
    reader: Person,
    posts: BTreeSet<String>,
}

impl Left {
    async fn by_a_kill() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut server = Server::start_in(&data, &FREE).await;
        let (author, reader) = (Person::register(&server).await, Person::register(&server).await);
        reader.follow(&author).await;
        let mut load = tokio::task::JoinSet::new();
        let answers = Arc::new(AtomicUsize::new(0));
        for task in 0..6 {
            let (author, answers) = (author.clone(), Arc::clone(&answers));
            load.spawn(async move {
                let mut answered = Vec::new();
                for number in 0.. {
                    let text = json!({"text": format!("task {task}, number {number}")});
                    let request = author.request(reqwest::Method::POST, "/posts").json(&text);
                    let Ok(answer) = request.send().await else { break };
                    let status = answer.status();
                    // What a slow machine does not do in time, or refuses for now, is not owed.
                    if matches!(status.as_u16(), 503 | 504) {
                        continue;
                    }
                    assert!(status.is_success(), "{status}: {:?}", answer.text().await);
                    let Ok(post) = answer.json::<Value>().await else { break };
                    answered.push(post["postId"].as_str().unwrap().to_owned());
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                answered
            });
        }
        eventually("the load writes something", async || {
            (answers.load(Ordering::Relaxed) > 50).then_some(())
        })
        .await;
        server.kill();
        let posts: BTreeSet<_> = load.join_all().await.into_iter().flatten().collect();
        // The engine makes journals of 64 MiB and takes the zeros at their end off itself.
        for (path, bytes) in tree(&data) {
            if path.extension().is_some_and(|kind| kind == "jnl") {
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                fs::write(path, &bytes[..end]).unwrap();
            }
        }
        Self { dir, author, reader, posts }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Damages a copy and demands that it is refused, or that it serves what is owed; tells
    /// whether it was refused.
    async fn damage(&self, what: &str, damage: impl FnOnce(&Path)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        copy(&self.data(), &data);
        damage(&data);
        let (place, told) = (data.clone(), what.to_owned());
        if tokio::task::spawn_blocking(move || refused(&place, &told)).await.unwrap() {
            return true;
        }
        let server = Server::start_in(&data, &[]).await;
        let path = format!("/posts?authorId={}&limit=100", self.author.id);
        let author = self.author.at(&server);
        let written = author.walk(&path, |post| post["postId"].clone()).await;
        let written: BTreeSet<_> = written.into_iter().collect();
        assert!(self.posts.is_subset(&written), "{what}: every answered post is there");
        let reader = self.reader.at(&server);
        eventually(&format!("{what}: every answered post is in the timeline"), async || {
            let seen: BTreeSet<_> = reader.timeline().await.into_iter().collect();
            self.posts.is_subset(&seen).then_some(())
        })
        .await;
        false
    }
}

fn flip(path: &Path, at: impl FnOnce(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x55;
    }
    fs::write(path, bytes).unwrap();
}

/// The four databases are alike, so of three of them only the journals are tried; what is only
/// locked, or says what was in hand, holds nothing that is owed.
fn matters(data: &Path, file: &Path) -> bool {
    let place = file.strip_prefix(data).unwrap();
    let alike = ["user", "social", "timeline"].iter().any(|part| place.starts_with(part));
    let journal = file.extension().is_some_and(|kind| kind == "jnl");
    let small =
        place.starts_with("bus/hand") || ["LOCK", "lock"].iter().any(|name| file.ends_with(name));
    journal || !(alike || small)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_or_does_no_harm() {
    let left = &Left::by_a_kill().await;
    assert!(!left.damage("nothing", |_| {}).await, "what a kill left is no damage");
    let data = left.data();
    let files: Vec<_> = tree(&data).into_keys().filter(|file| matters(&data, file)).collect();
    let kinds = ["removed", "emptied", "first byte", "middle byte"];
    let cases = files.iter().flat_map(|file| kinds.map(|kind| (file.clone(), kind)));
    let told = cases.map(async |(file, kind)| {
        let file = file.strip_prefix(left.data()).unwrap().to_owned();
        let what = format!("{} {kind}", file.display());
        let damage = |data: &Path| match kind {
            "removed" => fs::remove_file(data.join(&file)).unwrap(),
            "emptied" => fs::write(data.join(&file), "").unwrap(),
            "first byte" => flip(&data.join(&file), |_| 0),
            _ => flip(&data.join(&file), |length| length / 2),
        };
        let told = left.damage(&what, damage).await;
        (what, told)
    });
    let told = futures_util::stream::iter(told).buffer_unordered(AT_ONCE);
    let told: BTreeMap<_, _> = told.collect().await;
    for what in ["user/engine/0.jnl", "post/engine/0.jnl", "bus/queues/0.jnl", "MANIFEST"]
        .into_iter()
        .chain(["post/FORMAT", "post/POSITION", "keys/signing.json", "keys/issuer"])
    {
        for kind in ["removed", "emptied", "first byte"] {
            assert!(told[&format!("{what} {kind}")], "{what} {kind} is refused");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_foreign_part_is_refused() {
    let left = Left::by_a_kill().await;
    for part in ["user", "post", "social", "timeline", "bus", "keys"] {
        let remove = |data: &Path| fs::remove_dir_all(data.join(part)).unwrap();
        assert!(left.damage(part, remove).await, "without {part}");
    }
    let swap = |data: &Path| {
        fs::rename(data.join("post"), data.join("aside")).unwrap();
        fs::rename(data.join("social"), data.join("post")).unwrap();
        fs::rename(data.join("aside"), data.join("social")).unwrap();
    };
    assert!(left.damage("post for social", swap).await);
    let other = Left::by_a_kill().await;
    let graft = |data: &Path| {
        fs::remove_dir_all(data.join("post")).unwrap();
        copy(&other.data().join("post"), &data.join("post"));
    };
    assert!(left.damage("another's post", graft).await);
    let newer = |data: &Path| {
        let text = fs::read_to_string(data.join("MANIFEST")).unwrap();
        fs::write(data.join("MANIFEST"), text.replace("data 1", "data 2")).unwrap();
    };
    assert!(left.damage("a newer manifest", newer).await);
}

#[tokio::test]
async fn a_first_start_that_was_killed_comes_up_the_next_time() {
    for millis in [1, 10, 20, 30, 50, 80, 120, 200] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut serve = program();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"]);
        let mut first = serve.arg(&data).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        first.kill().unwrap();
        first.wait().unwrap();
        let server = Server::start_in(&data, &[]).await;
        Person::register(&server).await;
    }
}

#[test]
fn verify_makes_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let output = program().args(["verify", "--data"]).arg(dir.path()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("there is no Mini-SNS data"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_table_is_told_wherever_it_is() {
    use embedded::table::{Options, Store};
    use kernel::table::{Key, Table, Write};

    let left = Left::by_a_kill().await;
    let place = left.data().join("post");
    let clock = Arc::new(kernel::clock::SystemClock);
    let store = Store::open(&place, Options::default(), clock.clone()).unwrap();
    // More than the engine keeps in memory, so that what was posted moves into a table.
    let row =
        |number: u32| Write::put(Key::new("ballast", format!("{number:06}")), vec![7; 64 << 10]);
    let tables = || {
        let files = fs::read_dir(place.join("engine/keyspaces/1/tables")).unwrap();
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    for number in 0.. {
        store.commit(vec![row(number)]).await.unwrap();
        if !tables().is_empty() {
            break;
        }
    }
    drop(store);
    // What a stop cut short is no part of the data and goes with the next start.
    // A process that a test beside this one is starting holds the lock for a moment too.
    let open = async || Store::open(&place, Options::default(), clock.clone()).ok();
    eventually("the store opens again", open).await.settle();
    let tables = tables();
    assert!(!tables.is_empty(), "something was flushed");
    for table in tables {
        let length = fs::read(&table).unwrap().len();
        for at in (0..8).map(|part| length * part / 8).chain([length - 1]) {
            flip(&table, |_| at);
            let before = tree(&left.data());
            let output = program().args(["verify", "--data"]).arg(left.data()).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "byte {at} of {length}: {text}");
            assert_eq!(text.trim_end().lines().count(), 1, "{text}");
            assert!(text.contains("post is damaged"), "{text}");
            assert!(before == tree(&left.data()), "byte {at}: every file is as it was");
            flip(&table, |_| at);
        }
    }
    let output = program().args(["verify", "--data"]).arg(left.data()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
