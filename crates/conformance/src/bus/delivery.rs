//! Cases: what arrives, where, and how.

#![expect(missing_docs, reason = "a case's name says what it demands")]

use std::slice::from_ref;
use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Bus, Delivery, Failed, Handler, Message, Subscription};
use kernel::trace::{TraceContext, TraceId};
use kernel::{Clock, EventData, EventKind, Ids, Profile, UserId, request};
use tokio::sync::{Barrier, watch};

use super::{A, B, LIKES, ONE, Recorder, Stage, TWO, Verdict};
use super::{deletion, ids, ids_of, likes, sorted};

pub async fn an_event_reaches_every_queue_that_takes_its_kind(stage: &dyn Stage) {
    let opened = stage.open(TWO, None).await;
    let (a, b) = (Recorder::always(Verdict::Done), Recorder::always(Verdict::Done));
    opened.start(vec![a.on(A, 10), b.on(B, 10)]);
    let events = likes(stage, 3);
    opened.bus().publish(&events).await.expect("the bus takes it");
    opened.drained().await;
    assert_eq!(sorted(a.events()), ids_of(&events));
    assert_eq!(sorted(b.events()), ids_of(&events));
}

pub async fn a_queue_gets_only_its_kinds(stage: &dyn Stage) {
    let opened = stage.open(TWO, None).await;
    let (a, b) = (Recorder::always(Verdict::Done), Recorder::always(Verdict::Done));
    opened.start(vec![a.on(A, 10), b.on(B, 10)]);
    let other = deletion(stage);
    opened.bus().publish(from_ref(&other)).await.expect("the bus takes it");
    opened.drained().await;
    assert_eq!(a.events(), [other.id]);
    assert!(b.seen().is_empty());
}

pub async fn an_event_that_nobody_takes_is_no_error(stage: &dyn Stage) {
    let opened = stage.open(&[(B, LIKES)], None).await;
    opened.bus().publish(&[deletion(stage)]).await.expect("the bus takes it");
    opened.bus().publish(&[]).await.expect("the bus takes it");
    opened.drained().await;
}

pub async fn an_event_arrives_as_it_was_published(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    let mut events = likes(stage, 2);
    events[1].traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    opened.bus().publish(&events).await.expect("the bus takes it");
    opened.drained().await;
    let mut seen: Vec<Message> = a.seen().into_iter().map(|delivery| delivery.message).collect();
    seen.sort_by_key(|message| message.event.id);
    assert_eq!(seen, events.into_iter().map(Message::from).collect::<Vec<_>>());
    assert!(a.seen().iter().all(|delivery| delivery.receives == 1));
}

pub async fn one_worker_keeps_the_order(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let events = likes(stage, 300);
    let (first, second) = events.split_at(200);
    opened.bus().publish(first).await.expect("the bus takes it");
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 7)]);
    for event in second {
        opened.bus().publish(from_ref(event)).await.expect("the bus takes it");
    }
    opened.drained().await;
    assert_eq!(a.events(), ids_of(&events));
}

pub async fn batches_are_no_larger_than_asked(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 25)).await.expect("the bus takes it");
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 4)]);
    opened.drained().await;
    let batches = a.batches();
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 25);
    assert!(batches.iter().all(|batch| (1..=4).contains(&batch.len())));
    for batch in batches {
        let names: std::collections::HashSet<_> = batch.iter().map(|one| &one.id).collect();
        assert_eq!(names.len(), batch.len(), "ids within a batch are distinct");
    }
}

/// Answers only when as many batches are in work as it wants.
struct Together(Barrier);

#[async_trait]
impl Handler for Together {
    async fn handle(&self, _: Vec<Delivery>) -> Vec<Failed> {
        self.0.wait().await;
        Vec::new()
    }
}

pub async fn workers_work_at_the_same_time(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let handler = Arc::new(Together(Barrier::new(4)));
    let (kinds, workers) = (EventKind::ALL, 4);
    opened.start(vec![Subscription { queue: A, kinds, batch_max: 1, workers, handler }]);
    opened.bus().publish(&likes(stage, 8)).await.expect("the bus takes it");
    opened.drained().await;
}

