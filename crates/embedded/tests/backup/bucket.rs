//! Copies in a bucket: all that those in a directory promise, whatever the way there does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use embedded::backup::{self, Backup, BackupError, Options, Plan, Progress, Reader};
use kernel::{Clock, Time};

use crate::cloud::Cloud;
use crate::stage::{Content, Data, ID, Stage};

fn options(stage: &Stage, cloud: &Arc<Cloud>) -> Options {
    Options { bucket: Some(cloud.bucket()), ..stage.options() }
}

fn back_up(stage: &Stage, cloud: &Arc<Cloud>, data: &Data) -> Backup {
    stage.try_back_up(data, options(stage, cloud)).unwrap()
}

/// Restores out of the bucket alone.
async fn restore(
    cloud: &Arc<Cloud>,
    at: Time,
    stage: &Stage,
    to: &Path,
) -> Result<(), BackupError> {
    let reader = Reader::of_bucket(cloud.bucket(), backup::scratch(to)?);
    let plan: Plan = reader.catalog(None).await?.plan(Some(at))?;
    backup::begin(&plan, to)?;
    reader.fetch(&plan, &Progress::default()).await?;
    reader.held(stage.restore(&plan, to))
}

async fn content_at(stage: &Stage, cloud: &Arc<Cloud>, at: Time) -> Content {
    let to = stage.place();
    restore(cloud, at, stage, &to).await.unwrap();
    assert!(!to.join("RESTORE").exists());
    stage.open_at(&to).content().await
}

