//! Whether work gets through the bus: a message of our own, sent and seen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::bus::{Bus, Message, QueueSpec, Reaction, Subscription};
use kernel::event::DeletedUser;
use kernel::{Clock, Code, Event, EventData, Ids, Problem, UserId};
use tokio::sync::watch;
use ulid::Ulid;

/// The queue of heartbeats; no event of a service comes to it.
pub(crate) const QUEUE: QueueSpec = QueueSpec { name: "heartbeat", kinds: &[] };

/// How long a heartbeat may take.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Sends heartbeats and waits for them.
pub(crate) struct Heartbeat {
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    seen: watch::Sender<Ulid>,
}

impl Heartbeat {
    pub(crate) fn new(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Arc<Self> {
        Arc::new(Self { bus, clock, ids, seen: watch::Sender::new(Ulid::nil()) })
    }

    pub(crate) fn subscription(self: Arc<Self>) -> Subscription {
        QUEUE.consumed_by(self, 10, 1)
    }

    /// Sends a message through the bus and waits until it, or a later one, is handled.
    pub(crate) async fn beat(&self) -> Result<(), Problem> {
        let mut seen = self.seen.subscribe();
        // An event about nobody: it goes to this queue alone.
        let nobody = DeletedUser { user_id: UserId(Ulid::nil()) };
        let event = Event::new(&*self.ids, &*self.clock, EventData::UserDeleted(nobody));
        let id = event.id;
        self.bus.enqueue(QUEUE.name, &[Message::from(event)]).await?;
        let handled = tokio::time::timeout(WAIT_MAX, seen.wait_for(|last| *last >= id)).await;
        match handled {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Problem::new(Code::Unavailable, "A message does not get through the bus.")),
        }
    }
}

#[async_trait]
impl Reaction for Heartbeat {
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        self.seen.send_modify(|last| *last = message.event.id.max(*last));
        Ok(())
    }
}