/// Goes on twice, a page at a time.
struct Pages(Arc<dyn Bus>, Arc<Recorder>);

#[async_trait]
impl Handler for Pages {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        for Delivery { message, .. } in &batch {
            let next = match message.cursor.as_deref() {
                None => "page 2",
                Some("page 2") => "page 3",
                Some(_) => continue,
            };
            let message = Message { cursor: Some(next.into()), ..message.clone() };
            self.0.enqueue(A, &[message]).await.expect("the bus takes it");
        }
        self.1.handle(batch).await
    }
}

pub async fn a_handler_can_go_on_with_a_cursor(stage: &dyn Stage) {
    let opened = stage.open(TWO, None).await;
    let (a, b) = (Recorder::always(Verdict::Done), Recorder::always(Verdict::Done));
    let handler = Arc::new(Pages(opened.bus(), Arc::clone(&a)));
    opened.start(vec![Subscription { handler, ..a.on(A, 10) }, b.on(B, 10)]);
    opened.bus().publish(&likes(stage, 1)).await.expect("the bus takes it");
    opened.drained().await;
    let cursors: Vec<_> = a.seen().into_iter().map(|delivery| delivery.message.cursor).collect();
    assert_eq!(cursors, [None, Some("page 2".to_owned()), Some("page 3".to_owned())]);
    assert_eq!(b.seen().len(), 1, "further work is the queue's own");
}

pub async fn a_message_that_is_too_large_is_refused_alone(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let mut events = likes(stage, 3);
    let id = UserId(ids(stage).ulid());
    let now = stage.clock().now();
    events[1].data = EventData::UserRegistered(Profile {
        user_id: id,
        handle: "large".into(),
        display_name: String::new(),
        bio: "x".repeat(300 * 1024),
        created_at: now,
        updated_at: now,
    });
    let error = opened.bus().publish(&events).await.expect_err("it is refused");
    assert_eq!(error.refused, [1]);
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    assert_eq!(sorted(a.events()), [events[0].id, events[2].id]);
}

pub async fn an_unknown_queue_takes_nothing(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let messages: Vec<Message> = likes(stage, 2).into_iter().map(Message::from).collect();
    let error = opened.bus().enqueue("no-such-queue", &messages).await.expect_err("it is refused");
    assert_eq!(error.refused, [0, 1]);
}

pub async fn many_publishers_lose_nothing(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![Subscription { workers: 3, ..a.on(A, 10) }]);
    let events = likes(stage, 400);
    let publishers = events.chunks(8).map(|part| {
        let (bus, part) = (opened.bus(), part.to_vec());
        tokio::spawn(async move { bus.publish(&part).await })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("it ends").expect("the bus takes it");
    }
    opened.drained().await;
    assert_eq!(sorted(a.events()), sorted(ids_of(&events)));
}

/// Tells the trace it works in. As a part of what, there, is for whoever records to say.
struct Traced(watch::Sender<Option<TraceId>>);

#[async_trait]
impl Handler for Traced {
    async fn handle(&self, _: Vec<Delivery>) -> Vec<Failed> {
        self.0.send_replace(request::trace().map(|trace| trace.trace_id));
        Vec::new()
    }
}

pub async fn a_handler_works_in_the_trace_of_its_event(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let handler = Arc::new(Traced(watch::Sender::new(None)));
    let told = handler.0.subscribe();
    let (kinds, batch_max, workers) = (EventKind::ALL, 10, 1);
    opened.start(vec![Subscription { queue: A, kinds, batch_max, workers, handler }]);
    let mut events = likes(stage, 1);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    events[0].traceparent = Some(trace.to_owned());
    opened.bus().publish(&events).await.expect("the bus takes it");
    opened.drained().await;
    let trace = TraceContext::parse(trace).map(|trace| trace.trace_id);
    assert!(trace.is_some() && *told.borrow() == trace);
}
