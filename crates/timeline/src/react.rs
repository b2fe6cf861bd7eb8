//! Which events the timeline reacts to, and through which queues.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Delivery, Failed, Handler, Message, Subscription};
use kernel::{EventData, EventKind, Problem, UserId};

use crate::Timeline;

pub(crate) const FAN_OUT: &str = "timeline-fanout";
pub(crate) const REMOVAL: &str = "timeline-removal";
const FOLLOW: &str = "timeline-follow";
pub(crate) const USER: &str = "timeline-user";

/// Whole batches, so that many posts share one turn.
struct FanOut(Arc<Timeline>);

#[async_trait]
impl Handler for FanOut {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        self.0.fan_out(batch).await
    }
}

/// One delivery after the other.
struct OneByOne(Arc<Timeline>);

#[async_trait]
impl Handler for OneByOne {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let mut failed = Vec::new();
        for Delivery { id, message, .. } in batch {
            if let Err(problem) = self.0.react(&message).await {
                failed.push(Failed { id, problem });
            }
        }
        failed
    }
}

impl Timeline {
    /// The queues it consumes. Fan-out has one of its own, so that neither a mass deletion nor a
    /// wave of follows delays a post by more than the turn it takes.
    pub fn subscriptions(self: Arc<Self>) -> Vec<Subscription> {
        let one_by_one: Arc<dyn Handler> = Arc::new(OneByOne(Arc::clone(&self)));
        let queue = |queue, kinds, batch_max, workers| Subscription {
            queue,
            kinds,
            batch_max,
            workers,
            handler: Arc::clone(&one_by_one),
        };
        vec![
            Subscription {
                queue: FAN_OUT,
                kinds: &[EventKind::PostCreated],
                batch_max: 100,
                workers: 1,
                handler: Arc::new(FanOut(self)),
            },
            queue(REMOVAL, &[EventKind::PostDeleted], 20, 1),
            queue(FOLLOW, &[EventKind::FollowCreated, EventKind::FollowDeleted], 10, 4),
            queue(USER, &[EventKind::UserProfileUpdated, EventKind::UserDeleted], 10, 1),
        ]
    }

    async fn react(&self, message: &Message) -> Result<(), Problem> {
        match &message.event.data {
            EventData::PostDeleted(post) => self.remove_post(message, post).await,
            EventData::FollowCreated(follow) => self.follow_changed(follow, true).await,
            EventData::FollowDeleted(follow) => self.follow_changed(follow, false).await,
            EventData::UserDeleted(user) => self.user_left(message, user.user_id).await,
            EventData::UserProfileUpdated(profile) => {
                self.objects.keep_author(profile);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Puts the next page of a message's work on `queue`.
    pub(crate) async fn go_on(
        &self,
        queue: &str,
        message: &Message,
        after: UserId,
    ) -> Result<(), Problem> {
        let next = Message { event: message.event.clone(), cursor: Some(after.to_string()) };
        Ok(self.parts.bus.enqueue(queue, &[next]).await?)
    }
}

/// After which user a message's work goes on; none at its beginning.
pub(crate) fn goes_on_after(message: &Message) -> Option<UserId> {
    message.cursor.as_deref().and_then(|cursor| cursor.parse().ok())
}
