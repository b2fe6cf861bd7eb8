//! The other services as maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use kernel::peers::{Followers, Peers, Regard, Viewed};
use kernel::table::TableError;
use kernel::{Post, PostId, Problem, Profile, UserId};

/// What the other services know.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) posts: BTreeMap<PostId, Post>,
    pub(crate) profiles: HashMap<UserId, Profile>,
    pub(crate) follows: BTreeSet<(UserId, UserId)>,
    pub(crate) likes: BTreeSet<(PostId, UserId)>,
    pub(crate) blocks: BTreeSet<(UserId, UserId)>,
    pub(crate) mutes: BTreeSet<(UserId, UserId)>,
    /// Whose posts and profiles are shown to nobody.
    pub(crate) suspended: BTreeSet<UserId>,
    /// Calls by name, to see what caches spare.
    pub(crate) calls: HashMap<&'static str, usize>,
    /// Whether the next call for like counts fails.
    pub(crate) counts_fail_once: bool,
    /// The calls that nobody answers at present.
    pub(crate) away: Vec<&'static str>,
    pub(super) versions: HashMap<(UserId, UserId), u64>,
}

#[derive(Default)]
pub(crate) struct MapPeers(pub(super) Mutex<Others>);

impl MapPeers {
    fn call(&self, name: &'static str) -> Result<MutexGuard<'_, Others>, Problem> {
        let mut others = self.0.lock().unwrap();
        *others.calls.entry(name).or_default() += 1;
        if others.away.contains(&name) {
            return Err(TableError::Unavailable("nobody is there".into()).into());
        }
        Ok(others)
    }
}

impl Others {
    fn post(&self, id: PostId) -> Option<&Post> {
        self.posts.get(&id).filter(|post| !self.suspended.contains(&post.author_id))
    }

    fn profile(&self, id: UserId) -> Option<&Profile> {
        self.profiles.get(&id).filter(|_| !self.suspended.contains(&id))
    }
}

fn page(mut users: Vec<UserId>, after: Option<UserId>, limit: usize) -> Followers {
    users.retain(|user| after.is_none_or(|after| *user > after));
    users.sort();
    let more = users.len() > limit;
    users.truncate(limit);
    let next = users.last().copied().filter(|_| more);
    Followers { users, next }
}

#[async_trait]
impl Peers for MapPeers {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        assert!(!ids.is_empty() && ids.len() <= 100);
        let others = self.call("posts")?;
        Ok(ids.iter().map(|id| others.post(*id).cloned()).collect())
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        assert!(!ids.is_empty() && ids.len() <= 100);
        let others = self.call("posts_exist")?;
        Ok(ids.iter().map(|id| others.post(*id).is_some()).collect())
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        assert!((1..=100).contains(&limit));
        let others = self.call("newest_posts")?;
        let of_author = others.posts.values().rev().filter(|post| post.author_id == author);
        let of_author = of_author.filter(|post| others.post(post.post_id).is_some());
        let older = of_author.filter(|post| before.is_none_or(|before| post.post_id < before));
        Ok(older.take(limit).cloned().collect())
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        assert!(!ids.is_empty() && ids.len() <= 100);
        let others = self.call("profiles")?;
        Ok(ids.iter().map(|id| others.profile(*id).cloned()).collect())
    }

    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        assert!(!posts.is_empty() && posts.len() <= 100);
        let mut others = self.call("like_counts")?;
        if std::mem::take(&mut others.counts_fail_once) {
            return Err(TableError::Malformed("the counts".into()).into());
        }
        let count = |id| others.likes.iter().filter(|(post, _)| post == id).count() as u64;
        Ok(posts.iter().map(count).collect())
    }

    async fn viewed(
        &self,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        assert!(posts.len().max(people.len()) <= 100);
        let others = self.call("viewed")?;
        let liked = posts.iter().map(|post| others.likes.contains(&(*post, viewer))).collect();
        let regard = |person: &UserId| {
            let parted = [(viewer, *person), (*person, viewer)];
            match parted.iter().any(|pair| others.blocks.contains(pair)) {
                true => Regard::Blocked,
                false if others.mutes.contains(&(viewer, *person)) => Regard::Muted,
                false => Regard::Open,
            }
        };
        Ok(Viewed { liked, regards: people.iter().map(regard).collect() })
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let others = self.call("followers")?;
        let edges = others.follows.iter().filter(|(_, followee)| *followee == user);
        Ok(page(edges.map(|(follower, _)| *follower).collect(), after, limit))
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let others = self.call("following")?;
        let edges = others.follows.iter().filter(|(follower, _)| *follower == user);
        Ok(page(edges.map(|(_, followee)| *followee).collect(), after, limit))
    }
}
