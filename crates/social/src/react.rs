//! What the social service does when a post or a user is deleted.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::bus::{Handler, Message, QueueSpec, Reaction, Subscription};
use kernel::{EventData, EventKind, PostId, Problem, UserId};

use crate::store::hides::Hide;
use crate::{Social, store};

/// The service's queues.
pub const QUEUES: &[QueueSpec] = &[POST_DELETED, USER_DELETED];

/// Posts whose likes go.
const POST_DELETED: QueueSpec =
    QueueSpec { name: "social-post-deleted", kinds: &[EventKind::PostDeleted] };
/// Users whose follows, likes, blocks and mutes go.
const USER_DELETED: QueueSpec =
    QueueSpec { name: "social-user-deleted", kinds: &[EventKind::UserDeleted] };

pub(crate) fn subscriptions(social: &Arc<Social>) -> Vec<Subscription> {
    let social: Arc<dyn Handler> = Arc::clone(social) as _;
    vec![
        POST_DELETED.consumed_by(Arc::clone(&social), 10, 2),
        USER_DELETED.consumed_by(social, 1, 2),
    ]
}

#[async_trait]
impl Reaction for Social {
    async fn react(&self, message: &Message) -> Result<(), Problem> {
        forget(self, message).await
    }
}

/// Removes as much as one delivery may, and queues the rest. What is left to do is found in the
/// table, so a repetition only goes on.
async fn forget(social: &Social, message: &Message) -> Result<(), Problem> {
    let (queue, done) = match &message.event.data {
        EventData::PostDeleted(post) => (POST_DELETED, forget_post(social, post.post_id).await?),
        EventData::UserDeleted(user) => (USER_DELETED, forget_user(social, user.user_id).await?),
        _ => return Ok(()),
    };
    if !done {
        social.bus.enqueue(queue.name, std::slice::from_ref(message)).await?;
    }
    Ok(())
}

async fn forget_post(social: &Social, post: PostId) -> Result<bool, Problem> {
    store::mark_gone(social, store::post_gone(post)).await?;
    for _ in 0..social.config.commits_per_delivery {
        if store::likes::remove_of_post(social, post).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn forget_user(social: &Social, user: UserId) -> Result<bool, Problem> {
    store::mark_gone(social, store::user_gone(user)).await?;
    let mut left = LeftOfUser::Following;
    let mut pieces = 0;
    while pieces < social.config.commits_per_delivery {
        let done = match left {
            LeftOfUser::Following => store::follows::undo_following(social, user).await?,
            LeftOfUser::Followers => store::follows::undo_followers(social, user).await?,
            LeftOfUser::HidesBy(hide) => store::hides::remove_by(social, hide, user).await?,
            LeftOfUser::HidesOf(hide) => store::hides::remove_of(social, hide, user).await?,
            LeftOfUser::Likes => store::likes::undo_of_user(social, user).await?,
        };
        // Only pieces count: a repetition must come further than the look at what is done.
        left = match (done, left) {
            (false, left) => {
                pieces += 1;
                left
            }
            (true, LeftOfUser::Following) => LeftOfUser::Followers,
            (true, LeftOfUser::Followers) => LeftOfUser::HidesBy(Hide::Block),
            (true, LeftOfUser::HidesBy(Hide::Block)) => LeftOfUser::HidesBy(Hide::Mute),
            (true, LeftOfUser::HidesBy(Hide::Mute)) => LeftOfUser::HidesOf(Hide::Block),
            (true, LeftOfUser::HidesOf(Hide::Block)) => LeftOfUser::HidesOf(Hide::Mute),
            (true, LeftOfUser::HidesOf(Hide::Mute)) => LeftOfUser::Likes,
            (true, LeftOfUser::Likes) => return Ok(true),
        };
    }
    Ok(false)
}

/// What of a deleted user may still be there; each kind ends before the next begins.
#[derive(Clone, Copy)]
enum LeftOfUser {
    Following,
    Followers,
    HidesBy(Hide),
    HidesOf(Hide),
    Likes,
}
