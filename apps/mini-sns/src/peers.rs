//! The services' reads of each other: a plain call where the other one shares the process, and the
//! backend's way to it where it does not.

#[cfg(test)]
#[cfg(feature = "aws")]
mod tests;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use kernel::internal::Service;
use kernel::peers::{Followers, Peers, Viewed};
use kernel::{Code, Post, PostId, Problem, Profile, UserId};
use posts::Posts;
use social::Social;
use users::Users;

/// Peers, wherever they are. Services know each other in a circle, so those of this process are
/// entered last.
pub(crate) struct Neighbours {
    here: OnceLock<Services>,
    elsewhere: Option<Arc<dyn Peers>>,
}

/// The services that others read from, as far as this process serves them.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) posts: Option<Arc<Posts>>,
    pub(crate) social: Option<Arc<Social>>,
}

impl Neighbours {
    /// Those of other processes, where there are any.
    pub(crate) fn new(elsewhere: Option<Arc<dyn Peers>>) -> Arc<Self> {
        Arc::new(Self { here: OnceLock::new(), elsewhere })
    }

    /// Enters the services of this process; the first ones stay.
    pub(crate) fn enter(&self, services: Services) {
        let _ = self.here.set(services);
    }

    /// Who answers the reads of `service`.
    fn of(&self, service: Service) -> Result<&dyn Peers, Problem> {
        let here = self.here.get().and_then(|here| match service {
            Service::User => here.users.as_deref().map(|users| users as &dyn Peers),
            Service::Post => here.posts.as_deref().map(|posts| posts as &dyn Peers),
            Service::Social => here.social.as_deref().map(|social| social as &dyn Peers),
        });
        let starting = || Problem::new(Code::Unavailable, "The service is starting.");
        here.or(self.elsewhere.as_deref()).ok_or_else(starting)
    }
}

#[async_trait]
impl Peers for Neighbours {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        self.of(Service::Post)?.posts(ids).await
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        self.of(Service::Post)?.posts_exist(ids).await
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        self.of(Service::Post)?.newest_posts(author, before, limit).await
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        self.of(Service::User)?.profiles(ids).await
    }

    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        self.of(Service::Social)?.like_counts(posts).await
    }

    async fn viewed(
        &self,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        self.of(Service::Social)?.viewed(viewer, posts, people).await
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        self.of(Service::Social)?.followers(user, after, limit).await
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        self.of(Service::Social)?.following(user, after, limit).await
    }
}
