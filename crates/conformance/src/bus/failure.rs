//! Cases: what becomes of a message that is not done.

#![expect(missing_docs, reason = "a case's name says what it demands")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::Problem;
use kernel::bus::{Delivery, Failed, Handler, Subscription};

use super::{A, B, ONE, Recorder, Stage, TWO, Verdict};
use super::{ids_of, likes, sorted, visibility};

pub async fn only_the_failed_part_of_a_batch_comes_again(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let events = likes(stage, 5);
    let bad = events[2].id;
    opened.bus().publish(&events).await.expect("the bus takes it");
    let a = Recorder::ruled(move |delivery| match delivery.receives {
        1 if delivery.message.event.id == bad => Verdict::Fail,
        _ => Verdict::Done,
    });
    opened.start(vec![a.on(A, 10)]);
    a.reached(5).await;
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    let last = a.seen().pop().expect("something was seen");
    assert_eq!((a.seen().len(), last.message.event.id, last.receives), (6, bad, 2));
    assert!(opened.dead(A).await.is_empty());
}

pub async fn a_failed_message_stays_hidden_until_its_time_is_over(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 1)).await.expect("the bus takes it");
    let a = Recorder::ruled(|delivery| match delivery.receives {
        1 => Verdict::Fail,
        _ => Verdict::Done,
    });
    opened.start(vec![a.on(A, 10)]);
    a.reached(1).await;
    let grain = stage.pace().grain;
    opened.pass(visibility(stage) - grain).await;
    opened.idle().await;
    assert_eq!(a.seen().len(), 1);
    opened.pass(grain).await;
    opened.drained().await;
    assert_eq!(a.seen().len(), 2);
}

pub async fn a_failing_message_holds_up_no_other(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let events = likes(stage, 20);
    let bad = events[0].id;
    opened.bus().publish(&events).await.expect("the bus takes it");
    let a = Recorder::ruled(move |delivery| match delivery.message.event.id {
        id if id == bad => Verdict::Fail,
        _ => Verdict::Done,
    });
    opened.start(vec![a.on(A, 1)]);
    opened.idle().await;
    // Where time passes by itself, the failed one may have come again already.
    let mut seen = sorted(a.events());
    seen.dedup();
    assert_eq!(seen, ids_of(&events));
}

pub async fn two_receives_then_the_dead_letters(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let events = likes(stage, 1);
    opened.bus().publish(&events).await.expect("the bus takes it");
    let a = Recorder::always(Verdict::Fail);
    opened.start(vec![a.on(A, 10)]);
    opened.idle().await;
    assert!(opened.dead(A).await.is_empty());
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    opened.pass(visibility(stage)).await;
    opened.idle().await;
    let receives: Vec<u32> = a.seen().iter().map(|delivery| delivery.receives).collect();
    assert_eq!(receives, [1, 2]);
    let dead = opened.dead(A).await;
    assert_eq!((dead.len(), dead[0].receives), (1, 2));
    assert_eq!(dead[0].message.event, events[0]);
    assert!(dead[0].reason.contains("There is no such moon."), "{}", dead[0].reason);
}

pub async fn each_queue_has_its_own_dead_letters(stage: &dyn Stage) {
    let opened = stage.open(TWO, None).await;
    opened.bus().publish(&likes(stage, 2)).await.expect("the bus takes it");
    let (a, b) = (Recorder::always(Verdict::Done), Recorder::always(Verdict::Fail));
    opened.start(vec![a.on(A, 10), b.on(B, 10)]);
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    assert!(opened.dead(A).await.is_empty());
    assert_eq!(opened.dead(B).await.len(), 2);
    assert_eq!(a.seen().len(), 2);
}

pub async fn a_panic_counts_as_a_failure(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 1)).await.expect("the bus takes it");
    let a = Recorder::ruled(|delivery| match delivery.receives {
        1 => Verdict::Panic,
        _ => Verdict::Done,
    });
    opened.start(vec![a.on(A, 10)]);
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    assert_eq!(a.seen().len(), 2);
}

pub async fn a_handler_that_always_panics_fills_the_dead_letters(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 3)).await.expect("the bus takes it");
    opened.start(vec![Recorder::always(Verdict::Panic).on(A, 10)]);
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    assert_eq!(opened.dead(A).await.len(), 3);
}

pub async fn a_handler_that_takes_too_long_has_failed(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 1)).await.expect("the bus takes it");
    let a = Recorder::always(Verdict::Hang);
    opened.start(vec![a.on(A, 10)]);
    a.reached(1).await;
    opened.pass(visibility(stage)).await;
    a.reached(2).await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    assert_eq!(opened.dead(A).await.len(), 1);
}

struct Confused(Arc<Recorder>);

#[async_trait]
impl Handler for Confused {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        self.0.handle(batch).await;
        vec![Failed { id: "no such delivery".into(), problem: Problem::not_found("moon") }]
    }
}

pub async fn a_failure_of_an_unknown_delivery_hurts_nobody(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 2)).await.expect("the bus takes it");
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![Subscription { handler: Arc::new(Confused(Arc::clone(&a))), ..a.on(A, 10) }]);
    opened.drained().await;
    assert_eq!(a.seen().len(), 2);
}

pub async fn a_message_is_kept_for_the_retention_and_no_longer(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let old = likes(stage, 3);
    opened.bus().publish(&old).await.expect("the bus takes it");
    opened.pass(Duration::from_hours(1)).await;
    let new = likes(stage, 2);
    opened.bus().publish(&new).await.expect("the bus takes it");
    opened.pass(stage.pace().policy.retention - Duration::from_hours(1)).await;
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    assert_eq!(a.events(), ids_of(&new));
    assert!(opened.dead(A).await.is_empty());
}

pub async fn a_dead_letter_s_retention_counts_from_its_first_queueing(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 1)).await.expect("the bus takes it");
    opened.pass(Duration::from_hours(24)).await;
    opened.start(vec![Recorder::always(Verdict::Fail).on(A, 10)]);
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    let left = stage.pace().policy.retention - Duration::from_hours(24) - visibility(stage);
    opened.pass(left - Duration::from_millis(1)).await;
    assert_eq!(opened.dead(A).await.len(), 1);
    opened.pass(Duration::from_millis(1)).await;
    assert!(opened.dead(A).await.is_empty());
}
