//! The services' reads of each other when they share a process: plain calls.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use kernel::peers::{Followers, Peers};
use kernel::{Code, Post, PostId, Problem, Profile, UserId};
use posts::Posts;
use social::Social;
use users::Users;

/// Peers in one process. Services know each other in a circle, so they are entered last.
#[derive(Default)]
pub(crate) struct InProcess(OnceLock<Services>);

/// The services that others read from.
pub(crate) struct Services {
    pub(crate) users: Arc<Users>,
    pub(crate) posts: Arc<Posts>,
    pub(crate) social: Arc<Social>,
}

impl InProcess {
    /// Enters the services; the first ones stay.
    pub(crate) fn enter(&self, services: Services) {
        let _ = self.0.set(services);
    }

    fn services(&self) -> Result<&Services, Problem> {
        let starting = || Problem::new(Code::Unavailable, "The service is starting.");
        self.0.get().ok_or_else(starting)
    }
}

#[async_trait]
impl Peers for InProcess {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        self.services()?.posts.posts(ids).await
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        self.services()?.posts.posts_exist(ids).await
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        self.services()?.posts.newest_posts(author, before, limit).await
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        self.services()?.users.profiles(ids).await
    }

    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        self.services()?.social.like_counts(posts).await
    }

    async fn liked(&self, viewer: UserId, posts: &[PostId]) -> Result<Vec<bool>, Problem> {
        self.services()?.social.liked(viewer, posts).await
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        self.services()?.social.followers(user, after, limit).await
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        self.services()?.social.following(user, after, limit).await
    }
}
