//! What the embedded bus promises beyond the suite: opening, numbers, pages of dead letters, time.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

mod bus_stage;
mod encrypted;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus_stage::{Embedded, stage};
use conformance::SeededIds;
use conformance::bus::{Opened, Queues, Recorder, Verdict};
use embedded::bus::{Bus, Options};
use embedded::table::OpenError;
use kernel::bus::{QueuePolicy, QueueSpec};
use kernel::event::Like;
use kernel::queues::{DeadLetter, Queues as _, Which};
use kernel::{Event, EventData, EventKind, Ids, PostId, UserId};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "own";
const OTHER: &str = "other";
const QUEUES: Queues = &[(QUEUE, EventKind::ALL), (OTHER, &[EventKind::UserDeleted])];

fn likes(stage: &Embedded, count: usize) -> Vec<Event> {
    let ids = SeededIds::new(Arc::clone(&stage.clock), 3);
    let like = |_| {
        let (user_id, post_id) = (UserId(ids.ulid()), PostId(ids.ulid()));
        let data = EventData::LikeCreated(Like { user_id, post_id, version: 1 });
        let mut event = Event::new(&*ids, &*stage.clock, data);
        event.traceparent = Some(format!("00-{:032x}-00f067aa0ba902b7-01", event.id.0));
        event
    };
    (0..count).map(like).collect()
}

async fn open(stage: &Embedded) -> bus_stage::Open {
    stage.opened(QUEUES, Options::default()).await
}

/// A bus with `count` dead letters.
async fn with_dead(stage: &Embedded, count: usize) -> bus_stage::Open {
    let opened = open(stage).await;
    opened.bus().publish(&likes(stage, count)).await.unwrap();
    opened.start(vec![Recorder::always(Verdict::Fail).on(QUEUE, 100)]);
    opened.idle().await;
    opened.pass(QueuePolicy::default().visibility).await;
    opened.drained().await;
    opened
}

fn refused(stage: &Embedded) -> OpenError {
    let specs = [QueueSpec { name: QUEUE, kinds: EventKind::ALL }];
    let (policy, options) = (QueuePolicy::default(), Options::default());
    let opened = Bus::open(stage.dir.path(), policy, options, stage.clock.clone(), &specs);
    opened.err().expect("it does not open")
}

#[tokio::test]
async fn a_second_bus_on_the_same_directory_is_refused() {
    let stage = stage();
    let opened = open(&stage).await;
    assert!(refused(&stage).to_string().ends_with("is in use by another process"));
    drop(opened);
    open(&stage).await;
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let stage = stage();
    drop(open(&stage).await);
    std::fs::write(stage.dir.path().join("FORMAT"), "mini-sns bus 3\n").unwrap();
    let error = refused(&stage);
    assert!(matches!(error, OpenError::Newer { found: 3, known: 2, .. }), "{error}");
}

#[tokio::test]
async fn lost_messages_are_noticed_and_the_files_left_alone() {
    let stage = stage();
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 10)).await.unwrap();
    Box::new(opened).stop().await;
    let journal = stage.dir.path().join("queues/0.jnl");
    let good = std::fs::read(&journal).unwrap();
    for bad in [&[][..], &good[1..], &[b"x", &good[1..]].concat()] {
        std::fs::write(&journal, bad).unwrap();
        let error = refused(&stage);
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(std::fs::read(&journal).unwrap() == bad, "the journal is as it was");
    }
    std::fs::write(&journal, good).unwrap();
    assert_eq!(open(&stage).await.bus.stats()[0].waiting, 10);
}

#[tokio::test]
async fn a_directory_that_is_no_directory_is_refused() {
    let stage = stage();
    std::fs::write(stage.dir.path().join("queues"), "a file").unwrap();
    assert!(matches!(refused(&stage), OpenError::Io { .. }));
}

