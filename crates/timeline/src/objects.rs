//! Posts, authors and like counts as they are shown, encoded once and shared by every reader.
//!
//! Posts never change, so they stay until there is no room; whether one still exists is asked anew
//! at every reading. Authors change by event. Counts may be some seconds old.
//!
//! A warm page finds everything here, so that is the straight way through; whatever is not here is
//! asked for in boxes of its own, to keep a reading's future small.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kernel::peers::Peers;
use kernel::table::json;
use kernel::{Clock, Post, PostId, Problem, Profile, Time, UserId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Config;

/// What a cached object costs beside its bytes.
const OVERHEAD_BYTES: usize = 192;

/// Ids that one call of a peer takes.
const IDS_MAX: usize = 100;

/// A post as it is shown, and by how many it is liked.
pub(crate) struct Shown {
    /// The encoded post.
    pub(crate) json: Bytes,
    likes: AtomicU64,
    /// When the likes were counted, in milliseconds since 1970; zero for never.
    counted: AtomicI64,
}

impl Shown {
    /// A post whose likes have not been counted.
    pub(crate) fn new(json: Bytes) -> Self {
        Self { json, likes: AtomicU64::new(0), counted: AtomicI64::new(0) }
    }

    /// By how many the post was liked when that was last looked up.
    pub(crate) fn likes(&self) -> u64 {
        self.likes.load(Ordering::Acquire)
    }

    fn counted(&self) -> Time {
        Time::from_millis(self.counted.load(Ordering::Acquire))
    }

    /// The count before its time: whoever sees the time sees this count or a newer one.
    fn count(&self, likes: u64, now: Time) {
        self.likes.store(likes, Ordering::Release);
        self.counted.store(now.millis(), Ordering::Release);
    }
}

/// An encoded profile.
pub(crate) type Profiled = Arc<[u8]>;

#[derive(Clone)]
struct Author {
    /// None when the person is gone.
    json: Option<Profiled>,
    updated_at: Time,
    loaded: Time,
}

#[derive(Clone, Copy)]
struct ByBytes;

fn weight(len: usize) -> u64 {
    u64::try_from(len + OVERHEAD_BYTES).unwrap_or(u64::MAX)
}

impl Weighter<PostId, Arc<Shown>> for ByBytes {
    fn weight(&self, _: &PostId, post: &Arc<Shown>) -> u64 {
        weight(post.json.len())
    }
}

impl Weighter<UserId, Author> for ByBytes {
    fn weight(&self, _: &UserId, author: &Author) -> u64 {
        weight(author.json.as_ref().map_or(0, |json| json.len()))
    }
}

/// The caches of what readers share.
pub(crate) struct Objects {
    posts: Cache<PostId, Arc<Shown>, ByBytes>,
    authors: Cache<UserId, Author, ByBytes>,
    /// Held while an author is compared and replaced.
    authors_turn: Mutex<()>,
    author_kept: Duration,
    likes_kept: Duration,
    clock: Arc<dyn Clock>,
}

fn items(bytes_max: u64) -> usize {
    usize::try_from(bytes_max / 512).unwrap_or(usize::MAX)
}

impl Objects {
    /// Empty caches.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let (posts, authors) = (config.post_bytes_max, config.author_bytes_max);
        Self {
            posts: Cache::with_weighter(items(posts), posts, ByBytes),
            authors: Cache::with_weighter(items(authors), authors, ByBytes),
            authors_turn: Mutex::new(()),
            author_kept: config.author_kept,
            likes_kept: config.like_count_kept,
            clock,
        }
    }

    /// Keeps a post that came by.
    pub(crate) fn keep_post(&self, post: &Post) -> Arc<Shown> {
        if let Some(kept) = self.posts.get(&post.post_id) {
            return kept;
        }
        let shown = Arc::new(Shown::new(json(post)));
        self.posts.insert(post.post_id, Arc::clone(&shown));
        shown
    }

    /// Posts as they are shown, with counts that are some seconds old at most; none for those that
    /// do not exist. One that is cached may be deleted by now.
    pub(crate) async fn posts(
        &self,
        peers: &dyn Peers,
        ids: &[PostId],
    ) -> Result<Vec<Option<Arc<Shown>>>, Problem> {
        let mut found: Vec<_> = ids.iter().map(|id| self.posts.get(id)).collect();
        let now = self.clock.now();
        let is_fresh = |post: &Option<Arc<Shown>>| {
            post.as_ref().is_some_and(|post| now.since(post.counted()) < self.likes_kept)
        };
        if !found.iter().all(is_fresh) {
            let stale = (0..ids.len()).filter(|place| !is_fresh(&found[*place])).collect();
            Box::pin(self.look_up(peers, ids, &mut found, stale, now)).await?;
        }
        Ok(found)
    }

    /// Fills in what is missing at the places that are `stale`.
    async fn look_up(
        &self,
        peers: &dyn Peers,
        ids: &[PostId],
        found: &mut [Option<Arc<Shown>>],
        stale: Vec<usize>,
        now: Time,
    ) -> Result<(), Problem> {
        for places in stale.chunks(IDS_MAX) {
            let uncounted: Vec<_> = places.iter().map(|place| ids[*place]).collect();
            let absent = places.iter().filter(|place| found[**place].is_none());
            let absent: Vec<_> = absent.map(|place| ids[*place]).collect();
            let posts = async {
                if absent.is_empty() { Ok(Vec::new()) } else { peers.posts(&absent).await }
            };
            let (posts, counts) = tokio::try_join!(posts, peers.like_counts(&uncounted))?;
            let mut posts = posts.into_iter();
            for (place, count) in places.iter().zip(counts) {
                let post = &mut found[*place];
                if post.is_none() {
                    *post = posts.next().flatten().map(|post| self.keep_post(&post));
                }
                if let Some(post) = post {
                    post.count(count, now);
                }
            }
        }
        Ok(())
    }

    /// Encoded profiles; none for those who are gone.
    pub(crate) async fn authors(
        &self,
        peers: &dyn Peers,
        ids: &[UserId],
    ) -> Result<Vec<Option<Profiled>>, Problem> {
        let now = self.clock.now();
        let (mut found, mut missing) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.authors.get(id) {
                Some(author) if now.since(author.loaded) < self.author_kept => {
                    found.push(author.json);
                }
                _ => {
                    found.push(None);
                    if !missing.contains(id) {
                        missing.push(*id);
                    }
                }
            }
        }
        if !missing.is_empty() {
            Box::pin(self.load_authors(peers, ids, &mut found, &missing)).await?;
        }
        Ok(found)
    }

    async fn load_authors(
        &self,
        peers: &dyn Peers,
        ids: &[UserId],
        found: &mut [Option<Profiled>],
        missing: &[UserId],
    ) -> Result<(), Problem> {
        for chunk in missing.chunks(IDS_MAX) {
            for (id, profile) in chunk.iter().zip(peers.profiles(chunk).await?) {
                let encoded = profile.as_ref().and_then(|profile| self.keep_author(profile));
                let places = ids.iter().zip(&mut *found).filter(|(other, _)| *other == id);
                places.for_each(|(_, place)| place.clone_from(&encoded));
            }
        }
        Ok(())
    }

    /// Keeps a profile unless a newer one is there; answers the one that stays.
    pub(crate) fn keep_author(&self, profile: &Profile) -> Option<Profiled> {
        let (loaded, encoded) = (self.clock.now(), json(profile));
        let json = Some(Profiled::from(&*encoded));
        let author = Author { json, updated_at: profile.updated_at, loaded };
        let _turn = self.authors_turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.authors.peek(&profile.user_id) {
            Some(kept) if kept.updated_at > author.updated_at => {
                let json = kept.json.clone();
                self.authors.insert(profile.user_id, Author { loaded, ..kept });
                json
            }
            _ => {
                self.authors.insert(profile.user_id, author.clone());
                author.json
            }
        }
    }

    /// Remembers that a person is gone for good.
    pub(crate) fn author_left(&self, user: UserId) {
        let never = Time::from_millis(i64::MAX);
        let _turn = self.authors_turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.authors.insert(user, Author { json: None, updated_at: never, loaded: never });
    }
}
