//! What posts do when a user is deleted.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Delivery, Failed, Handler, Message, Subscription};
use kernel::{EventData, EventKind, Problem};

use crate::{Posts, store};

/// The queue of users to forget.
pub const USER_DELETED_QUEUE: &str = "post-user-deleted";

pub(crate) fn subscription(posts: Arc<Posts>) -> Subscription {
    Subscription {
        queue: USER_DELETED_QUEUE,
        kinds: &[EventKind::UserDeleted],
        batch_max: 1,
        workers: 2,
        handler: Arc::new(ForgetUser(posts)),
    }
}

struct ForgetUser(Arc<Posts>);

#[async_trait]
impl Handler for ForgetUser {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let mut failed = Vec::new();
        for Delivery { id, message, .. } in batch {
            if let Err(problem) = self.forget(&message).await {
                failed.push(Failed { id, problem });
            }
        }
        failed
    }
}

impl ForgetUser {
    /// Removes as much as one delivery may, and queues the rest. What is left to do is found in
    /// the table, so a repetition only goes on.
    async fn forget(&self, message: &Message) -> Result<(), Problem> {
        let EventData::UserDeleted(user) = &message.event.data else { return Ok(()) };
        let posts = self.0.as_ref();
        store::mark_gone(posts, user.user_id).await?;
        for _ in 0..posts.config.commits_per_delivery {
            if store::remove_some(posts, user.user_id).await? {
                return Ok(());
            }
        }
        Ok(posts.bus.enqueue(USER_DELETED_QUEUE, std::slice::from_ref(message)).await?)
    }
}