/// Files of copies on this machine's disk, by their sizes.
fn spooled(stage: &Stage) -> u64 {
    fn below(dir: PathBuf) -> u64 {
        let size = |entry: fs::DirEntry| match entry.metadata().unwrap() {
            file if file.is_file() => file.len(),
            _ => below(entry.path()),
        };
        fs::read_dir(dir).unwrap().map(Result::unwrap).map(size).sum()
    }
    below(stage.shelf())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_alone_brings_back_every_moment() {
    let (stage, cloud) = (Stage::new(), Cloud::new());
    let data = stage.open();
    let backup = back_up(&stage, &cloud, &data);
    for n in 0..40 {
        data.put(&format!("large {n}"), incompressible(n, 300_000)).await;
    }
    stage.publish(&data, 3).await;
    backup.copy(true).await.unwrap();
    stage.mark();
    backup.copy(false).await.unwrap();
    let (first, at_first) = (data.content().await, stage.mark());
    data.put("large 0", "small now".to_owned()).await;
    stage.write_keys("other keys");
    backup.copy(false).await.unwrap();
    let (second, at_second) = (data.content().await, stage.mark());
    data.put("last", "before the stop".to_owned()).await;
    drop(backup);
    let (third, at_third) = (data.content().await, stage.mark());

    let names = cloud.names().await;
    assert!(names.iter().any(|name| *name == format!("{ID}/base/000001/left")), "{names:?}");
    assert!(spooled(&stage) < 1 << 20, "what is in the bucket need not be here too");
    fs::remove_dir_all(stage.copies()).unwrap();
    let reader = Reader::of_bucket(cloud.bucket(), stage.place());
    let catalog = reader.catalog(Some(ID)).await.unwrap();
    assert!(catalog.copies().iter().all(|copy| copy.missing.is_none()), "{:?}", catalog.copies());
    reader.check(&catalog, &Progress::default()).await.unwrap();
    for (at, content) in [(at_first, first), (at_second, second)] {
        assert_eq!(content_at(&stage, &cloud, at).await, content);
    }
    let last = catalog.plan(None).unwrap().at;
    assert!(last <= at_third);
    assert_eq!(content_at(&stage, &cloud, last).await, third);
}

/// Text that no compression makes small.
fn incompressible(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        char::from(b'0' + u8::try_from((state >> 33) % 64).unwrap())
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_is_away_nothing_stops_and_nothing_is_lost() {
    let (stage, cloud) = (Stage::new(), Cloud::new());
    let data = stage.open();
    cloud.away.store(true, Ordering::SeqCst);
    let refused = stage.try_back_up(&data, options(&stage, &cloud)).err().unwrap();
    assert!(refused.to_string().contains("the bucket is away"), "{refused}");
    cloud.away.store(false, Ordering::SeqCst);
    let backup = back_up(&stage, &cloud, &data);
    data.put("a", "1".to_owned()).await;
    backup.copy(false).await.unwrap();
    stage.mark();

    cloud.away.store(true, Ordering::SeqCst);
    data.put("a", "2".to_owned()).await;
    let refused = backup.copy(false).await.unwrap_err().to_string();
    let (place, why) = refused.split_once(": ").unwrap();
    assert!(place.starts_with(&format!("s3://copies/of/ours/{ID}/")), "{refused}");
    assert_eq!(why, "the bucket is away");
    let (content, at) = (data.content().await, stage.mark());
    // Not even a restart needs it.
    drop(backup);
    stage.mark();
    let backup = back_up(&stage, &cloud, &data);
    data.put("a", "3".to_owned()).await;
    backup.copy(false).await.unwrap_err();
    cloud.away.store(false, Ordering::SeqCst);
    backup.copy(false).await.unwrap();
    assert_eq!(content_at(&stage, &cloud, at).await, content);
    let reader = Reader::of_bucket(cloud.bucket(), stage.place());
    let copies = reader.catalog(None).await.unwrap().copies();
    assert_eq!(copies.len(), 1, "there was no gap: {copies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_no_other_writer_and_another_writer_is() {
    let (stage, cloud) = (Stage::new(), Cloud::new());
    let data = stage.open();
    let backup = back_up(&stage, &cloud, &data);
    backup.copy(false).await.unwrap();
    for again in 0..3 {
        data.put("a", again.to_string()).await;
        cloud.loses_answer.store(true, Ordering::SeqCst);
        // Whoever asked is told, or it was sent again before that.
        let _ = backup.copy(false).await;
        assert!(!cloud.loses_answer.load(Ordering::SeqCst), "round {again}");
        backup.copy(false).await.unwrap();
    }
    // The same with a kill in between, after which the spool is as it was then.
    data.put("a", "killed".to_owned()).await;
    cloud.loses_answer.store(true, Ordering::SeqCst);
    drop(backup);
    let backup = back_up(&stage, &cloud, &data);
    backup.copy(false).await.unwrap();

    // A copy of the machine goes on with a copy of the spool.
    let twin = Stage::new();
    drop(backup);
    copy_dir(&stage.copies(), &twin.copies());
    let backup = back_up(&stage, &cloud, &data);
    let twin_data = twin.open();
    data.put("a", "of the first".to_owned()).await;
    backup.copy(false).await.unwrap();
    let other = back_up(&twin, &cloud, &twin_data);
    let before = cloud.names().await;
    let refused = other.copy(false).await.unwrap_err();
    assert!(matches!(refused, BackupError::InUse(_)), "{refused}");
    drop(other);
    assert_eq!(cloud.names().await, before, "it changed nothing");
    backup.copy(false).await.unwrap();
    let (content, at) = (data.content().await, stage.mark());
    backup.copy(false).await.unwrap();
    assert_eq!(content_at(&stage, &cloud, at).await, content);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_dir(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_named_and_once_it_is_whole_the_restore_goes_on() {
    let (stage, cloud) = (Stage::new(), Cloud::new());
    let data = stage.open();
    let backup = back_up(&stage, &cloud, &data);
    data.put("a", "0".to_owned()).await;
    backup.copy(true).await.unwrap();
    stage.mark();
    data.put("a", "1".to_owned()).await;
    backup.copy(false).await.unwrap();
    let (content, at) = (data.content().await, stage.mark());
    backup.copy(false).await.unwrap();
    drop(backup);
    let names = cloud.names().await;
    let last = |of: &str, end: &str| {
        let mut found = names.iter().filter(|name| name.contains(of) && name.ends_with(end));
        found.next_back().unwrap().clone()
    };
    for name in [last("/base/", "/left"), last("/log/", "")] {
        let whole = cloud.read(&name).await;
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        cloud.write(&name, damaged).await;
        let reader = Reader::of_bucket(cloud.bucket(), stage.place());
        let catalog = reader.catalog(None).await.unwrap();
        let address = format!("s3://copies/of/ours/{name} is damaged");
        let refused = reader.check(&catalog, &Progress::default()).await.unwrap_err().to_string();
        assert!(refused.starts_with(&address), "{refused}");
        let to = stage.place();
        let refused = restore(&cloud, at, &stage, &to).await.unwrap_err().to_string();
        assert!(refused.starts_with(&address), "{refused}");
        cloud.write(&name, whole).await;
        restore(&cloud, at, &stage, &to).await.unwrap();
        assert_eq!(stage.open_at(&to).content().await, content);
    }
    let reader = Reader::of_bucket(cloud.bucket(), stage.place());
    let later = stage.test_clock.now() + Duration::from_hours(1);
    let refused = reader.catalog(None).await.unwrap().plan(Some(later)).unwrap_err().to_string();
    assert!(refused.starts_with("no backup in s3://copies/of/ours has the moment"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_spool_is_taken_up_from_the_bucket_and_old_objects_go() {
    let (stage, cloud) = (Stage::new(), Cloud::new());
    let data = stage.open();
    let day = Duration::from_hours(24);
    let options = Options { base_interval: 7 * day, interval: day, ..options(&stage, &cloud) };
    for n in 0..60 {
        let backup = stage.try_back_up(&data, options.clone()).unwrap();
        data.put("day", n.to_string()).await;
        backup.copy(n % 10 == 0).await.unwrap();
        stage.test_clock.advance(day);
        drop(backup);
        if n % 20 == 10 {
            fs::remove_dir_all(stage.copies()).unwrap();
        }
    }
    let now = stage.test_clock.now();
    let names = cloud.names().await;
    assert!(!names.contains(&format!("{ID}/base/000001/MANIFEST")), "{names:?}");
    assert!(!names.contains(&format!("{ID}/log/000001")), "{names:?}");
    for back in [34, 20, 1] {
        let at = now - back * day + day / 2;
        let then = content_at(&stage, &cloud, at).await.0[0].body.clone();
        assert_eq!(then, (60 - back).to_string(), "{back} days back");
    }
}
