//! Consuming where Lambda receives the messages: an event of some records of one queue, answered
//! with those that failed.

use async_trait::async_trait;
use kernel::Time;
use kernel::bus::{Handler, Subscription};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::AwsBus;
use super::receive::Received;
use super::work::handle;

/// What Lambda hands a function that consumes a queue; only what is needed of it.
#[derive(Clone, Debug, Deserialize)]
pub struct SqsEvent {
    /// The messages.
    #[serde(rename = "Records", default)]
    pub records: Vec<SqsRecord>,
}

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl SqsRecord {
    /// The queue's name at SQS, from its ARN.
    fn queue_name(&self) -> &str {
        self.queue_arn.rsplit(':').next().unwrap_or_default()
    }

    fn receives(&self) -> u32 {
        self.attributes.approximate_receive_count.parse().unwrap_or(1)
    }
}

/// Where a message that has failed before is handled, out of reach of all others: whatever becomes
/// of its handler there, they are handled.
#[async_trait]
pub trait Apart: Send + Sync {
    /// Has it handled by [`AwsBus::sqs_record`], until `until`; or tells why it failed.
    async fn handle(&self, record: &SqsRecord, until: Instant) -> Result<(), String>;
}

impl From<SqsRecord> for Received {
    fn from(record: SqsRecord) -> Self {
        Self {
            receives: record.receives(),
            id: record.message_id,
            receipt: record.receipt_handle,
            sent: Time::from_millis(record.attributes.sent_timestamp.parse().unwrap_or(0)),
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
        SqsEvent { records }: SqsEvent,
        apart: &dyn Apart,
        until: Instant,
    ) -> BatchResponse {
        let Some(first) = records.first() else { return BatchResponse::default() };
        let Some((index, subscription)) = self.consumed(subscriptions, first) else {
            return records.into_iter().map(|record| record.message_id).collect();
        };
        let failed = alone(&*subscription.handler, records, apart, until).await;
        let ids: Vec<String> = failed.iter().map(|(message, _)| message.id.clone()).collect();
        let buried = self.bury(index, failed).await;
        let buried = |id: &String| buried.iter().any(|message| message.id == *id);
        ids.into_iter().filter(|id| !buried(id)).collect()
    }

    /// Has the subscription of its queue handle one message, and no more, until `until`; or tells
    /// why it failed.
    pub async fn sqs_record(
        &self,
        subscriptions: &[Subscription],
        record: SqsRecord,
        until: Instant,
    ) -> Result<(), String> {
        let Some((_, subscription)) = self.consumed(subscriptions, &record) else {
            return Err(NOT_CONSUMED.to_owned());
        };
        let settled = handle(&*subscription.handler, vec![record.into()], until).await;
        settled.failed.into_iter().next().map_or(Ok(()), |(_, reason)| Err(reason))
    }

    /// The subscription of a message's queue.
    fn consumed<'a>(
        &self,
        subscriptions: &'a [Subscription],
        record: &SqsRecord,
    ) -> Option<(usize, &'a Subscription)> {
        let name = record.queue_name();
        let found = subscriptions.iter().find_map(|subscription| {
            let index = self.index(subscription.queue).ok()?;
            (self.config.queue_name(subscription.queue) == name).then_some((index, subscription))
        });
        if found.is_none() {
            tracing::error!(queue = name, NOT_CONSUMED);
        }
        found
    }
}

const NOT_CONSUMED: &str = "the function does not consume this queue";

/// What came for the first time is handled together; each repetition apart and with its share of
/// the time, so that neither one that never ends nor one that ends its process takes another with
/// it. Answers what failed, and why.
async fn alone(
    handler: &dyn Handler,
    records: Vec<SqsRecord>,
    apart: &dyn Apart,
    until: Instant,
) -> Vec<(Received, String)> {
    let share = |groups: usize| {
        let left = until.saturating_duration_since(Instant::now());
        Instant::now() + left / u32::try_from(groups).unwrap_or(u32::MAX)
    };
    let (first, again): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.receives() <= 1);
    let mut failed = Vec::new();
    if !first.is_empty() {
        let first = first.into_iter().map(Received::from).collect();
        failed = handle(handler, first, share(1 + again.len())).await.failed;
    }
    let mut left = again.len();
    for record in again {
        if let Err(reason) = apart.handle(&record, share(left)).await {
            failed.push((record.into(), reason));
        }
        left -= 1;
    }
    failed
}