#[tokio::test]
async fn the_numbers_are_right() {
    let stage = stage();
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 10)).await.unwrap();
    opened.pass(Duration::from_secs(90)).await;
    let stats = &opened.bus.stats()[0];
    assert_eq!((stats.queue, stats.waiting, stats.in_flight, stats.dead), (QUEUE, 10, 0, 0));
    assert_eq!(stats.oldest_age, Duration::from_secs(90));
    let hung = Recorder::always(Verdict::Hang);
    opened.start(vec![hung.on(QUEUE, 4)]);
    hung.reached(4).await;
    let stats = &opened.bus.stats()[0];
    assert_eq!((stats.waiting, stats.in_flight), (6, 4));
    Box::new(opened).crash().await;

    let opened = open(&stage).await;
    let stats = &opened.bus.stats()[0];
    assert_eq!((stats.waiting, stats.in_flight), (10, 0));
    assert_eq!(stats.oldest_age, Duration::from_secs(90), "though nothing is in the window yet");
    opened.start(vec![Recorder::always(Verdict::Fail).on(QUEUE, 100)]);
    opened.idle().await;
    let stats = &opened.bus.stats()[0];
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (0, 10, 0), "a first receive each");
    opened.pass(QueuePolicy::default().visibility).await;
    opened.drained().await;
    let stats = &opened.bus.stats()[0];
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (0, 0, 10));
    assert_eq!(stats.oldest_age, Duration::ZERO);
    let dead: Vec<u64> = opened.bus.stats().iter().map(|stats| stats.dead).collect();
    assert_eq!(dead, [10, 0], "the other queue has none");
}

#[tokio::test]
async fn the_numbers_are_published() {
    let stage = stage();
    let opened = with_dead(&stage, 2).await;
    opened.bus().enqueue(OTHER, &[likes(&stage, 1).remove(0).into()]).await.unwrap();
    opened.pass(Duration::from_millis(1_500)).await;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || opened.bus.record_metrics());
    let text = recorder.handle().render();
    for line in [
        "queue_dead_letters{queue=\"own\"} 2",
        "queue_depth{queue=\"own\",state=\"waiting\"} 0",
        "queue_depth{queue=\"other\",state=\"waiting\"} 1",
        "queue_oldest_age_seconds{queue=\"other\"} 1.5",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn nothing_waits_out_a_time_out_after_a_restart() {
    let stage = stage();
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 4)).await.unwrap();
    let hung = Recorder::always(Verdict::Hang);
    opened.start(vec![hung.on(QUEUE, 2)]);
    hung.reached(2).await;
    Box::new(opened).crash().await;
    let opened = open(&stage).await;
    let again = Recorder::always(Verdict::Done);
    opened.start(vec![again.on(QUEUE, 10)]);
    opened.drained().await;
    let batches: Vec<usize> = again.batches().iter().map(Vec::len).collect();
    assert_eq!(batches, [1, 1, 2], "those that were in hand come alone");
}

#[tokio::test]
async fn a_clock_that_moves_unannounced_is_noticed() {
    let stage = stage();
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 1)).await.unwrap();
    let hung = Recorder::always(Verdict::Hang);
    opened.start(vec![hung.on(QUEUE, 1)]);
    hung.reached(1).await;
    stage.clock.advance(QueuePolicy::default().visibility);
    hung.reached(2).await;
}

#[tokio::test]
async fn a_stop_waits_for_the_batch_in_hand() {
    let stage = stage();
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 1)).await.unwrap();
    let hung = Recorder::always(Verdict::Hang);
    let cancel = CancellationToken::new();
    let run = opened.bus.run(vec![hung.on(QUEUE, 1)], cancel.clone());
    let mut run = std::pin::pin!(run);
    tokio::select! {
        ended = &mut run => panic!("{ended:?}"),
        () = hung.reached(1) => cancel.cancel(),
    }
    tokio::select! {
        biased;
        ended = &mut run => panic!("{ended:?}"),
        () = tokio::task::yield_now() => {}
    }
    opened.pass(QueuePolicy::default().visibility).await;
    run.await.unwrap();
    assert_eq!(hung.seen().len(), 1);
}

