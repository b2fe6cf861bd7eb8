//! The services' reads of each other: a plain call where the other one shares the process, and the
//! backend's way to it where it does not.

#[cfg(test)]
#[cfg(feature = "aws")]
mod tests;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use kernel::peers::{Followers, Peers};
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

    fn users(&self) -> Option<&Users> {
        self.here.get()?.users.as_deref()
    }

    fn posts_here(&self) -> Option<&Posts> {
        self.here.get()?.posts.as_deref()
    }

    fn social(&self) -> Option<&Social> {
        self.here.get()?.social.as_deref()
    }

    fn elsewhere(&self) -> Result<&dyn Peers, Problem> {
        let nobody = || Problem::new(Code::Unavailable, "The service is starting.");
        self.elsewhere.as_deref().ok_or_else(nobody)
    }
}

#[async_trait]
impl Peers for Neighbours {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        match self.posts_here() {
            Some(posts) => posts.posts(ids).await,
            None => self.elsewhere()?.posts(ids).await,
        }
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        match self.posts_here() {
            Some(posts) => posts.posts_exist(ids).await,
            None => self.elsewhere()?.posts_exist(ids).await,
        }
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        match self.posts_here() {
            Some(posts) => posts.newest_posts(author, before, limit).await,
            None => self.elsewhere()?.newest_posts(author, before, limit).await,
        }
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        match self.users() {
            Some(users) => users.profiles(ids).await,
            None => self.elsewhere()?.profiles(ids).await,
        }
    }

    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        match self.social() {
            Some(social) => social.like_counts(posts).await,
            None => self.elsewhere()?.like_counts(posts).await,
        }
    }

    async fn liked(&self, viewer: UserId, posts: &[PostId]) -> Result<Vec<bool>, Problem> {
        match self.social() {
            Some(social) => social.liked(viewer, posts).await,
            None => self.elsewhere()?.liked(viewer, posts).await,
        }
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        match self.social() {
            Some(social) => social.followers(user, after, limit).await,
            None => self.elsewhere()?.followers(user, after, limit).await,
        }
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        match self.social() {
            Some(social) => social.following(user, after, limit).await,
            None => self.elsewhere()?.following(user, after, limit).await,
        }
    }
}
