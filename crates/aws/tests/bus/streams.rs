//! Where Lambda reads a table's stream: rows of the outbox are relayed, and records that fail are
//! named.

use std::sync::Arc;

use aws::bus::streams::{StreamEvent, relay};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conformance::faulty::{Faults, Faulty};
use conformance::{Oracle, TestClock};
use kernel::Event;
use kernel::bus::Bus;
use kernel::outbox::{self, Relay};
use kernel::table::{Table, Write};
use serde_json::{Value, json};

use crate::events::events;
use crate::taker::Taker;

/// A change of an outbox row, as DynamoDB tells it.
fn change(sequence: u32, kind: &str, event: &Event) -> Value {
    let write = outbox::write(event);
    let Write::Put { key, body, .. } = &write else { unreachable!("a row is put") };
    let sort = format!(".{}", key.sort);
    json!({
        "eventID": "c4ca4238a0b923820dcc509a6f75849b",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026",
        "dynamodb": {
            "Keys": {"pk": {"S": key.partition}, "sk": {"S": sort}},
            "NewImage": {
                "pk": {"S": key.partition}, "sk": {"S": sort},
                "body": {"B": STANDARD.encode(body)}, "v": {"N": "1"}, "n": {"N": "0"},
            },
            "SequenceNumber": sequence.to_string(),
            "SizeBytes": 26,
            "StreamViewType": "NEW_IMAGE",
        },
    })
}

struct Room {
    table: Arc<dyn Table>,
    bus: Arc<Taker>,
}

impl Room {
    /// A table with these events' rows, and a bus that refuses some.
    async fn new(events: &[Event], refused: &[usize]) -> Self {
        let table = Oracle::new(TestClock::new());
        table.commit(events.iter().map(outbox::write).collect()).await.unwrap();
        let refused = refused.iter().map(|index| events[*index].id).collect();
        Self { table, bus: Taker::new(refused) }
    }

    async fn relay(&self, table: Arc<dyn Table>, records: &[Value]) -> Vec<String> {
        let event: StreamEvent = serde_json::from_value(json!({"Records": records})).unwrap();
        let answer = relay(&Relay::new(table, Arc::clone(&self.bus) as Arc<dyn Bus>), event).await;
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    fn taken(&self) -> Vec<Event> {
        self.bus.taken()
    }
}

#[tokio::test]
async fn inserted_rows_of_the_outbox_are_published_and_removed() {
    let events = events(4);
    let room = Room::new(&events, &[]).await;
    let mut records: Vec<Value> =
        (100..).zip(&events).map(|(sequence, event)| change(sequence, "INSERT", event)).collect();
    records.push(change(104, "REMOVE", &events[0]));
    records.push(change(105, "MODIFY", &events[1]));
    let mut post = change(106, "INSERT", &events[0]);
    post["dynamodb"]["NewImage"]["pk"]["S"] = json!("post#1");
    records.push(post);
    assert!(room.relay(Arc::clone(&room.table), &records).await.is_empty());
    assert_eq!(room.taken(), events);
    assert_eq!(outbox::waiting(&*room.table).await.unwrap(), 0);
}

#[tokio::test]
async fn records_that_fail_are_named_and_hold_up_no_other() {
    let events = events(5);
    let room = Room::new(&events, &[3]).await;
    let mut records: Vec<Value> =
        (100..).zip(&events).map(|(sequence, event)| change(sequence, "INSERT", event)).collect();
    records[1]["dynamodb"]["NewImage"]["body"]["B"] = json!("bW9vbg==");
    records[2]["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    let failed = room.relay(Arc::clone(&room.table), &records).await;
    assert_eq!(failed, ["101", "102", "103"]);
    assert_eq!(room.taken(), [events[0].clone(), events[4].clone()]);
    assert_eq!(outbox::waiting(&*room.table).await.unwrap(), 3, "their rows stay");
}

#[tokio::test]
async fn rows_that_cannot_be_removed_are_tried_again() {
    let events = events(2);
    let room = Room::new(&events, &[]).await;
    let faulty = Faulty::new(Arc::clone(&room.table), Faults::all(1_000), 1);
    let records: Vec<Value> =
        (100..).zip(&events).map(|(sequence, event)| change(sequence, "INSERT", event)).collect();
    assert_eq!(room.relay(faulty, &records).await, ["100", "101"]);
    assert!(room.relay(Arc::clone(&room.table), &records).await.is_empty());
    assert_eq!(room.taken().len(), 4, "published twice, which consumers bear");
    assert_eq!(outbox::waiting(&*room.table).await.unwrap(), 0);
}
