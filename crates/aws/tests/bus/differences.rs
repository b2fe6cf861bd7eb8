//! Where the test bed's EventBridge and SQS are not as AWS's documentation says. Each test fails on
//! the day when they are, and can then go; nothing in the adapter leans on what is shown here.

use aws::bus::Config;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use kernel::EventKind;
use kernel::bus::{Bus, Message};
use kernel::queues::Queues as _;

use crate::bed::sdk;
use crate::events::events;
use crate::stage::{config, opened};

const A: &str = "suite-a";

fn sqs(config: &Config) -> aws_sdk_sqs::Client {
    let sqs = aws_sdk_sqs::config::Builder::from(&sdk());
    let sqs = sqs.endpoint_url(config.services_url.clone().unwrap());
    aws_sdk_sqs::Client::from_conf(sqs.build())
}

async fn url(sqs: &aws_sdk_sqs::Client, name: String) -> String {
    sqs.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap()
}

async fn receive(sqs: &aws_sdk_sqs::Client, url: &str) -> aws_sdk_sqs::types::Message {
    let some = sqs.receive_message().queue_url(url).wait_time_seconds(1);
    let some = some.message_system_attribute_names(MessageSystemAttributeName::All);
    some.send().await.unwrap().messages.unwrap().remove(0)
}

/// AWS: `AWSTraceHeader` of an entry, and of an event that a rule sends on, is an attribute of the
/// message. Here it is lost on both ways.
#[tokio::test]
async fn traces_do_not_reach_the_queue() {
    let config = config();
    let bus = opened(&config, &[(A, EventKind::ALL)]).await;
    let sqs = sqs(&config);
    let url = url(&sqs, config.queue_name(A)).await;
    let mut event = events(1).remove(0);
    event.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    bus.publish(std::slice::from_ref(&event)).await.unwrap();
    bus.enqueue(A, &[Message::from(event)]).await.unwrap();
    for _ in 0..2 {
        let attributes = receive(&sqs, &url).await.attributes.unwrap();
        assert!(!attributes.contains_key(&MessageSystemAttributeName::AwsTraceHeader));
    }
}

/// AWS: `time` of the event is what the entry says. Here it is the time of its arrival.
#[tokio::test]
async fn the_time_of_an_entry_is_ignored() {
    let config = config();
    let bus = opened(&config, &[(A, EventKind::ALL)]).await;
    bus.publish(&events(1)).await.unwrap();
    let sqs = sqs(&config);
    let url = url(&sqs, config.queue_name(A)).await;
    let body = receive(&sqs, &url).await.body.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["detail"]["time"], "2026-01-01T00:00:00.000Z");
    assert_ne!(body["time"], "2026-01-01T00:00:00Z");
}

/// AWS: a request of entries over 1 MB is refused. Here it is taken.
#[tokio::test]
async fn entries_may_have_any_size() {
    let config = config();
    opened(&config, &[]).await;
    let events = aws_sdk_eventbridge::config::Builder::from(&sdk());
    let events = events.endpoint_url(config.services_url.clone().unwrap());
    let events = aws_sdk_eventbridge::Client::from_conf(events.build());
    let entry = PutEventsRequestEntry::builder()
        .event_bus_name(config.bus_name())
        .source("/mini-sns/test")
        .detail_type("Large")
        .detail(format!("{{\"text\":\"{}\"}}", "x".repeat(2 << 20)))
        .build();
    let answer = events.put_events().entries(entry).send().await.unwrap();
    assert_eq!(answer.failed_entry_count, 0);
}

/// AWS: a queue's policy decides who may send to it, and ours turns away whoever does not use TLS.
/// Here a rule sends to a queue that does not let it, and everything else comes without TLS.
#[tokio::test]
async fn policies_of_queues_are_not_enforced() {
    let config = config();
    let bus = opened(&config, &[(A, EventKind::ALL)]).await;
    assert!(config.services_url.as_ref().unwrap().starts_with("http://"));
    let sqs = sqs(&config);
    let url = url(&sqs, config.queue_name(A)).await;
    let set = sqs.set_queue_attributes().queue_url(&url);
    set.attributes(QueueAttributeName::Policy, "").send().await.unwrap();
    bus.publish(&events(1)).await.unwrap();
    assert_eq!(bus.stats().await.unwrap()[0].waiting, 1);
}

/// AWS: what a rule cannot deliver lies with the target's dead letters. Here it is lost.
#[tokio::test]
async fn undeliverable_events_are_lost() {
    let config = config();
    let bus = opened(&config, &[(A, EventKind::ALL)]).await;
    let sqs = sqs(&config);
    let gone = url(&sqs, config.queue_name(A)).await;
    sqs.delete_queue().queue_url(gone).send().await.unwrap();
    bus.publish(&events(1)).await.unwrap();
    let undelivered = url(&sqs, config.dead_name("event-bus")).await;
    let told = sqs.get_queue_attributes().queue_url(undelivered);
    let told = told.attribute_names(QueueAttributeName::All).send().await.unwrap();
    let told = told.attributes.unwrap();
    assert_eq!(told[&QueueAttributeName::ApproximateNumberOfMessages], "0");
}

/// AWS: `StartMessageMoveTask` redrives dead letters. Here it is missing; our own loop, which also
/// counts, leaves what cannot be read, and ends, would be there all the same.
#[tokio::test]
async fn there_is_no_task_that_moves_messages() {
    let config = config();
    opened(&config, &[(A, EventKind::ALL)]).await;
    let sqs = sqs(&config);
    let dead = url(&sqs, config.dead_name(A)).await;
    let told = sqs.get_queue_attributes().queue_url(dead);
    let told = told.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap();
    let arn = told.attributes.unwrap().remove(&QueueAttributeName::QueueArn).unwrap();
    let error = sqs.start_message_move_task().source_arn(arn).send().await.unwrap_err();
    assert_eq!(aws_sdk_sqs::error::ProvideErrorMetadata::code(&error), Some("InvalidAction"));
}
