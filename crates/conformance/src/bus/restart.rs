//! Cases: dead letters in the operator's hands, restarts, crashes, disorder.

#![expect(missing_docs, reason = "a case's name says what it demands")]

use std::collections::HashMap;

use kernel::Event;
use kernel::bus::Delivery;
use ulid::Ulid;

use super::{A, ONE, Recorder, Stage, Verdict};
use super::{ids_of, kill, likes, sorted, visibility};

pub async fn a_redriven_message_is_a_new_one(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    let events = likes(stage, 3);
    kill(stage, &*opened, &events).await;
    opened.stop().await;
    let opened = stage.open(ONE, None).await;
    assert_eq!(opened.redrive(A).await, 3);
    assert!(opened.dead(A).await.is_empty());
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    assert_eq!(sorted(a.events()), ids_of(&events));
    assert!(a.seen().iter().all(|delivery| delivery.receives == 1));
    assert_eq!(opened.redrive(A).await, 0);
}

pub async fn one_dead_letter_can_be_redriven_alone(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    kill(stage, &*opened, &likes(stage, 3)).await;
    opened.stop().await;
    let opened = stage.open(ONE, None).await;
    let dead = opened.dead(A).await;
    assert_eq!(opened.redrive_one(&dead[1].id).await.expect("it is there"), 1);
    let left: Vec<String> = opened.dead(A).await.into_iter().map(|dead| dead.id).collect();
    assert_eq!(left, [dead[0].id.clone(), dead[2].id.clone()]);
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    assert_eq!(a.events(), [dead[1].message.event.id]);
    assert_eq!(
        opened.redrive_one(&dead[1].id).await.expect_err("it is refused").code.status(),
        404
    );
    assert_eq!(opened.redrive_one("moon").await.expect_err("it is refused").code.status(), 404);
}

pub async fn purged_dead_letters_are_gone_for_good(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    kill(stage, &*opened, &likes(stage, 3)).await;
    assert_eq!(opened.purge(A).await, 3);
    assert!(opened.dead(A).await.is_empty());
    opened.stop().await;
    let opened = stage.open(ONE, None).await;
    assert!(opened.dead(A).await.is_empty());
    assert_eq!((opened.purge(A).await, opened.redrive(A).await), (0, 0));
}

pub async fn what_nobody_consumes_waits(stage: &dyn Stage) {
    let events = likes(stage, 50);
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&events[..25]).await.expect("the bus takes it");
    opened.stop().await;
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&events[25..]).await.expect("the bus takes it");
    opened.crash().await;
    let opened = stage.open(ONE, None).await;
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    assert_eq!(sorted(a.events()), ids_of(&events));
}

pub async fn a_clean_stop_repeats_nothing(stage: &dyn Stage) {
    let events = likes(stage, 200);
    let mut seen = Vec::new();
    for part in events.chunks(50) {
        let opened = stage.open(ONE, None).await;
        let a = Recorder::always(Verdict::Done);
        opened.start(vec![a.on(A, 10)]);
        opened.bus().publish(part).await.expect("the bus takes it");
        // In the middle of its work: whatever is not in hand yet waits for the next one.
        a.reached(1).await;
        opened.stop().await;
        seen.extend(a.events());
    }
    let opened = stage.open(ONE, None).await;
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 10)]);
    opened.drained().await;
    seen.extend(a.events());
    assert_eq!(sorted(seen), sorted(ids_of(&events)));
}

pub async fn failures_are_remembered_over_a_restart(stage: &dyn Stage) {
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&likes(stage, 2)).await.expect("the bus takes it");
    opened.start(vec![Recorder::always(Verdict::Fail).on(A, 10)]);
    opened.idle().await;
    opened.stop().await;
    let opened = stage.open(ONE, None).await;
    let a = Recorder::always(Verdict::Fail);
    opened.start(vec![a.on(A, 10)]);
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    assert!(a.seen().iter().all(|delivery| delivery.receives == 2));
    assert_eq!(opened.dead(A).await.len(), 2);
}