#[tokio::test]
async fn a_subscription_to_an_unknown_queue_is_refused() {
    let stage = stage();
    let opened = open(&stage).await;
    let unknown = Recorder::always(Verdict::Done).on("unknown", 1);
    let ended = opened.bus.run(vec![unknown], CancellationToken::new()).await;
    assert_eq!(ended.unwrap_err().code.status(), 404);
}

#[tokio::test]
async fn dead_letters_come_in_pages() {
    let stage = stage();
    let opened = with_dead(&stage, 7).await;
    let mut found = Vec::new();
    let mut after = None;
    for expected in [3, 3, 1] {
        let page = opened.bus.dead_list(QUEUE, after.as_deref(), 3).await.unwrap();
        assert_eq!(page.items.len(), expected);
        after = page.next;
        found.extend(page.items);
    }
    assert_eq!(after, None);
    let ids: HashMap<_, _> = found.iter().map(|dead| (dead.id.clone(), dead)).collect();
    assert_eq!(ids.len(), 7);
    for (id, letter) in ids {
        let shown = opened.bus.dead_show(&id).await.unwrap();
        assert_eq!(&shown, letter);
        let message = shown.message.unwrap();
        assert_eq!(shown.traceparent, message.event.traceparent);
        assert_eq!((shown.receives, shown.queue.as_str()), (2, QUEUE));
        let died_at = shown.died_at.expect("it is noted");
        assert_eq!(died_at.since(shown.queued_at), QueuePolicy::default().visibility);
        assert!(shown.body.contains(&message.event.id.to_string()));
    }
}

#[tokio::test]
async fn unknown_dead_letters_are_not_found() {
    let stage = stage();
    let opened = with_dead(&stage, 1).await;
    let id = opened.bus.dead_list(QUEUE, None, 1).await.unwrap().items.remove(0).id;
    assert_eq!(opened.bus.dead_purge(Which::One(&id)).await.unwrap(), 1);
    for unknown in [id.as_str(), "own:77", "own:x", "own", "", "nowhere:0"] {
        let shown = opened.bus.dead_show(unknown).await.unwrap_err();
        let purged = opened.bus.dead_purge(Which::One(unknown)).await.unwrap_err();
        assert_eq!((shown.code.status(), purged.code.status()), (404, 404), "{unknown}");
    }
    let elsewhere = opened.bus.dead_list("nowhere", None, 1).await.unwrap_err();
    assert_eq!(elsewhere.code.status(), 404);
    let foreign = opened.bus.dead_list(OTHER, Some("own:0"), 1).await.unwrap_err();
    assert_eq!(foreign.code.status(), 422);
}

#[tokio::test]
async fn thousands_of_dead_letters_are_redriven_in_order() {
    let stage = stage();
    let opened = with_dead(&stage, 1_200).await;
    Box::new(opened).stop().await;
    let opened = open(&stage).await;
    assert_eq!(opened.bus.dead_redrive(Which::Queue(QUEUE)).await.unwrap(), 1_200);
    let stats = &opened.bus.stats()[0];
    assert_eq!((stats.waiting, stats.dead), (1_200, 0));
    let recorder = Recorder::always(Verdict::Done);
    opened.start(vec![recorder.on(QUEUE, 100)]);
    opened.drained().await;
    let events = recorder.events();
    assert_eq!(events.len(), 1_200);
    assert!(events.is_sorted());
}

