//! Numbers of the queues, for metrics and readiness.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::try_join_all;
use kernel::queues::QueueStats;
use kernel::{Problem, Time};

use super::receive::Received;
use super::retry::Remote;
use super::{AwsBus, Queue, Side};

/// What a receive showed.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// When the oldest message of that receive was sent.
    sent: Time,
}

impl Queue {
    /// Remembers the age of what was received; SQS tells it nowhere else but in `CloudWatch`.
    pub(super) fn see(&self, received: &[Received]) {
        let oldest = received.iter().map(|message| message.sent).min();
        let seen = oldest.map(|sent| Seen { sent });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    fn oldest(&self) -> Option<Time> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).map(|seen| seen.sent)
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
        let told = self.attributes(index, side, names).await?;
        let number = |name| told.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0u64);
        Ok(Count {
            waiting: number(ApproximateNumberOfMessages)
                + number(ApproximateNumberOfMessagesDelayed),
            hidden: number(ApproximateNumberOfMessagesNotVisible),
        })
    }

    pub(super) async fn attributes(
        &self,
        index: usize,
        side: Side,
        names: Vec<QueueAttributeName>,
    ) -> Result<HashMap<QueueAttributeName, String>, Remote> {
        let url = self.url(index, side).await?;
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let told = request.set_attribute_names(Some(names)).send().await;
        let told = told.map_err(|error| Remote::new("GetQueueAttributes", &error))?;
        Ok(told.attributes.unwrap_or_default())
    }

    /// Sets the gauges `queue_depth` (by `queue` and `state`), `queue_oldest_age_seconds` and
    /// `queue_dead_letters`.
    pub async fn record_metrics(&self) -> Result<(), Problem> {
        for stats in self.all_stats().await? {
            let queue = stats.queue;
            let messages = [("waiting", stats.waiting), ("in_flight", stats.in_flight)];
            for (state, number) in messages {
                metrics::gauge!("queue_depth", "queue" => queue, "state" => state)
                    .set(gauge(number));
            }
            metrics::gauge!("queue_oldest_age_seconds", "queue" => queue)
                .set(stats.oldest_age.as_secs_f64());
            metrics::gauge!("queue_dead_letters", "queue" => queue).set(gauge(stats.dead));
        }
        Ok(())
    }
}

struct Count {
    waiting: u64,
    hidden: u64,
}

/// A count as a gauge takes it; above 2^32 it no longer matters how many there are.
fn gauge(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