pub async fn what_was_in_hand_at_a_crash_comes_again(stage: &dyn Stage) {
    let events = likes(stage, 5);
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&events).await.expect("the bus takes it");
    let hung = Recorder::always(Verdict::Hang);
    opened.start(vec![hung.on(A, 3)]);
    hung.reached(3).await;
    opened.crash().await;
    let opened = stage.open(ONE, None).await;
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 3)]);
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    let receives: HashMap<Ulid, u32> =
        a.seen().iter().map(|one| (one.message.event.id, one.receives)).collect();
    let in_hand = hung.events();
    // A backend need not count what was merely in hand when the process ended.
    let most = |event: &Event| if in_hand.contains(&event.id) { 2 } else { 1 };
    let fits = |event: &Event| (1..=most(event)).contains(&receives[&event.id]);
    assert!(events.iter().all(fits), "{receives:?}");
    assert_eq!(in_hand.len(), 3);
}

pub async fn a_message_that_never_lets_go_dies_and_its_neighbours_live(stage: &dyn Stage) {
    let events = likes(stage, 8);
    let bad = events[4].id;
    let rule = move |delivery: &Delivery| match delivery.message.event.id {
        id if id == bad => Verdict::Hang,
        _ => Verdict::Done,
    };
    let opened = stage.open(ONE, None).await;
    opened.bus().publish(&events).await.expect("the bus takes it");
    let a = Recorder::ruled(rule);
    opened.start(vec![a.on(A, 10)]);
    a.reached(8).await;
    opened.crash().await;
    // Two receives that count, and one among others that a backend need not count.
    let mut crashes = 1;
    let opened = loop {
        let opened = stage.open(ONE, None).await;
        let a = Recorder::ruled(rule);
        opened.start(vec![a.on(A, 10)]);
        opened.pass(visibility(stage)).await;
        let again = async {
            while !a.events().contains(&bad) {
                a.reached(a.seen().len() + 1).await;
            }
        };
        tokio::select! {
            () = again => {}
            () = opened.drained() => break opened,
        }
        opened.crash().await;
        crashes += 1;
    };
    assert!((2..=3).contains(&crashes), "{crashes} crashes");
    let dead: Vec<Ulid> = opened.dead(A).await.iter().map(|dead| dead.message.event.id).collect();
    assert_eq!(dead, [bad]);
}

pub async fn at_least_once_and_in_any_order(stage: &dyn Stage) {
    let opened = stage.open(ONE, Some(42)).await;
    let events = likes(stage, 200);
    opened.bus().publish(&events).await.expect("the bus takes it");
    let a = Recorder::always(Verdict::Done);
    opened.start(vec![a.on(A, 5)]);
    opened.drained().await;
    let seen = a.events();
    let twice = [ids_of(&events), ids_of(&events)].concat();
    assert_eq!(sorted(seen.clone()), sorted(twice));
    assert_ne!(seen[..200], ids_of(&events), "shuffled");
    assert!(a.seen().iter().all(|delivery| delivery.receives == 1));
}

pub async fn failures_die_in_any_order_too(stage: &dyn Stage) {
    let opened = stage.open(ONE, Some(43)).await;
    let events = likes(stage, 20);
    let bad = ids_of(&events[..5]);
    let rule = bad.clone();
    let a = Recorder::ruled(move |delivery| match rule.contains(&delivery.message.event.id) {
        true => Verdict::Fail,
        false => Verdict::Done,
    });
    opened.bus().publish(&events).await.expect("the bus takes it");
    opened.start(vec![a.on(A, 5)]);
    opened.idle().await;
    opened.pass(visibility(stage)).await;
    opened.drained().await;
    let mut dead = sorted(opened.dead(A).await.iter().map(|one| one.message.event.id).collect());
    dead.dedup();
    assert_eq!(dead, bad);
}
