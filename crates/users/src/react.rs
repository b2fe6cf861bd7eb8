//! What the service does about its own deletions.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Message, QueueSpec, Reaction, Subscription};
use kernel::{EventData, EventKind, Problem};

use crate::Users;

/// The service's queues.
pub const QUEUES: &[QueueSpec] = &[ERASURE];

/// Deleted users whose identity must go.
const ERASURE: QueueSpec = QueueSpec { name: "user-erasure", kinds: &[EventKind::UserDeleted] };

pub(crate) fn subscription(users: Arc<Users>) -> Subscription {
    ERASURE.consumed_by(users, 10, 1)
}

#[async_trait]
impl Reaction for Users {
    /// Deletes the identity, should the request that deleted the account not have come so far.
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        match &message.event.data {
            EventData::UserDeleted(user) => self.identity.delete(user.user_id).await,
            _ => Ok(()),
        }
    }
}
