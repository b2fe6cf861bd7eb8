//! Copies that are damaged, incomplete, too slow or too old; and restores that were broken off.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use embedded::backup::{self, BackupError, Options, Progress};
use kernel::table::{Key, Table, Write};
use kernel::{Clock, Time};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stage::{Content, Data, Stage};

/// Some data with one base and a log, and a moment in the middle of it.
async fn copied(stage: &Stage) -> (Data, Time, Content) {
    let data = stage.open();
    stage.publish(&data, 1).await;
    data.right.commit(vec![Write::put(Key::new("p", "s"), "right")]).await.unwrap();
    for n in 0..300 {
        data.put(&format!("{n:03}"), format!("{n}").repeat(2000)).await;
    }
    let backup = stage.back_up(&data);
    backup.copy(false).await.unwrap();
    stage.mark();
    for n in 0..300 {
        data.put(&format!("{n:03}"), "second".to_owned()).await;
    }
    stage.publish(&data, 3).await;
    let content = data.content().await;
    let at = stage.mark();
    data.put("later", "third".to_owned()).await;
    backup.copy(false).await.unwrap();
    (data, at, content)
}

fn list(dir: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn files(stage: &Stage) -> Vec<PathBuf> {
    let mut found = list(stage.shelf().join("log"));
    found.extend(list(stage.shelf().join("base")).into_iter().flat_map(list));
    found.push(stage.shelf().join("MANIFEST"));
    found.sort();
    found
}

/// The refusal of a restore, wherever it is noticed. Whoever only tries it out is refused too.
async fn refusal(stage: &Stage, at: Time) -> Option<BackupError> {
    let plan = || backup::Catalog::read(&stage.copies(), None)?.plan(Some(at));
    let refusal = plan().and_then(|plan| stage.restore(&plan, &stage.place())).err();
    let tried = match plan() {
        Ok(plan) => stage.try_out(&plan).await,
        Err(error) => Err(error),
    };
    assert_eq!(tried.is_err(), refusal.is_some(), "{tried:?} or {refusal:?}");
    refusal
}

/// Whether a file is read for a restore to `at`: what was logged before the base is not.
async fn needed(stage: &Stage, at: Time, path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    let refused = refusal(stage, at).await.is_some();
    fs::write(path, bytes).unwrap();
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_file_is_refused_in_one_line() {
    let stage = Stage::new();
    let (_data, at, content) = copied(&stage).await;
    let mut needed_files = 0;
    for path in files(&stage) {
        if !needed(&stage, at, &path).await {
            continue;
        }
        needed_files += 1;
        let bytes = fs::read(&path).unwrap();
        for place in [0, bytes.len() / 3, bytes.len() / 2] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let error = refusal(&stage, at).await.unwrap_or_else(|| panic!("{path:?} at {place}"));
            assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = refusal(&stage, at).await.unwrap();
        assert!(matches!(error, BackupError::Damaged { .. }), "{path:?} cut: {error}");
        fs::remove_file(&path).unwrap();
        assert!(refusal(&stage, at).await.is_some(), "{path:?} is gone");
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(needed_files, 6, "two manifests, three parts, and the log");
    assert_eq!(stage.content_at(at).await, content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_of_other_copies_is_refused() {
    let (stage, other) = (Stage::new(), Stage::new());
    let (_data, at, _) = copied(&stage).await;
    let (_other_data, _, _) = copied(&other).await;
    let part =
        |stage: &Stage| files(stage).into_iter().find(|path| path.ends_with("left")).unwrap();
    // As long, and every chunk's hash is right, but of other rows.
    let (mine, mut bytes) = (part(&stage), fs::read(part(&other)).unwrap());
    let log = files(&other).into_iter().find(|path| path.parent().unwrap().ends_with("log"));
    bytes.splice(0..0, fs::read(log.unwrap()).unwrap());
    fs::write(mine, bytes).unwrap();
    let error = refusal(&stage, at).await.unwrap();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_broken_off_goes_on_where_it_was() {
    let stage = Stage::new();
    let (_data, at, content) = copied(&stage).await;
    let mut plan = stage.plan(at).unwrap();
    // It notes after every chunk.
    plan.noted_bytes = 1;
    let to = stage.place();
    let log = list(stage.shelf().join("log")).into_iter().max().unwrap();
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&log, damaged).unwrap();
    stage.restore(&plan, &to).unwrap_err();
    assert_eq!(backup::unfinished(&to).unwrap(), Some((crate::stage::ID.to_owned(), at)));
    let elsewhere = stage.plan(at + Duration::from_millis(1)).unwrap();
    let refused = stage.restore(&elsewhere, &to).unwrap_err().to_string();
    assert!(refused.contains("unfinished restore"), "{refused}");
    fs::write(&log, whole).unwrap();
    // What is in already is not read again: here it could not be.
    let base = files(&stage).into_iter().find(|path| path.ends_with("left")).unwrap();
    let mut bytes = fs::read(&base).unwrap();
    bytes[60] ^= 1;
    fs::write(&base, bytes).unwrap();
    let progress = Progress::default();
    backup::restore(&plan, &to, &embedded::table::Options::default(), &progress).unwrap();
    assert_eq!(progress.done(), plan.bytes(), "all is counted once");
    backup::finish(&to).unwrap();
    assert_eq!(backup::unfinished(&to).unwrap(), None);
    let clock = std::sync::Arc::clone(&stage.test_clock) as std::sync::Arc<dyn kernel::Clock>;
    assert_eq!(Data::open(&to, &Default::default(), &clock).content().await, content);
    let again = stage.restore(&plan, &to).unwrap_err().to_string();
    assert!(again.ends_with("is not empty"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_cannot_keep_up_takes_a_new_base_and_loses_nothing_silently() {
    let stage = Stage::new();
    let data = stage.open();
    let options = Options { queue_bytes_max: 1, ..stage.options() };
    let backup = stage.try_back_up(&data, options).unwrap();
    let before = backup.copy(false).await.unwrap();
    stage.mark();
    for n in 0..200 {
        data.put(&format!("{n:03}"), "x".repeat(1000)).await;
    }
    let within = stage.mark();
    backup.copy(false).await.unwrap();
    assert_eq!(stage.catalog().copies().len(), 2, "one for each run");
    let refused = stage.plan(within + Duration::from_millis(500)).unwrap_err().to_string();
    assert!(refused.contains("the nearest are"), "{refused}");
    let last = stage.catalog().plan(None).unwrap().at;
    assert_eq!(stage.content_at(last).await, data.content().await);
    assert!(stage.content_at(before).await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_copies_go_and_the_last_never_does() {
    let stage = Stage::new();
    let data = stage.open();
    let day = Duration::from_hours(24);
    let options =
        Options { retention: 35 * day, base_interval: 7 * day, interval: day, ..stage.options() };
    let mut backup = stage.try_back_up(&data, options.clone()).unwrap();
    for n in 0..120 {
        data.put("day", n.to_string()).await;
        backup.copy(false).await.unwrap();
        stage.test_clock.advance(day);
        if n % 5 == 0 {
            // A round of its own, which nobody asked for: old copies go, and new bases are taken.
            drop(backup);
            backup = stage.try_back_up(&data, options.clone()).unwrap();
            backup.copy(n % 10 == 0).await.unwrap();
        }
    }
    drop(backup);
    let copies = stage.catalog().copies();
    let (now, first) = (stage.test_clock.now(), copies[0].from.unwrap());
    let kept = copies.last().unwrap().until.unwrap().since(first);
    assert!(kept >= 35 * day && kept <= 56 * day, "{kept:?} are kept");
    assert!(copies.iter().all(|copy| copy.missing.is_none()), "{copies:?}");
    for back in [34, 20, 1] {
        let at = now - back * day + day / 2;
        let day_then = stage.content_at(at).await.0[0].body.clone();
        assert_eq!(day_then, (120 - back).to_string(), "{back} days back");
    }
    let refused = stage.plan(first - day).unwrap_err().to_string();
    assert!(refused.contains("the first is"), "{refused}");
    // Nothing was copied for a year: what there is stays.
    stage.test_clock.advance(365 * day);
    drop(stage.try_back_up(&data, options).unwrap());
    assert!(!stage.catalog().copies().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_their_owners_alone_and_have_one_writer() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    let (data, at, _) = copied(&stage).await;
    for path in files(&stage) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let to = stage.place();
    stage.restore(&stage.plan(at).unwrap(), &to).unwrap();
    let keys = to.join("keys/signing.json");
    assert_eq!(fs::read_to_string(&keys).unwrap(), "first keys");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    let _first = stage.back_up(&data);
    let second = stage.try_back_up(&data, stage.options()).err().unwrap();
    assert!(matches!(second, BackupError::InUse(_)), "{second}");
    let none = backup::Catalog::read(&stage.place(), None).err().unwrap().to_string();
    assert!(none.contains("there is no backup"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_base_stands_in_for_one_that_is_not_whole() {
    let stage = Stage::new();
    let (data, _, _) = copied(&stage).await;
    let backup = stage.back_up(&data);
    stage.mark();
    let last = backup.copy(true).await.unwrap();
    let mut bases = list(stage.shelf().join("base"));
    bases.sort();
    for lost in ["MANIFEST", "left"] {
        fs::remove_file(bases.last().unwrap().join(lost)).unwrap();
        assert_eq!(stage.content_at(last).await, data.content().await, "without {lost}");
        let copies = stage.catalog().copies();
        assert!(copies.last().unwrap().missing.is_some(), "{copies:?}");
    }
}

/// Tells the child that it is one.
const CHILD: &str = "MINI_SNS_BACKUP_CHILD";

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

fn incompressible(seed: usize) -> String {
    let mut state = seed as u64;
    let next = |_| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    (0..5000).map(next).collect()
}

/// Runs in a process of its own, whose files cannot grow for a while: engines and copies fail.
async fn child() {
    let stage = Stage::new();
    let data = stage.open();
    let backup = stage.back_up(&data);
    data.put("a", "before".to_owned()).await;
    let before = backup.copy(false).await.unwrap();
    stage.mark();
    limit_files(Some(20_000));
    let put = |n: usize, body: String| {
        let key = Key::new("p", format!("{n:03}"));
        data.left.commit(vec![Write::put(key, body)])
    };
    let mut failed = 0;
    for n in 0..20 {
        failed += usize::from(put(n, incompressible(n)).await.is_err());
    }
    assert!(failed > 0, "the engine failed");
    limit_files(None);
    stage.mark();
    let copied = loop {
        let written = put(100, "after".to_owned()).await;
        if let (Ok(()), Ok(copied)) = (written, backup.copy(false).await) {
            break copied;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(stage.catalog().copies().len() > 1, "there is a gap, and a base after it");
    let content = data.content().await;
    assert_eq!(stage.content_at(copied).await, content);
    assert_eq!(stage.content_at(before).await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_on_the_way_to_the_disk_is_a_gap() {
    if std::env::var_os(CHILD).is_some() {
        return child().await;
    }
    // The signal that comes with the limit would end the process; a full disk sends none.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "broken::what_failed_on_the_way_to_the_disk_is_a_gap", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stdout));
}