#[tokio::test]
async fn dead_letters_past_their_time_leave_the_disk() {
    let stage = stage();
    let opened = with_dead(&stage, 3).await;
    opened.pass(QueuePolicy::default().retention).await;
    while opened.bus.stats()[0].dead > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_queue_with_too_much_in_flight_waits() {
    let stage = stage();
    let options = Options { in_flight_max: 10, ..Options::default() };
    let opened = stage.opened(QUEUES, options).await;
    opened.bus().publish(&likes(&stage, 30)).await.unwrap();
    let recorder = Recorder::always(Verdict::Fail);
    opened.start(vec![recorder.on(QUEUE, 4)]);
    recorder.reached(10).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(recorder.seen().len(), 10, "the rest waits behind the hidden ones");
    while opened.bus.stats()[0].dead < 30 {
        opened.pass(QueuePolicy::default().visibility).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(recorder.seen().len(), 60);
}

#[tokio::test]
async fn a_small_window_loses_nothing() {
    let stage = stage();
    let options = Options { window_messages: 3, window_bytes: 1_000, ..Options::default() };
    let opened = stage.opened(QUEUES, options).await;
    let events = likes(&stage, 200);
    opened.bus().publish(&events[..100]).await.unwrap();
    let recorder = Recorder::always(Verdict::Done);
    opened.start(vec![recorder.on(QUEUE, 2)]);
    for event in &events[100..] {
        opened.bus().publish(std::slice::from_ref(event)).await.unwrap();
    }
    opened.drained().await;
    assert_eq!(recorder.events(), events.iter().map(|event| event.id).collect::<Vec<_>>());
}

/// Opens the bus again, of whose messages one can be handled, and lists the others.
async fn all_but_one_dead(stage: &Embedded) -> (bus_stage::Open, Vec<DeadLetter>) {
    let opened = open(stage).await;
    let recorder = Recorder::always(Verdict::Done);
    opened.start(vec![recorder.on(QUEUE, 10)]);
    opened.drained().await;
    assert_eq!(recorder.seen().len(), 1);
    let dead = opened.bus.dead_list(QUEUE, None, 10).await.unwrap().items;
    (opened, dead)
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_laid_aside_as_it_is() {
    let stage = stage();
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 3)).await.unwrap();
    Box::new(opened).stop().await;
    let db = fjall::Database::builder(stage.dir.path().join("queues")).open().unwrap();
    let rows = db.keyspace("queues", fjall::KeyspaceCreateOptions::default).unwrap();
    rows.insert(b"mown\0\0\0\0\0\0\0\0\0", r#"{"queued":1767225600000,"message":{"later":1}}"#)
        .unwrap();
    rows.insert(b"mown\0\0\0\0\0\0\0\0\x01", "garbage").unwrap();
    drop((rows, db));
    let (opened, dead) = all_but_one_dead(&stage).await;
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert_eq!((dead[0].message.clone(), dead[0].body.as_str()), (None, r#"{"later":1}"#));
    assert!(dead[0].reason.contains("missing field"), "{}", dead[0].reason);
    assert_eq!(dead[1].body, "\"garbage\"");
    assert_eq!(opened.bus.dead_redrive(Which::Queue(QUEUE)).await.unwrap(), 0);
    assert_eq!(opened.bus.stats()[0].dead, 2);
    assert_eq!(opened.bus.dead_purge(Which::Queue(QUEUE)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_sealed_message_that_was_changed_or_moved_is_laid_aside() {
    let mut stage = stage();
    stage.encryption = encrypted::encryption(stage.dir.path());
    let opened = open(&stage).await;
    opened.bus().publish(&likes(&stage, 4)).await.unwrap();
    Box::new(opened).stop().await;
    let db = fjall::Database::builder(stage.dir.path().join("queues")).open().unwrap();
    let rows = db.keyspace("queues", fjall::KeyspaceCreateOptions::default).unwrap();
    let key = |pos: u8| [b"mown\0\0\0\0\0\0\0\0", &[pos][..]].concat();
    let mut changed = rows.get(key(0)).unwrap().unwrap().to_vec();
    changed[30] ^= 1;
    rows.insert(key(0), changed).unwrap();
    rows.insert(key(1), rows.get(key(2)).unwrap().unwrap()).unwrap();
    rows.insert(key(2), r#"{"queued":1767225600000,"message":{"later":1}}"#).unwrap();
    drop((rows, db));
    let (_opened, dead) = all_but_one_dead(&stage).await;
    assert_eq!(dead.len(), 3, "{dead:?}");
    assert!(dead.iter().all(|dead| dead.message.is_none() && dead.body.contains("sealed")));
}
