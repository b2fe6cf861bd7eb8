//! A service's reactions to the messages of its queues, as SQS hands them to a function.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::bus::AwsBus;
use aws::bus::lambda::SqsEvent;
use kernel::bus::Subscription;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::function::{Failure, Function, read, written};

/// Time to take what failed for the last time to the dead letters, and to answer.
const SETTLE_TIME: Duration = Duration::from_millis(750);

/// Consumes the queues of one service. The mapping must ask for `ReportBatchItemFailures`.
pub(crate) struct Queues {
    pub(crate) bus: Arc<AwsBus>,
    pub(crate) subscriptions: Vec<Subscription>,
}

#[async_trait]
impl Function for Queues {
    async fn invoke(&self, event: &RawValue, until: Instant) -> Result<Box<RawValue>, Failure> {
        let event: SqsEvent = read(event)?;
        let left = until.saturating_duration_since(Instant::now());
        let until = until - SETTLE_TIME.min(left / 4);
        written(&self.bus.sqs_event(&self.subscriptions, event, until).await)
    }
}
