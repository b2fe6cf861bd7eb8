//! What the service does about its own deletions.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Delivery, Failed, Handler, Subscription};
use kernel::{Event, EventData, EventKind, Problem};

use crate::Users;

/// The queue of deleted users whose identity must go.
pub const ERASURE_QUEUE: &str = "user-erasure";

pub(crate) fn subscription(users: Arc<Users>) -> Subscription {
    Subscription {
        queue: ERASURE_QUEUE,
        kinds: &[EventKind::UserDeleted],
        batch_max: 10,
        workers: 1,
        handler: Arc::new(Erase(users)),
    }
}

struct Erase(Arc<Users>);

impl Erase {
    /// Deletes the identity, should the request that deleted the account not have come so far.
    async fn erase(&self, event: &Event) -> Result<(), Problem> {
        match &event.data {
            EventData::UserDeleted(user) => self.0.identity.delete(user.user_id).await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Handler for Erase {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let mut failed = Vec::new();
        for Delivery { id, message, .. } in batch {
            if let Err(problem) = self.erase(&message.event).await {
                failed.push(Failed { id, problem });
            }
        }
        failed
    }
}
