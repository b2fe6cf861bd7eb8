//! What posts do when a user is deleted, suspended or restored, or has confirmed their address.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Message, QueueSpec, Reaction, Subscription};
use kernel::{EventData, EventKind, Problem};

use crate::{Posts, store, suspended};

/// The service's queues.
pub const QUEUES: &[QueueSpec] = &[USER_DELETED];

/// Users to forget, to hide or show, and who may write freely. The name is from when only the first
/// were here; messages are kept under it.
const USER_DELETED: QueueSpec = QueueSpec {
    name: "post-user-deleted",
    kinds: &[
        EventKind::UserDeleted,
        EventKind::EmailConfirmed,
        EventKind::UserSuspended,
        EventKind::UserRestored,
    ],
};

pub(crate) fn subscription(posts: Arc<Posts>) -> Subscription {
    USER_DELETED.consumed_by(posts, 1, 2)
}

#[async_trait]
impl Reaction for Posts {
    /// Removes as much as one delivery may, and queues the rest. What is left to do is found in
    /// the table, so a repetition only goes on.
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        let user = match &message.event.data {
            EventData::UserDeleted(user) => user,
            EventData::EmailConfirmed(user) => {
                return store::mark_confirmed(self, user.user_id).await;
            }
            EventData::UserSuspended(user) => return suspended::note(self, user, true).await,
            EventData::UserRestored(user) => return suspended::note(self, user, false).await,
            _ => return Ok(()),
        };
        store::mark_gone(self, user.user_id).await?;
        for _ in 0..self.config.commits_per_delivery {
            if store::remove_some(self, user.user_id).await? {
                return Ok(());
            }
        }
        Ok(self.bus.enqueue(USER_DELETED.name, std::slice::from_ref(message)).await?)
    }
}
