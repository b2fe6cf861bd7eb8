//! Batches of which a part fails: that part alone comes again, and in the end lies among the dead
//! letters with its reason.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::events;
use crate::person::Person;
use crate::stage::Stage;

/// A queue's message as EventBridge writes it, and its event.
pub(crate) fn follow_event(follower: &str, followee: &str) -> String {
    let event = json!({
        "specversion": "1.0",
        "id": "01M86NAHN9RCM3TM8NZP17EEQ9",
        "source": "/mini-sns/social",
        "type": "mini-sns.FollowCreated",
        "subject": follower,
        "time": "2026-11-24T12:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {"followerId": follower, "followeeId": followee, "version": 1},
    });
    json!({"detail-type": "FollowCreated", "detail": event}).to_string()
}

#[tokio::test]
async fn a_poison_message_fails_alone_and_dies_the_second_time() {
    let stage = Stage::new().await;
    let (author, reader) =
        (Person::register(&stage, "hanako").await, Person::register(&stage, "taro").await);
    let post = author.post("already there").await;
    stage.settled().await;
    let queue = stage.queue_name("timeline-follow");
    let good = follow_event(&reader.id, &author.id);
    let function = stage.functions().get("react-timeline").await;
    let batch = events::sqs(&queue, &[("bad", "{\"no\":\"event\"}", 1), ("good", &good, 1)]);
    let answer = function.invoke(&batch).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "bad"}]}));
    assert_eq!(reader.timeline().await, std::slice::from_ref(&post), "what came with it is done");

    let late = Person::register(&stage, "jiro").await;
    let good = follow_event(&late.id, &author.id);
    let again = events::sqs(&queue, &[("bad", "{\"no\":\"event\"}", 2), ("good", &good, 2)]);
    assert_eq!(function.invoke(&again).await.unwrap(), json!({"batchItemFailures": []}));
    assert_eq!(late.timeline().await, [post], "a repetition is done in a process of its own");
    let letters = stage.dead_letters("timeline-follow", 1).await;
    assert_eq!(letters[0]["Body"], "{\"no\":\"event\"}");
    let noted = letters[0]["MessageAttributes"].to_string();
    assert!(noted.contains("it holds no event"), "{noted}");
}

#[tokio::test]
async fn messages_of_a_queue_that_is_another_functions_come_again() {
    let stage = Stage::new().await;
    let queue = stage.queue_name("timeline-follow");
    let function = stage.functions().get("react-social").await;
    let batch = events::sqs(&queue, &[("one", "{}", 1), ("two", "{}", 2)]);
    let answer = function.invoke(&batch).await.unwrap();
    let failed = json!([{"itemIdentifier": "one"}, {"itemIdentifier": "two"}]);
    assert_eq!(answer, json!({"batchItemFailures": failed}));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    let stage = Stage::new().await;
    let author = Person::register(&stage, "hanako").await;
    author.post("first").await;
    stage.settled().await;
    let row = |id: &str, body: &str| {
        json!({
            "eventID": "c4ca4238a0b923820dcc509a6f75849b",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_795_521_600,
                "Keys": {"pk": {"S": "outbox#03"}, "sk": {"S": id}},
                "NewImage": {
                    "pk": {"S": "outbox#03"}, "sk": {"S": id}, "v": {"N": "1"},
                    "body": {"B": STANDARD.encode(body)},
                },
                "SequenceNumber": format!("1000000000000000000{id}"),
                "SizeBytes": 300,
                "StreamViewType": "NEW_IMAGE",
            },
        })
    };
    let event = json!({
        "specversion": "1.0",
        "id": "01M86NAHN9RCM3TM8NZP17EEQ9",
        "source": "/mini-sns/post",
        "type": "mini-sns.UserDeleted",
        "subject": "01M86NAGYKD8B2Y7FQRBQQMXDS",
        "time": "2026-11-24T12:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {"userId": "01M86NAGYKD8B2Y7FQRBQQMXDS"},
    });
    let relay = stage.functions().relay("post").await;
    let batch = json!({"Records": [row("1", "not JSON"), row("2", &event.to_string())]});
    let answer = relay.invoke(&batch).await.unwrap();
    let failed = json!([{"itemIdentifier": "10000000000000000001"}]);
    assert_eq!(answer, json!({"batchItemFailures": failed}));
    assert!(stage.reacted().await > 0, "the other was published");
    let rows = json!({
        "TableName": aws::dynamodb::name(&stage.env, "post"),
        "FilterExpression": "begins_with(pk, :outbox)",
        "ExpressionAttributeValues": {":outbox": {"S": "outbox#"}},
    });
    let left: Value = stage.dynamodb.call("Scan", &rows).await;
    assert_eq!(left["Count"], 0, "published rows are removed: {left}");
}
