//! What the bus does when EventBridge and SQS take only a part, slow it down, turn it away, or do
//! not answer. Nobody who stands in for them does so, so the test does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use conformance::bus::{Recorder, Verdict};
use kernel::bus::{Bus, Delivery, Failed, Handler, Message, QueuePolicy, QueueSpec};
use kernel::request::{self, Scope};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::events;
use crate::script::{Answer, Services, bus_at, good, refusal};

/// `PutEvents` takes an entry, or refuses it with a code.
fn put(input: &Value, refuse: impl Fn(usize) -> Option<&'static str>) -> Answer {
    let count = input["Entries"].as_array().unwrap().len();
    let entries: Vec<Value> = (0..count)
        .map(|place| match refuse(place) {
            Some(code) => json!({"ErrorCode": code, "ErrorMessage": "so says the test"}),
            None => json!({"EventId": format!("e{place}")}),
        })
        .collect();
    let failed = entries.iter().filter(|entry| entry["ErrorCode"].is_string()).count();
    good(json!({"FailedEntryCount": failed, "Entries": entries}))
}

/// A batch request of SQS takes an entry, or refuses it with a code, by the sender's fault or not.
fn batch(input: &Value, refuse: impl Fn(usize) -> Option<(&'static str, bool)>) -> Answer {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (place, entry) in input["Entries"].as_array().unwrap().iter().enumerate() {
        let id = &entry["Id"];
        match refuse(place) {
            Some((code, fault)) => {
                failed.push(json!({"Id": id, "Code": code, "SenderFault": fault}));
            }
            None => successful.push(json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": ""})),
        }
    }
    good(json!({"Successful": successful, "Failed": failed}))
}

fn details(input: &Value) -> Vec<String> {
    let entries = input["Entries"].as_array().unwrap().iter();
    let detail = |entry: &Value| serde_json::from_str::<Value>(entry["Detail"].as_str().unwrap());
    entries.map(|entry| detail(entry).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_event_is_put_as_a_cloud_event() {
    let services = Services::new(|_, _, input| put(input, |_| None)).await;
    let mut events = events(1);
    events[0].traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    services.bus(QueuePolicy::default()).publish(&events).await.unwrap();
    let entry = &services.calls("PutEvents")[0]["Entries"][0];
    assert_eq!(entry["EventBusName"], "mini-sns-script-event-bus");
    assert_eq!(entry["Source"], "/mini-sns/user");
    assert_eq!(entry["DetailType"], "UserDeleted");
    let trace = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";
    assert_eq!(entry["TraceHeader"], trace);
    assert_eq!(entry["Time"].as_f64().unwrap(), 1_767_225_600.0);
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail, serde_json::to_value(&events[0]).unwrap());
}

#[tokio::test]
async fn entries_that_failed_are_put_again_and_no_others() {
    let services = Services::new(|_, before, input| {
        put(input, |place| match (before, place) {
            (0, 3) => Some("ThrottlingException"),
            (0, 7) => Some("InternalFailure"),
            (0, 5) => Some("MalformedDetail"),
            (1, 0) => Some("ThrottlingException"),
            _ => None,
        })
    })
    .await;
    let events = events(10);
    let bus = services.bus(QueuePolicy::default());
    let error = bus.publish(&events).await.unwrap_err();
    assert_eq!(error.refused, [5]);
    assert_eq!(error.reason, "MalformedDetail: so says the test");
    let put: Vec<_> = services.calls("PutEvents").iter().map(details).collect();
    let id = |place: usize| events[place].id.to_string();
    assert_eq!(put[1..], [vec![id(3), id(7)], vec![id(3)]]);
}

#[tokio::test]
async fn entries_that_fail_again_and_again_are_named() {
    let script = |_: &str, _, input: &Value| put(input, |place| (place < 2).then_some(SLOW));
    let services = Services::new(script).await;
    let error = services.bus(QueuePolicy::default()).publish(&events(4)).await.unwrap_err();
    assert_eq!(error.refused, [0, 1]);
    assert!(error.reason.starts_with(SLOW), "{}", error.reason);
    assert_eq!(services.calls("PutEvents").len(), 4, "bounded");
}

const SLOW: &str = "ThrottlingException";

#[tokio::test]
async fn a_caller_s_time_ends_the_repetitions() {
    let services = Services::new(|_, _, input| put(input, |_| Some(SLOW))).await;
    let bus = services.bus(QueuePolicy::default());
    let deadline = Instant::now() + Duration::from_millis(90);
    let events = events(1);
    let error = request::within(Scope::until(deadline), bus.publish(&events)).await.unwrap_err();
    assert_eq!(error.refused, [0]);
    assert_eq!(services.calls("PutEvents").len(), 1);
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_an_entry_is_no_success() {
    let script = |_: &str, _, _: &Value| good(json!({"FailedEntryCount": 0, "Entries": []}));
    let services = Services::new(script).await;
    let error = services.bus(QueuePolicy::default()).publish(&events(2)).await.unwrap_err();
    assert_eq!(error.refused, [0, 1]);
    let services = Services::new(|_, _, _| good(json!({"Successful": [], "Failed": []}))).await;
    let messages: Vec<Message> = events(2).into_iter().map(Message::from).collect();
    let bus = services.bus(QueuePolicy::default());
    assert_eq!(bus.enqueue("q", &messages).await.unwrap_err().refused, [0, 1]);
}

#[tokio::test]
async fn a_throttled_request_is_tried_again() {
    let services = Services::new(|_, before, input| match before {
        0 | 1 => refusal(SLOW),
        _ => put(input, |_| None),
    })
    .await;
    services.bus(QueuePolicy::default()).publish(&events(3)).await.unwrap();
    assert_eq!(services.calls("PutEvents").len(), 3);
    let services = Services::new(|_, _, _| refusal(SLOW)).await;
    let error = services.bus(QueuePolicy::default()).publish(&events(3)).await.unwrap_err();
    assert_eq!((error.refused.len(), error.reason.starts_with(SLOW)), (3, true));
    assert_eq!(services.calls("PutEvents").len(), 3, "bounded");
}

#[tokio::test]
async fn one_request_s_failure_is_no_other_s() {
    let services = Services::new(|_, _, input| match details(input).len() {
        10 => refusal("AccessDeniedException"),
        _ => put(input, |_| None),
    })
    .await;
    let error = services.bus(QueuePolicy::default()).publish(&events(13)).await.unwrap_err();
    assert_eq!(error.refused, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_that_failed_are_sent_again_unless_they_are_at_fault() {
    let services = Services::new(|_, before, input| {
        batch(input, |place| match (before, place) {
            (0, 2) => Some(("InternalError", false)),
            (0, 4) => Some(("InvalidMessageContents", true)),
            _ => None,
        })
    })
    .await;
    let messages: Vec<Message> = events(6).into_iter().map(Message::from).collect();
    let bus = services.bus(QueuePolicy::default());
    let error = bus.enqueue("q", &messages).await.unwrap_err();
    assert_eq!(error.refused, [4]);
    assert!(error.reason.starts_with("InvalidMessageContents"), "{}", error.reason);
    let calls = services.calls("SendMessageBatch");
    assert_eq!((calls.len(), calls[1]["Entries"].as_array().unwrap().len()), (2, 1));
    let again: Message =
        serde_json::from_str(calls[1]["Entries"][0]["MessageBody"].as_str().unwrap()).unwrap();
    assert_eq!(again, messages[2]);
}

#[tokio::test]
async fn requests_are_cut_by_bytes_too() {
    let services = Services::new(|operation, _, input| match operation {
        "PutEvents" => put(input, |_| None),
        _ => batch(input, |_| None),
    })
    .await;
    let mut events = events(4);
    for event in &mut events {
        event.subject = "x".repeat(100 << 10);
    }
    let bus = services.bus(QueuePolicy::default());
    bus.publish(&events).await.unwrap();
    let messages: Vec<Message> = events.into_iter().map(Message::from).collect();
    bus.enqueue("q", &messages).await.unwrap();
    for operation in ["PutEvents", "SendMessageBatch"] {
        let calls = services.calls(operation);
        let counts = calls.iter().map(|call| call["Entries"].as_array().unwrap().len());
        assert_eq!(counts.collect::<Vec<_>>(), [2, 2], "{operation}");
    }
    let large = Message { cursor: Some("x".repeat(300 << 10)), ..messages[0].clone() };
    let error = bus.enqueue("q", &[messages[0].clone(), large]).await.unwrap_err();
    assert_eq!(error.refused, [1]);
    assert!(error.reason.contains("262144 bytes"), "{}", error.reason);
}

#[tokio::test]
async fn expired_credentials_refuse_everything_until_there_are_new_ones() {
    let expired = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&expired);
    let services = Services::new(move |_, _, input| match asked.load(Ordering::SeqCst) {
        true => refusal("ExpiredTokenException"),
        false => put(input, |_| None),
    })
    .await;
    let bus = services.bus(QueuePolicy::default());
    let error = bus.publish(&events(12)).await.unwrap_err();
    assert_eq!(error.refused, (0..12).collect::<Vec<_>>());
    assert!(error.reason.starts_with("ExpiredTokenException"), "{}", error.reason);
    expired.store(false, Ordering::SeqCst);
    bus.publish(&events(12)).await.unwrap();
}

#[tokio::test]
async fn credentials_that_expired_are_fetched_anew_at_once() {
    let services = Services::new(|operation, before, input| match (operation, before) {
        (_, 0) => refusal("ExpiredTokenException"),
        ("PutEvents", _) => put(input, |_| None),
        _ => batch(input, |_| None),
    })
    .await;
    let bus = services.bus(QueuePolicy::default());
    let events = events(2);
    bus.publish(&events).await.unwrap();
    let messages: Vec<Message> = events.into_iter().map(Message::from).collect();
    bus.enqueue("q", &messages).await.unwrap();
    for operation in ["PutEvents", "SendMessageBatch"] {
        assert_eq!(services.calls(operation).len(), 2, "{operation}");
    }
}

#[tokio::test]
async fn nobody_listening_refuses_everything_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bus = bus_at(&url, QueuePolicy::default());
    let error = bus.publish(&events(2)).await.unwrap_err();
    assert_eq!(error.refused, [0, 1]);
    let messages: Vec<Message> = events(2).into_iter().map(Message::from).collect();
    let error = bus.enqueue("q", &messages).await.unwrap_err();
    assert_eq!(error.refused, [0, 1]);
    assert!(error.reason.starts_with("GetQueueUrl: dispatch failure"), "{}", error.reason);
}

#[tokio::test]
async fn silence_is_not_waited_out() {
    let services = Services::new(|_, _, _| Answer::Silence).await;
    let bus = services.bus(QueuePolicy::default());
    let events = events(1);
    let published = tokio::time::timeout(Duration::from_secs(8), bus.publish(&events)).await;
    assert_eq!(published.expect("it ends").unwrap_err().refused, [0]);
}

/// A message as SQS gives it.
fn message(id: &str, receives: u32, event: &kernel::Event) -> Value {
    json!({
        "MessageId": id,
        "ReceiptHandle": format!("receipt-{id}"),
        "Body": json!({"detail": event}).to_string(),
        "Attributes": {
            "ApproximateReceiveCount": receives.to_string(),
            "SentTimestamp": "1767225600000",
        },
    })
}

/// Consumes until `enough`, and stops.
async fn consume(services: &Services, a: &Arc<Recorder>, enough: impl Future<Output = ()>) {
    let (bus, cancel) = (services.bus(QueuePolicy::default()), CancellationToken::new());
    let run = tokio::spawn({
        let (subscription, cancel) = (a.on("q", 10), cancel.clone());
        async move { bus.run(vec![subscription], cancel).await }
    });
    enough.await;
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(5), run).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_consumer_outlives_what_turns_it_away() {
    let event = events(1).remove(0);
    let services = Services::new(move |operation, before, input| match (operation, before) {
        ("ReceiveMessage", 0) => refusal("AccessDeniedException"),
        ("ReceiveMessage", 1) => refusal("QueueDoesNotExist"),
        ("ReceiveMessage", 2) => good(json!({"Messages": [message("m1", 1, &event)]})),
        ("ReceiveMessage", _) => Answer::Silence,
        _ => batch(input, |_| None),
    })
    .await;
    let a = Recorder::always(Verdict::Done);
    consume(&services, &a, services.called("DeleteMessageBatch", 1)).await;
    assert_eq!(a.seen().len(), 1);
    let deleted = &services.calls("DeleteMessageBatch")[0]["Entries"];
    assert_eq!(deleted[0]["ReceiptHandle"], "receipt-m1");
    let asked = &services.calls("ReceiveMessage")[0];
    assert_eq!(
        (asked["WaitTimeSeconds"].as_u64(), asked["MaxNumberOfMessages"].as_u64()),
        (Some(20), Some(10))
    );
}

#[tokio::test]
async fn a_deletion_that_failed_is_tried_again() {
    let events = events(3);
    let services = Services::new(move |operation, before, input| match (operation, before) {
        ("ReceiveMessage", 0) => {
            let messages: Vec<_> = ["a", "b", "c"]
                .iter()
                .zip(&events)
                .map(|(id, event)| message(id, 1, event))
                .collect();
            good(json!({"Messages": messages}))
        }
        ("ReceiveMessage", _) => Answer::Silence,
        ("DeleteMessageBatch", 0) => batch(input, |place| (place == 1).then_some(("X", false))),
        _ => batch(input, |_| None),
    })
    .await;
    let a = Recorder::always(Verdict::Done);
    consume(&services, &a, services.called("DeleteMessageBatch", 2)).await;
    let again = &services.calls("DeleteMessageBatch")[1]["Entries"];
    assert_eq!(again.as_array().unwrap().len(), 1);
    assert_eq!(again[0]["ReceiptHandle"], "receipt-b");
}

/// What the dead letters do not take stays where it is: SQS moves it then.
#[tokio::test]
async fn what_cannot_be_buried_is_not_deleted() {
    let events = events(2);
    let services = Services::new(move |operation, before, input| match (operation, before) {
        ("ReceiveMessage", 0) => good(json!({"Messages": [message("a", 2, &events[0])]})),
        ("ReceiveMessage", 1) => good(json!({"Messages": [message("b", 2, &events[1])]})),
        ("ReceiveMessage", _) => Answer::Silence,
        ("SendMessageBatch", 0) => refusal("AccessDeniedException"),
        _ => batch(input, |_| None),
    })
    .await;
    let a = Recorder::always(Verdict::Fail);
    consume(&services, &a, services.called("DeleteMessageBatch", 1)).await;
    let sent = services.calls("SendMessageBatch");
    assert_eq!((sent.len(), &sent[1]["QueueUrl"]), (2, &json!("mini-sns-script-q-dlq")));
    let notes = &sent[1]["Entries"][0]["MessageAttributes"];
    assert_eq!(notes["receives"]["StringValue"], "2");
    assert!(notes["reason"]["StringValue"].as_str().unwrap().contains("no such moon"));
    let deleted = services.calls("DeleteMessageBatch");
    assert_eq!(
        (deleted.len(), &deleted[0]["Entries"][0]["ReceiptHandle"]),
        (1, &json!("receipt-b"))
    );
}

/// Messages that come while the consumer is being stopped have lost a receive, so they are handled.
#[tokio::test]
async fn a_receive_that_is_under_way_at_a_stop_is_finished() {
    let event = events(1).remove(0);
    let cancel = CancellationToken::new();
    let stopped = cancel.clone();
    let services = Services::new(move |operation, before, input| match (operation, before) {
        ("ReceiveMessage", 0) => {
            stopped.cancel();
            good(json!({"Messages": [message("m1", 1, &event)]}))
        }
        ("ReceiveMessage", _) => Answer::Silence,
        _ => batch(input, |_| None),
    })
    .await;
    let bus = services.bus(QueuePolicy::default());
    let a = Recorder::always(Verdict::Done);
    let run = bus.run(vec![a.on("q", 10)], cancel);
    tokio::time::timeout(Duration::from_secs(5), run).await.unwrap().unwrap();
    assert_eq!(a.seen().len(), 1);
    assert_eq!(services.calls("DeleteMessageBatch").len(), 1);
    assert_eq!(services.calls("ReceiveMessage").len(), 1);
}

/// Never done.
struct Stuck(Notify);

#[async_trait]
impl Handler for Stuck {
    async fn handle(&self, _: Vec<Delivery>) -> Vec<Failed> {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_a_stop_cannot_wait_for_is_given_back_at_once() {
    let events = events(2);
    let services = Services::new(move |operation, before, input| match (operation, before) {
        ("ReceiveMessage", 0) => {
            let messages = [message("a", 1, &events[0]), message("b", 1, &events[1])];
            good(json!({"Messages": messages}))
        }
        ("ReceiveMessage", _) => Answer::Silence,
        _ => batch(input, |_| None),
    })
    .await;
    let stuck = Arc::new(Stuck(Notify::new()));
    let spec = QueueSpec { name: "q", kinds: &[] };
    let subscription = spec.consumed_by(Arc::clone(&stuck) as _, 10, 1);
    let (bus, cancel) = (services.bus(QueuePolicy::default()), CancellationToken::new());
    let stop = async {
        stuck.0.notified().await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(bus.run(vec![subscription], cancel.clone()), stop);
    ended.unwrap();
    let shown = &services.calls("ChangeMessageVisibilityBatch")[0]["Entries"];
    let shown: Vec<_> = shown.as_array().unwrap().iter().collect();
    assert_eq!(shown.len(), 2);
    for (entry, receipt) in shown.iter().zip(["receipt-a", "receipt-b"]) {
        assert_eq!(
            (&entry["ReceiptHandle"], &entry["VisibilityTimeout"]),
            (&json!(receipt), &json!(0))
        );
    }
    assert!(services.calls("DeleteMessageBatch").is_empty());
}

#[tokio::test]
async fn a_queue_that_the_bus_was_not_made_with_is_not_consumed() {
    let bus = bus_at("http://127.0.0.1:1", QueuePolicy::default());
    let a = Recorder::always(Verdict::Done);
    let problem = bus.run(vec![a.on("moon", 1)], CancellationToken::new()).await.unwrap_err();
    assert_eq!(problem.code.status(), 404);
}
