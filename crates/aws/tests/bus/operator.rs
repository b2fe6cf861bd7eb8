//! Queues as their operator sees them.

use std::time::Duration;

use aws::bus::{AwsBus, Config};
use conformance::bus::Queues;
use kernel::EventKind;
use kernel::bus::{Bus, Message};
use kernel::queues::{Queues as _, Which};

use crate::bed::sdk;
use crate::events::events;
use crate::stage::{config, opened};

const A: &str = "suite-a";
const ONE: Queues = &[(A, EventKind::ALL)];

async fn sqs(config: &Config, name: String) -> (aws_sdk_sqs::Client, String) {
    let sqs = aws_sdk_sqs::config::Builder::from(&sdk());
    let sqs = sqs.endpoint_url(config.services_url.clone().unwrap());
    let sqs = aws_sdk_sqs::Client::from_conf(sqs.build());
    let url = sqs.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
    (sqs, url)
}

/// Puts events straight among the dead letters, as SQS would.
async fn kill(config: &Config, count: usize) {
    let (sqs, url) = sqs(config, config.dead_name(A)).await;
    for event in events(count) {
        let body = serde_json::to_string(&Message::from(event)).unwrap();
        sqs.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
}

async fn numbers(bus: &AwsBus) -> (u64, u64, u64) {
    let stats = bus.stats().await.unwrap().remove(0);
    (stats.waiting, stats.in_flight, stats.dead)
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages_and_stay_where_they_are() {
    let config = config();
    let bus = opened(&config, ONE).await;
    kill(&config, 25).await;
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = bus.dead_list(A, after.as_deref(), 10).await.unwrap();
        assert!(page.items.len() <= 10);
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    let mut ids: Vec<_> = seen.iter().map(|letter| letter.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 25);
    assert!(seen.is_sorted_by_key(|letter| letter.queued_at));
    assert_eq!(bus.dead_show(&seen[7].id).await.unwrap(), seen[7]);
    let foreign = bus.dead_list(A, Some("suite-a:moon"), 10).await.unwrap_err();
    assert_eq!(foreign.code.status(), 422);
    assert_eq!(bus.dead_list("moon", None, 10).await.unwrap_err().code.status(), 404);
    assert_eq!(numbers(&bus).await, (0, 0, 25));
    assert_eq!(bus.dead_redrive(Which::Queue(A)).await.unwrap(), 25);
    assert_eq!(numbers(&bus).await, (25, 0, 0));
}

/// A message whose consumer never came back is moved by SQS, without a reason.
#[tokio::test]
async fn what_sqs_moved_itself_is_a_dead_letter_like_any_other() {
    let config = config();
    let bus = opened(&config, ONE).await;
    let event = events(1).remove(0);
    bus.publish(std::slice::from_ref(&event)).await.unwrap();
    let (sqs, url) = sqs(&config, config.queue_name(A)).await;
    let receive = |wait| {
        let some = sqs.receive_message().queue_url(&url).visibility_timeout(1);
        some.wait_time_seconds(wait).send()
    };
    for _ in 0..2 {
        assert_eq!(receive(5).await.unwrap().messages().len(), 1);
    }
    assert_eq!(numbers(&bus).await, (0, 1, 0));
    assert!(receive(2).await.unwrap().messages().is_empty(), "it is moved");
    let letter = bus.dead_list(A, None, 10).await.unwrap().items.remove(0);
    assert_eq!((letter.receives, letter.died_at), (2, None));
    assert!(letter.reason.contains("SQS moved it"), "{}", letter.reason);
    assert_eq!(letter.message.unwrap().event, event);
    // Its time is that of its sending, which lies before any redrive.
    tokio::time::timeout(Duration::from_secs(20), async {
        assert_eq!(bus.dead_redrive(Which::One(&letter.id)).await.unwrap(), 1);
    })
    .await
    .unwrap();
    assert_eq!(numbers(&bus).await, (1, 0, 0));
}
