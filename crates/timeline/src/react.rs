//! Which events the timeline reacts to, and through which queues.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Delivery, Failed, Handler, Message, QueueSpec, Reaction, Subscription};
use kernel::sockets::CloseCode;
use kernel::{EventData, EventKind, Problem, UserId};

use crate::Timeline;

/// The service's queues. Fan-out has one of its own, so that neither a mass deletion nor a wave of
/// follows delays a post by more than the turn it takes.
pub const QUEUES: &[QueueSpec] = &[FAN_OUT, REMOVAL, FOLLOW, USER];

pub(crate) const FAN_OUT: QueueSpec =
    QueueSpec { name: "timeline-fanout", kinds: &[EventKind::PostCreated] };
pub(crate) const REMOVAL: QueueSpec =
    QueueSpec { name: "timeline-removal", kinds: &[EventKind::PostDeleted] };
const FOLLOW: QueueSpec = QueueSpec {
    name: "timeline-follow",
    kinds: &[
        EventKind::FollowCreated,
        EventKind::FollowDeleted,
        EventKind::MuteCreated,
        EventKind::MuteDeleted,
    ],
};
pub(crate) const USER: QueueSpec = QueueSpec {
    name: "timeline-user",
    kinds: &[
        EventKind::UserProfileUpdated,
        EventKind::UserDeleted,
        EventKind::UserSuspended,
        EventKind::UserRestored,
    ],
};

/// Whole batches, so that many posts share one turn.
struct FanOut(Arc<Timeline>);

#[async_trait]
impl Handler for FanOut {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        self.0.turns.in_one_go(self.0.fan_out(batch)).await
    }
}

impl Timeline {
    /// Its reactions to events.
    pub fn subscriptions(self: Arc<Self>) -> Vec<Subscription> {
        let one_by_one: Arc<dyn Handler> = Arc::clone(&self) as _;
        vec![
            FAN_OUT.consumed_by(Arc::new(FanOut(self)), 100, 1),
            REMOVAL.consumed_by(Arc::clone(&one_by_one), 20, 1),
            FOLLOW.consumed_by(Arc::clone(&one_by_one), 10, 4),
            USER.consumed_by(one_by_one, 10, 1),
        ]
    }

    /// Puts the next page of a message's work on `queue`.
    pub(crate) async fn go_on(
        &self,
        queue: QueueSpec,
        message: &Message,
        after: UserId,
    ) -> Result<(), Problem> {
        let next = Message { event: message.event.clone(), cursor: Some(after.to_string()) };
        Ok(self.parts.bus.enqueue(queue.name, &[next]).await?)
    }
}

#[async_trait]
impl Reaction for Timeline {
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        self.turns.in_one_go(self.react_to(message)).await
    }
}

impl Timeline {
    async fn react_to(&self, message: &Message) -> Result<(), Problem> {
        match &message.event.data {
            EventData::PostDeleted(post) => self.remove_post(message, post).await,
            EventData::FollowCreated(follow) => self.follow_changed(follow, true).await,
            EventData::FollowDeleted(follow) => self.follow_changed(follow, false).await,
            EventData::MuteCreated(mute) | EventData::MuteDeleted(mute) => {
                self.mute_changed(mute).await
            }
            EventData::UserDeleted(user) => self.user_left(message, user.user_id).await,
            EventData::UserSuspended(user) => {
                self.objects.forget_author(user.user_id);
                self.parts.sockets.close(user.user_id, CloseCode::TokenExpired).await
            }
            EventData::UserRestored(user) => {
                self.objects.forget_author(user.user_id);
                Ok(())
            }
            EventData::UserProfileUpdated(profile) => {
                self.objects.keep_author(profile);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// After which user a message's work goes on; none at its beginning.
pub(crate) fn goes_on_after(message: &Message) -> Option<UserId> {
    message.cursor.as_deref().and_then(|cursor| cursor.parse().ok())
}
