//! Numbers of the queues, for metrics and readiness.

use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::try_join_all;
use kernel::queues::QueueStats;
use kernel::{Problem, Time};

use super::receive::Received;
use super::retry::Remote;
use super::{AwsBus, Queue, Side};

impl Queue {
    /// Remembers the age of what was received; SQS tells it nowhere else but in `CloudWatch`.
    pub(super) fn see(&self, received: &[Received]) {
        let oldest = received.iter().map(|message| message.sent).min();
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }

    fn oldest(&self) -> Option<Time> {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AwsBus {
    pub(super) async fn all_stats(&self) -> Result<Vec<QueueStats>, Problem> {
        let stats = (0..self.queues.len()).map(|index| self.stats_of(index));
        Ok(try_join_all(stats).await?)
    }

    /// Approximate, as SQS counts. The age is that of the oldest message in this process's last
    /// receive; the alarm stands on `CloudWatch`'s `ApproximateAgeOfOldestMessage`.
    async fn stats_of(&self, index: usize) -> Result<QueueStats, Remote> {
        let queue = &self.queues[index];
        let (live, dead) =
            tokio::try_join!(self.count(index, Side::Live), self.count(index, Side::Dead))?;
        let in_flight = live.hidden;
        let oldest = queue.oldest().filter(|_| live.waiting + in_flight > 0);
        Ok(QueueStats {
            queue: queue.spec.name,
            waiting: live.waiting,
            in_flight,
            oldest_age: oldest.map_or(Duration::ZERO, |sent| self.clock.now().since(sent)),
            dead: dead.waiting + dead.hidden,
        })
    }

    async fn count(&self, index: usize, side: Side) -> Result<Count, Remote> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let names = vec![
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        ];
        let url = self.url(index, side).await?;
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let told = request.set_attribute_names(Some(names)).send().await;
        let told = told.map_err(|error| Remote::new("GetQueueAttributes", &error))?;
        let told = told.attributes.unwrap_or_default();
        let number = |name| told.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0u64);
        Ok(Count {
            waiting: number(ApproximateNumberOfMessages)
                + number(ApproximateNumberOfMessagesDelayed),
            hidden: number(ApproximateNumberOfMessagesNotVisible),
        })
    }

    /// Sets the gauges `queue_depth` (by `queue` and `state`), `queue_oldest_age_seconds` and
    /// `queue_dead_letters`.
    pub async fn record_metrics(&self) -> Result<(), Problem> {
        self.all_stats().await?.iter().for_each(QueueStats::record);
        Ok(())
    }
}

struct Count {
    waiting: u64,
    hidden: u64,
}
