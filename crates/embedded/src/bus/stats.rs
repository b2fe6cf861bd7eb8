//! What the queues look like from outside: numbers for metrics and readiness, and waiting for
//! quiet.

use std::time::Duration;

use kernel::Time;
use kernel::queues::QueueStats;

use super::queue::Count;
use super::{Bus, Queue};

impl Bus {
    /// Every queue's numbers. Cheap: counted as messages come and go, not when asked.
    pub fn stats(&self) -> Vec<QueueStats> {
        self.shared.queues.iter().map(|queue| self.stats_of(queue)).collect()
    }

    fn stats_of(&self, queue: &Queue) -> QueueStats {
        let now = self.shared.clock.now();
        let count = queue.state().count(now);
        let in_flight = u64::try_from(count.in_flight).unwrap_or(u64::MAX);
        let oldest = count.oldest.or_else(|| self.first_queued(queue, &count));
        QueueStats {
            queue: queue.name,
            waiting: count.tally.live.saturating_sub(in_flight),
            in_flight,
            oldest_age: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            dead: count.tally.dead,
        }
    }

    /// When the first message behind an empty window was queued.
    fn first_queued(&self, queue: &Queue, count: &Count) -> Option<Time> {
        let range = (count.unread?, count.tally.next);
        let read = self.shared.read(|store| store.messages(queue.name, range, 1, usize::MAX));
        let stored = read.ok()?;
        stored.first().map(|stored| stored.queued)
    }

    /// Sets the gauges `queue_depth` (by `queue` and `state`), `queue_oldest_age_seconds` and
    /// `queue_dead_letters`.
    pub fn record_metrics(&self) {
        self.stats().iter().for_each(QueueStats::record);
    }

    /// Waits until every queue is empty: nothing waits, is in hand, or is hidden for later.
    pub async fn drain(&self) {
        self.wait_for(|_, count| count.tally.live == 0).await;
    }

    /// Waits until there is nothing to do at this moment; failed messages may be hidden for later.
    pub async fn idle(&self) {
        self.wait_for(|_, count| count.idle).await;
    }

    async fn wait_for(&self, reached: impl Fn(&Queue, &Count) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let now = self.shared.clock.now();
            if self.shared.queues.iter().all(|queue| reached(queue, &queue.state().count(now))) {
                return;
            }
            // The sender lives as long as the bus.
            let _ = changes.changed().await;
        }
    }
}
