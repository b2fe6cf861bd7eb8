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

/// What it is given.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    /// By itself in a process of its own: a message that has failed before.
    Again {
        /// The message.
        again: SqsRecord,
    },
    /// By Lambda: some messages of one queue.
    Event(SqsEvent),
}

#[async_trait]
impl Function for Queues {
    async fn invoke(&self, event: &RawValue, until: Instant) -> Result<Box<RawValue>, Failure> {
        let event = match read(event)? {
            Given::Event(event) => event,
            Given::Again { again } => {
                return written(&self.bus.sqs_record(&self.subscriptions, again, until).await);
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        let until = until - SETTLE_TIME.min(left / 4);
        written(&self.bus.sqs_event(&self.subscriptions, event, &Processes, until).await)
    }
}
