//! Consuming where Lambda receives the messages: an event of some records of one queue, answered
//! with those that failed.

use kernel::Time;
use kernel::bus::Subscription;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::AwsBus;
use super::receive::Received;
use super::work::{Settled, handle};

/// What Lambda hands a function that consumes a queue; only what is needed of it.
#[derive(Clone, Debug, Deserialize)]
pub struct SqsEvent {
    /// The messages.
    #[serde(rename = "Records", default)]
    pub records: Vec<SqsRecord>,
}

/// One message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsRecord {
    /// SQS's name for the message; a failure is reported by it.
    pub message_id: String,
    /// By which this receive is settled.
    pub receipt_handle: String,
    /// What it holds.
    pub body: String,
    /// What SQS tells of it.
    pub attributes: SqsAttributes,
    /// The queue.
    #[serde(rename = "eventSourceARN")]
    pub queue_arn: String,
}

/// What SQS tells of a message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SqsAttributes {
    /// How often it was received, this time included.
    pub approximate_receive_count: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent_timestamp: String,
}

/// The answer to an event: what failed of it. The mapping must ask for it with
/// `ReportBatchItemFailures`; everything not named is done for good.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// What failed.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// One failure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// The message's id, or the stream record's sequence number.
    pub item_identifier: String,
}

impl FromIterator<String> for BatchResponse {
    fn from_iter<I: IntoIterator<Item = String>>(ids: I) -> Self {
        let failure = |item_identifier| ItemFailure { item_identifier };
        Self { batch_item_failures: ids.into_iter().map(failure).collect() }
    }
}

impl SqsEvent {
    /// The queue's name at SQS, from its ARN.
    fn queue_name(&self) -> Option<&str> {
        self.records.first()?.queue_arn.rsplit(':').next()
    }
}

impl From<SqsRecord> for Received {
    fn from(record: SqsRecord) -> Self {
        let told = record.attributes;
        Self {
            id: record.message_id,
            receipt: record.receipt_handle,
            receives: told.approximate_receive_count.parse().unwrap_or(1),
            sent: Time::from_millis(told.sent_timestamp.parse().unwrap_or(0)),
            note: None,
            body: record.body,
        }
    }
}

impl AwsBus {
    /// Has the subscription of the event's queue handle it, until `until`. What fails for the last
    /// time is put among the dead letters with its reason, and so is done.
    pub async fn sqs_event(
        &self,
        subscriptions: &[Subscription],
        event: SqsEvent,
        until: Instant,
    ) -> BatchResponse {
        let name = event.queue_name().unwrap_or_default().to_owned();
        let known = subscriptions.iter().find_map(|subscription| {
            let index = self.index(subscription.queue).ok()?;
            (self.config.queue_name(subscription.queue) == name).then_some((index, subscription))
        });
        let received: Vec<Received> = event.records.into_iter().map(Received::from).collect();
        let Some((index, subscription)) = known else {
            tracing::error!(queue = name, "the function does not consume this queue");
            return received.into_iter().map(|message| message.id).collect();
        };
        let settled = alone(&*subscription.handler, received, until).await;
        let failed: Vec<String> =
            settled.failed.iter().map(|(message, _)| message.id.clone()).collect();
        let buried = self.bury(index, settled.failed).await;
        let buried = |id: &String| buried.iter().any(|message| message.id == *id);
        failed.into_iter().filter(|id| !buried(id)).collect()
    }
}

/// What came for the first time is handled together; each repetition alone and with its share of
/// the time, so that one which never ends takes no other with it.
async fn alone(
    handler: &dyn kernel::bus::Handler,
    received: Vec<Received>,
    until: Instant,
) -> Settled {
    let (first, again): (Vec<_>, Vec<_>) =
        received.into_iter().partition(|message| message.receives <= 1);
    let mut groups: Vec<Vec<Received>> = again.into_iter().map(|message| vec![message]).collect();
    if !first.is_empty() {
        groups.insert(0, first);
    }
    let mut settled = Settled::default();
    let mut left = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    for group in groups {
        let share = until.saturating_duration_since(Instant::now()) / left.max(1);
        let some = handle(handler, group, Instant::now() + share).await;
        settled.done.extend(some.done);
        settled.failed.extend(some.failed);
        left -= 1;
    }
    settled
}
