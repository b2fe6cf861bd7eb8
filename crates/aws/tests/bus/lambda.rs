//! Where Lambda receives: events of a queue are answered with what failed of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::bus::AwsBus;
use aws::bus::lambda::{Apart, SqsEvent, SqsRecord};
use conformance::bus::{Recorder, Verdict};
use kernel::bus::{Message, QueuePolicy, Subscription};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::events::events;
use crate::script::{Answer, Services, good, refusal};

fn record(id: &str, receives: u32, body: &Value) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": format!("receipt-{id}"),
        "body": body.as_str().map_or_else(|| body.to_string(), str::to_owned),
        "attributes": {
            "ApproximateReceiveCount": receives.to_string(),
            "SentTimestamp": "1767225600000",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1767225600001",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:mini-sns-script-q",
        "awsRegion": "us-east-1",
    })
}

/// Repetitions are apart, and yet in this process.
struct Here<'a>(&'a AwsBus, &'a [Subscription]);

#[async_trait]
impl Apart for Here<'_> {
    async fn handle(&self, record: &SqsRecord, until: Instant) -> Result<(), String> {
        self.0.sqs_record(self.1, record.clone(), until).await
    }
}

/// Of its messages, whatever is named fails.
async fn answered(services: &Services, a: &Arc<Recorder>, records: Vec<Value>) -> Vec<String> {
    let event: SqsEvent = serde_json::from_value(json!({"Records": records})).unwrap();
    let until = Instant::now() + Duration::from_secs(4);
    let bus = services.bus(QueuePolicy::default());
    let subscriptions = [a.on("q", 10)];
    let apart = Here(&bus, &subscriptions);
    let answer = bus.sqs_event(&subscriptions, event, &apart, until).await;
    let answer = serde_json::to_value(&answer).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    failures.map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

/// SQS, taking whatever is sent.
async fn taking() -> Services {
    Services::new(|_, _, input| {
        let entries = input["Entries"].as_array().unwrap().iter();
        let taken: Vec<_> = entries
            .map(|entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""}))
            .collect();
        good(json!({"Successful": taken, "Failed": []}))
    })
    .await
}

#[tokio::test]
async fn an_event_is_answered_with_what_failed_of_it() {
    let (services, events) = (taking().await, events(3));
    let bad = events[1].id;
    let a = Recorder::ruled(move |delivery| match delivery.message.event.id {
        id if id == bad => Verdict::Fail,
        _ => Verdict::Done,
    });
    let own = Message { event: events[2].clone(), cursor: Some("page 2".into()) };
    let records = vec![
        record("a", 1, &json!({"detail": events[0]})),
        record("b", 1, &json!({"detail": events[1]})),
        record("c", 1, &serde_json::to_value(&own).unwrap()),
        record("d", 1, &json!("moon")),
    ];
    assert_eq!(answered(&services, &a, records).await, ["d", "b"]);
    assert_eq!(a.batches().len(), 1);
    let seen = a.seen();
    assert_eq!((&seen[2].message, seen[2].receives), (&own, 1));
    assert!(services.calls("SendMessageBatch").is_empty(), "they come again");
}

#[tokio::test]
async fn what_fails_for_the_last_time_is_buried_with_its_reason_and_so_done() {
    let (services, events) = (taking().await, events(2));
    let bad = events[1].id;
    let a = Recorder::ruled(move |delivery| match delivery.message.event.id {
        id if id == bad => Verdict::Panic,
        _ => Verdict::Done,
    });
    let records = vec![
        record("a", 2, &json!({"detail": events[0]})),
        record("b", 2, &json!({"detail": events[1]})),
        record("c", 2, &json!("moon")),
    ];
    assert_eq!(answered(&services, &a, records).await, Vec::<String>::new());
    assert!(a.batches().iter().all(|batch| batch.len() == 1), "repetitions are handled alone");
    let sent = &services.calls("SendMessageBatch")[0];
    assert_eq!(sent["QueueUrl"], "mini-sns-script-q-dlq");
    let entries = sent["Entries"].as_array().unwrap();
    let reason =
        |place: usize| entries[place]["MessageAttributes"]["reason"]["StringValue"].clone();
    let reasons = [reason(0), reason(1)].map(|reason| reason.as_str().unwrap().to_owned());
    assert!(reasons.iter().any(|reason| reason.contains("the moon fell")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("cannot be read")), "{reasons:?}");
}

#[tokio::test]
async fn what_cannot_be_buried_fails_so_that_sqs_moves_it() {
    let services = Services::new(|_, _, _| refusal("AccessDeniedException")).await;
    let records = vec![record("a", 2, &json!({"detail": events(1)[0]}))];
    let a = Recorder::always(Verdict::Fail);
    assert_eq!(answered(&services, &a, records).await, ["a"]);
}

#[tokio::test]
async fn a_handler_that_hangs_fails_before_the_function_s_time_is_over() {
    let services = taking().await;
    let event: SqsEvent = serde_json::from_value(
        json!({"Records": [record("a", 1, &json!({"detail": events(1)[0]}))]}),
    )
    .unwrap();
    let bus = services.bus(QueuePolicy::default());
    let a = Recorder::always(Verdict::Hang);
    let until = Instant::now() + Duration::from_millis(50);
    let subscriptions = [a.on("q", 10)];
    let apart = Here(&bus, &subscriptions);
    let answer = bus.sqs_event(&subscriptions, event, &apart, until).await;
    assert_eq!(answer.batch_item_failures[0].item_identifier, "a");
}

#[tokio::test]
async fn a_queue_that_the_function_does_not_know_fails() {
    let services = Services::new(|_, _, _| Answer::Silence).await;
    let mut foreign = record("a", 2, &json!({"detail": events(1)[0]}));
    foreign["eventSourceARN"] = json!("arn:aws:sqs:us-east-1:123456789012:mini-sns-script-moon");
    let a = Recorder::always(Verdict::Done);
    assert_eq!(answered(&services, &a, vec![foreign]).await, ["a"]);
    assert!(a.seen().is_empty());
    assert_eq!(answered(&services, &a, Vec::new()).await, Vec::<String>::new());
}
