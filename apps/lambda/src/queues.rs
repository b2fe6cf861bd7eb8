//! A service's reactions to the messages of its queues, as SQS hands them to a function.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::bus::AwsBus;
use aws::bus::lambda::{SqsEvent, SqsRecord};
use kernel::bus::Subscription;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::function::{Failure, Function, read, written};
use crate::processes::Processes;

/// Time to take what failed for the last time to the dead letters, and to answer.
const SETTLE_TIME: Duration = Duration::from_millis(750);

/// Consumes the queues of one service. The mapping must ask for `ReportBatchItemFailures`.
pub struct Queues {
    /// What the queues are read as, and where dead letters go.
    pub bus: Arc<AwsBus>,
    /// What is done with each queue's messages.
    pub subscriptions: Vec<Subscription>,
}

/// What it is given. (No untagged enum: that would keep every event aside to read it twice.)
#[derive(Deserialize)]
struct Given {
    /// By itself in a process of its own: a message that has failed before.
    again: Option<SqsRecord>,
    /// By Lambda: some messages of one queue.
    #[serde(rename = "Records", default)]
    records: Vec<SqsRecord>,
}

#[async_trait]
impl Function for Queues {
    async fn invoke(&self, event: &RawValue, until: Instant) -> Result<Box<RawValue>, Failure> {
        let Given { again, records } = read(event)?;
        if let Some(record) = again {
            return written(&self.bus.sqs_record(&self.subscriptions, record, until).await);
        }
        let left = until.saturating_duration_since(Instant::now());
        let until = until - SETTLE_TIME.min(left / 4);
        written(
            &self.bus.sqs_event(&self.subscriptions, SqsEvent { records }, &Processes, until).await,
        )
    }
}
