//! Another service's internal reads, with the caller's deadline. These and events are all that
//! services know of each other.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Post, PostId, Problem, Profile, UserId};

/// How a post is liked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LikeState {
    /// By how many.
    pub like_count: u64,
    /// Whether by the viewer.
    pub liked: bool,
}

/// A page of somebody's followers, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Followers {
    /// The followers.
    pub users: Vec<UserId>,
    /// Where to go on; none at the end.
    pub next: Option<UserId>,
}

/// The other services. Lists of ids hold up to 100; answers keep their order.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Posts by id; none for what is unknown or deleted.
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem>;

    /// Which of the posts are still there; always fresh, so that no cache can show what is gone.
    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem>;

    /// An author's newest posts older than `before`, up to 100, newest first.
    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem>;

    /// Profiles by id; none for who is unknown or deleted.
    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem>;

    /// Like counts of posts. May be some seconds old.
    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem>;

    /// Which of the posts the viewer likes; always fresh.
    async fn liked(&self, viewer: UserId, posts: &[PostId]) -> Result<Vec<bool>, Problem>;

    /// A page of up to 1,000 followers with ids greater than `after`.
    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem>;

    /// A page of up to 1,000 users that `user` follows, with ids greater than `after`.
    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem>;
}
