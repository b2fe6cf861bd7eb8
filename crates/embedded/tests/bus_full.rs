//! A disk that takes no more: refused, nothing answered is lost, and all is well again without a
//! restart once there is room. The test runs itself as a child under a limit on the size of files.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use conformance::bus::{Recorder, Verdict};
use conformance::{SeededIds, TestClock};
use embedded::bus::{Bus, Options};
use kernel::bus::{Bus as _, QueuePolicy, QueueSpec};
use kernel::event::Like;
use kernel::{Event, EventData, EventKind, Ids, PostId, UserId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "full";
const CHILD: &str = "MINI_SNS_BUS_FULL_CHILD";
const SPECS: &[QueueSpec] = &[QueueSpec { name: QUEUE, kinds: EventKind::ALL }];

fn likes(ids: &SeededIds, clock: &TestClock, count: usize) -> Vec<Event> {
    let like = |_| {
        let (user_id, post_id) = (UserId(ids.ulid()), PostId(ids.ulid()));
        Event::new(ids, clock, EventData::LikeCreated(Like { user_id, post_id, version: 1 }))
    };
    (0..count).map(like).collect()
}

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

async fn child() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let ids = SeededIds::new(Arc::clone(&clock), 1);
    let (policy, options) = (QueuePolicy::default(), Options::default());
    let bus = Bus::open(dir.path(), policy, options, clock.clone(), SPECS).unwrap();
    let mut answered = Vec::new();
    for events in (0..5).map(|_| likes(&ids, &clock, 10)) {
        bus.publish(&events).await.unwrap();
        answered.extend(events);
    }
    // The journal cannot grow any more: the engine fails in the middle of a batch.
    limit_files(Some(20_000));
    for _ in 0..3 {
        let error = bus.publish(&likes(&ids, &clock, 10)).await.unwrap_err();
        assert_eq!(error.refused.len(), 10);
    }
    limit_files(None);
    while answered.len() < 100 {
        let events = likes(&ids, &clock, 10);
        match bus.publish(&events).await {
            Ok(()) => answered.extend(events),
            // It is opened again ever less often.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let recorder = Recorder::always(Verdict::Done);
    tokio::select! {
        ended = bus.run(vec![recorder.on(QUEUE, 10)], CancellationToken::new()) => {
            panic!("{ended:?}")
        }
        () = bus.drain() => {}
    }
    let seen = recorder.events();
    let lost = answered.iter().filter(|event| !seen.contains(&event.id)).count();
    assert_eq!(lost, 0, "of {}", answered.len());
}

#[tokio::test]
async fn a_failing_engine_loses_nothing_and_recovers() {
    if std::env::var_os(CHILD).is_some() {
        return child().await;
    }
    // The signal that comes with the limit would end the process; a full disk sends none.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_failing_engine_loses_nothing_and_recovers", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn a_nearly_full_disk_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let ids = SeededIds::new(Arc::clone(&clock), 1);
    let policy = QueuePolicy::default();
    let open = |free_space_floor_bytes| {
        let options = Options { free_space_floor_bytes, ..Options::default() };
        Bus::open(dir.path(), policy, options, clock.clone(), SPECS).unwrap()
    };
    let (before, refused) = (likes(&ids, &clock, 3), likes(&ids, &clock, 3));
    let bus = open(0);
    bus.publish(&before).await.unwrap();
    drop(bus);
    let bus = open(u64::MAX);
    let error = bus.publish(&refused).await.unwrap_err();
    assert_eq!(error.refused, [0, 1, 2]);
    assert!(error.reason.contains("bytes of disk space are left"), "{}", error.reason);
    // What is there already is worked off all the same: that makes room.
    let recorder = Recorder::always(Verdict::Done);
    tokio::select! {
        ended = bus.run(vec![recorder.on(QUEUE, 10)], CancellationToken::new()) => {
            panic!("{ended:?}")
        }
        () = bus.drain() => {}
    }
    assert_eq!(recorder.seen().len(), 3);
}
