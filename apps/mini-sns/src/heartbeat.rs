//! Whether work gets through the bus: a message of our own, sent and seen.
//!
//! Where several processes consume one queue, another may have received it: then it says so in the
//! table that they share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kernel::bus::{Bus, Message, QueueSpec, Reaction, Subscription};
use kernel::event::DeletedUser;
use kernel::table::{Key, Table, Write, get_one};
use kernel::{Clock, Code, Event, EventData, Ids, Problem, UserId};
use tokio::sync::Notify;
use ulid::Ulid;

use crate::world::Seams;

/// How long a heartbeat may take.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two looks whether another process has received it.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// How long such word is kept.
const KEPT: Duration = Duration::from_secs(60);

/// Sends heartbeats and waits for them.
pub(crate) struct Heartbeat {
    queue: QueueSpec,
    bus: Arc<dyn Bus>,
    table: Option<Arc<dyn Table>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// Those of this process that are under way.
    beats: Mutex<HashSet<Ulid>>,
    /// One of them has come back.
    back: Notify,
}

fn key(id: Ulid) -> Key {
    Key::new("heartbeat", id.to_string())
}

impl Heartbeat {
    pub(crate) fn new(seams: &Seams) -> Arc<Self> {
        Arc::new(Self {
            queue: seams.heartbeat,
            bus: Arc::clone(&seams.bus),
            table: seams.tables.first().map(|(_, table)| Arc::clone(table)),
            clock: seams.clock(),
            ids: seams.ids(),
            beats: Mutex::default(),
            back: Notify::new(),
        })
    }

    pub(crate) fn subscription(self: Arc<Self>) -> Subscription {
        self.queue.consumed_by(self, 10, 1)
    }

    /// Sends a message through the bus and waits until it is handled.
    pub(crate) async fn beat(&self) -> Result<(), Problem> {
        // An event about nobody: it goes to this queue alone.
        let nobody = DeletedUser { user_id: UserId(Ulid::nil()) };
        let event = Event::new(&*self.ids, &*self.clock, EventData::UserDeleted(nobody));
        let id = event.id;
        self.beats().insert(id);
        let beat = Beat { heartbeat: self, id };
        self.bus.enqueue(self.queue.name, &[Message::from(event)]).await?;
        let handled = async {
            tokio::select! { () = beat.here() => {}, () = beat.elsewhere() => {} }
        };
        tokio::time::timeout(WAIT_MAX, handled)
            .await
            .map_err(|_| Problem::new(Code::Unavailable, "A message does not get through the bus."))
    }

    fn beats(&self) -> MutexGuard<'_, HashSet<Ulid>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One heartbeat under way.
struct Beat<'a> {
    heartbeat: &'a Heartbeat,
    id: Ulid,
}

impl Beat<'_> {
    /// Until this process has received it.
    async fn here(&self) {
        loop {
            let back = self.heartbeat.back.notified();
            if !self.heartbeat.beats().contains(&self.id) {
                return;
            }
            back.await;
        }
    }

    /// Until another process has.
    async fn elsewhere(&self) {
        let Some(table) = &self.heartbeat.table else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if matches!(get_one(table.as_ref(), key(self.id)).await, Ok(Some(_))) {
                return;
            }
        }
    }
}

impl Drop for Beat<'_> {
    fn drop(&mut self) {
        self.heartbeat.beats().remove(&self.id);
    }
}

#[async_trait]
impl Reaction for Heartbeat {
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        let id = message.event.id;
        if self.beats().remove(&id) {
            self.back.notify_waiters();
            return Ok(());
        }
        let now = self.clock.now();
        let is_waited_for = now.since(message.event.time) < WAIT_MAX * 2;
        if let Some(table) = self.table.as_ref().filter(|_| is_waited_for) {
            table.commit(vec![Write::put(key(id), "here").expiring(now + KEPT)]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use conformance::{Oracle, SeededIds, TestClock};
    use kernel::bus::BusError;

    use super::*;

    const QUEUE: QueueSpec = QueueSpec { name: "heartbeat", kinds: &[] };

    /// A bus whose every message goes to one consumer.
    #[derive(Default)]
    struct To(Mutex<Option<Arc<Heartbeat>>>);

    #[async_trait]
    impl Bus for To {
        async fn publish(&self, _: &[Event]) -> Result<(), BusError> {
            Ok(())
        }

        async fn enqueue(&self, _: &str, messages: &[Message]) -> Result<(), BusError> {
            let consumer = self.0.lock().unwrap().clone();
            if let Some(consumer) = consumer {
                consumer.react(&messages[0]).await.unwrap();
            }
            Ok(())
        }
    }

    fn heartbeat(bus: &Arc<To>, table: &Arc<Oracle>, clock: &Arc<TestClock>) -> Arc<Heartbeat> {
        Arc::new(Heartbeat {
            queue: QUEUE,
            bus: Arc::clone(bus) as _,
            table: Some(Arc::clone(table) as _),
            ids: SeededIds::new(clock.clone(), 1),
            clock: Arc::clone(clock) as _,
            beats: Mutex::default(),
            back: Notify::new(),
        })
    }

    #[tokio::test]
    async fn it_is_seen_here_and_by_a_replica_and_missed_where_nobody_receives_it() {
        let clock = TestClock::new();
        let (bus, table) = (Arc::<To>::default(), Oracle::new(clock.clone()));
        let (one, two) = (heartbeat(&bus, &table, &clock), heartbeat(&bus, &table, &clock));
        *bus.0.lock().unwrap() = Some(Arc::clone(&one));
        one.beat().await.unwrap();
        assert!(one.beats().is_empty());
        two.beat().await.expect("the other process says so in the table");
        *bus.0.lock().unwrap() = None;
        let problem = one.beat().await.unwrap_err();
        assert_eq!(problem.code, Code::Unavailable);
        assert!(one.beats().is_empty());
    }
}
