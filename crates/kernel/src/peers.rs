//! Another service's internal reads, with the caller's deadline. These and events are all that
//! services know of each other.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Code, Post, PostId, Problem, Profile, UserId};

/// How a person is to be shown to a viewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Regard {
    /// As everybody is.
    #[default]
    Open,
    /// Not in the viewer's timeline: the viewer mutes them.
    Muted,
    /// Not at all: one of the two blocks the other.
    Blocked,
}

/// What of the social service's is a viewer's own, for some posts and some people in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Viewed {
    /// Which of the posts the viewer likes.
    pub liked: Vec<bool>,
    /// How the people are to be shown to the viewer.
    pub regards: Vec<Regard>,
}

/// A page of somebody's followers, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Followers {
    /// The followers.
    pub users: Vec<UserId>,
    /// Where to go on; none at the end.
    pub next: Option<UserId>,
}

/// What a process answers that is asked for another service's reads.
fn elsewhere<T>() -> Result<T, Problem> {
    Err(Problem::new(Code::NotFound, "This process does not serve that."))
}

/// The other services. Lists of ids hold up to 100; answers keep their order. Who serves only some
/// of them leaves the others' reads out.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Posts by id; none for what is unknown or deleted.
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        let _ = ids;
        elsewhere()
    }

    /// Which of the posts are still there; always fresh, so that no cache can show what is gone.
    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        let _ = ids;
        elsewhere()
    }

    /// An author's newest posts older than `before`, up to 100, newest first.
    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        let _ = (author, before, limit);
        elsewhere()
    }

    /// Profiles by id; none for who is unknown or deleted.
    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        let _ = ids;
        elsewhere()
    }

    /// Like counts of posts. May be some seconds old.
    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        let _ = posts;
        elsewhere()
    }

    /// Which of the posts the viewer likes, and how the people are to be shown to them; always
    /// fresh. Both are asked at once because one look tells whether anything about them changed.
    async fn viewed(
        &self,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        let _ = (viewer, posts, people);
        elsewhere()
    }

    /// A page of up to 1,000 followers with ids greater than `after`.
    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let _ = (user, after, limit);
        elsewhere()
    }

    /// A page of up to 1,000 users that `user` follows, with ids greater than `after`.
    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let _ = (user, after, limit);
        elsewhere()
    }
}
