//! What the service does about its own deletions and suspensions.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Message, QueueSpec, Reaction, Subscription};
use kernel::{EventData, EventKind, Problem};

use crate::Users;

/// The service's queues.
pub const QUEUES: &[QueueSpec] = &[ERASURE];

/// Deleted users whose identity must go, and suspended ones whose identity must rest.
const ERASURE: QueueSpec = QueueSpec {
    name: "user-erasure",
    kinds: &[EventKind::UserDeleted, EventKind::UserSuspended, EventKind::UserRestored],
};

pub(crate) fn subscription(users: Arc<Users>) -> Subscription {
    ERASURE.consumed_by(users, 10, 1)
}

#[async_trait]
impl Reaction for Users {
    /// Deletes the identity, or brings it in line with a suspension, should the request that began
    /// it not have come so far.
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        match &message.event.data {
            EventData::UserDeleted(user) => self.identity.delete(user.user_id).await,
            EventData::UserSuspended(user) | EventData::UserRestored(user) => {
                self.align(user.user_id).await
            }
            _ => Ok(()),
        }
    }
}
