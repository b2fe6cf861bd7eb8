//! The relay where Lambda reads a table's stream: rows of the outbox, as they were inserted, go to
//! the bus and away.
//!
//! A record that cannot be read fails, and so does one that the bus refuses; Lambda comes again
//! from the first failure on, at most as often as the mapping allows, and then takes it to the
//! mapping's on-failure destination, so that none blocks its shard for ever. What was published
//! behind it is published again, which consumers bear.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::Event;
use kernel::outbox::{Relay, is_row};
use kernel::table::Key;
use serde::Deserialize;

use super::lambda::BatchResponse;

/// What Lambda hands a function that reads a stream; only what is needed of it.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamEvent {
    /// The changes, in their order.
    #[serde(rename = "Records", default)]
    pub records: Vec<StreamRecord>,
}

/// One change of an item.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRecord {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// What changed.
    pub dynamodb: Change,
}

/// What changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    /// The record's place in the stream; a failure is reported by it.
    pub sequence_number: String,
    /// The item as it is now.
    pub new_image: Option<HashMap<String, Attribute>>,
}

/// A value of an item; types that no row of the outbox has are left out.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Attribute {
    /// Text.
    #[serde(rename = "S")]
    pub text: Option<String>,
    /// Bytes in base 64.
    #[serde(rename = "B")]
    pub bytes: Option<String>,
}

/// A row of the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its record's sequence number.
    pub sequence: String,
    /// Its event, or why it cannot be read.
    pub event: Result<Event, String>,
}

/// The rows of the outbox that were inserted; everything else in the stream is nothing to us.
pub fn rows(event: StreamEvent) -> Vec<Row> {
    let records = event.records.into_iter().filter(|record| record.event_name == "INSERT");
    let rows = records.filter_map(|record| {
        let image = record.dynamodb.new_image.unwrap_or_default();
        let text = |name: &str| image.get(name).and_then(|value| value.text.clone());
        // A stream without images is a defect of the table: it must not pass in silence.
        let partition = text("pk");
        if partition.is_some_and(|name| !is_row(&Key::new(name, String::new()))) {
            return None;
        }
        let sequence = record.dynamodb.sequence_number;
        Some(Row { sequence, event: read(image.get("body")) })
    });
    rows.collect()
}

fn read(body: Option<&Attribute>) -> Result<Event, String> {
    let bytes = body.and_then(|body| body.bytes.as_ref()).ok_or("the record has no body")?;
    let bytes = STANDARD.decode(bytes).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// Publishes an event's rows and removes them; answers the records that failed.
pub async fn relay(relay: &Relay, event: StreamEvent) -> BatchResponse {
    let (mut sequences, mut events) = (Vec::new(), Vec::new());
    for row in rows(event) {
        match row.event {
            Ok(event) => {
                sequences.push((row.sequence, Some(event.id.to_string())));
                events.push(event);
            }
            Err(error) => {
                let sequence = &row.sequence;
                tracing::error!(sequence, error, "a row of the outbox cannot be published");
                sequences.push((row.sequence, None));
            }
        }
    }
    let mut done = Vec::with_capacity(events.len());
    if let Err(problem) = relay.publish(&events, &mut done).await {
        tracing::error!(error = ?problem, "the bus did not take every event");
    }
    let mut taken: HashSet<String> = done.iter().map(|row| row.key().sort.clone()).collect();
    if let Err(problem) = relay.forget(done).await {
        // The rows must go, and only this function takes them away.
        tracing::error!(error = ?problem, "published rows of the outbox could not be removed");
        taken.clear();
    }
    let failed =
        sequences.into_iter().filter(|(_, id)| id.as_ref().is_none_or(|id| !taken.contains(id)));
    failed.map(|(sequence, _)| sequence).collect()
}
