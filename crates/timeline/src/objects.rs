//! Posts, authors and like counts as they are shown, encoded once and shared by every reader.
//!
//! Posts never change, so they stay until there is no room; whether one still exists is asked anew
//! at every reading. Authors change by event. Counts may be some seconds old.

use std::collections::HashSet;
use std::hash::Hash;
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
const OVERHEAD_BYTES: usize = 160;

/// Ids that one call of a peer takes.
const IDS_MAX: usize = 100;

#[derive(Clone)]
struct Author {
    /// None when the person is gone.
    json: Option<Bytes>,
    updated_at: Time,
    loaded: Time,
}

#[derive(Clone, Copy)]
struct ByBytes;

fn weight(len: usize) -> u64 {
    u64::try_from(len + OVERHEAD_BYTES).unwrap_or(u64::MAX)
}

impl Weighter<PostId, Bytes> for ByBytes {
    fn weight(&self, _: &PostId, json: &Bytes) -> u64 {
        weight(json.len())
    }
}

impl Weighter<UserId, Author> for ByBytes {
    fn weight(&self, _: &UserId, author: &Author) -> u64 {
        weight(author.json.as_ref().map_or(0, Bytes::len))
    }
}

/// The caches of what readers share.
pub(crate) struct Objects {
    posts: Cache<PostId, Bytes, ByBytes>,
    authors: Cache<UserId, Author, ByBytes>,
    likes: Cache<PostId, (u64, Time)>,
    /// Held while an author is compared and replaced.
    authors_turn: Mutex<()>,
    author_kept: Duration,
    likes_kept: Duration,
    clock: Arc<dyn Clock>,
}

fn items(bytes_max: u64) -> usize {
    usize::try_from(bytes_max / 512).unwrap_or(usize::MAX)
}

/// Those of `ids` for which `cached` has nothing, each once.
fn missing<T: Copy + Eq + Hash, U>(ids: &[T], cached: &[Option<U>]) -> Vec<T> {
    let mut seen = HashSet::new();
    let absent = ids.iter().zip(cached).filter(|(_, cached)| cached.is_none());
    absent.map(|(id, _)| *id).filter(|id| seen.insert(*id)).collect()
}

impl Objects {
    /// Empty caches.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let (posts, authors) = (config.post_bytes_max, config.author_bytes_max);
        Self {
            posts: Cache::with_weighter(items(posts), posts, ByBytes),
            authors: Cache::with_weighter(items(authors), authors, ByBytes),
            likes: Cache::new(config.like_counts_max),
            authors_turn: Mutex::new(()),
            author_kept: config.author_kept,
            likes_kept: config.like_count_kept,
            clock,
        }
    }

    /// Keeps a post that came by.
    pub(crate) fn keep_post(&self, post: &Post) -> Bytes {
        let encoded = json(post);
        self.posts.insert(post.post_id, encoded.clone());
        encoded
    }

    /// Encoded posts; none for those that do not exist. One that is cached may be deleted by now.
    pub(crate) async fn posts(
        &self,
        peers: &dyn Peers,
        ids: &[PostId],
    ) -> Result<Vec<Option<Bytes>>, Problem> {
        let mut found: Vec<_> = ids.iter().map(|id| self.posts.get(id)).collect();
        if found.iter().all(Option::is_some) {
            return Ok(found);
        }
        for chunk in missing(ids, &found).chunks(IDS_MAX) {
            for post in peers.posts(chunk).await?.iter().flatten() {
                let encoded = self.keep_post(post);
                let places = ids.iter().zip(&mut found).filter(|(id, _)| **id == post.post_id);
                places.for_each(|(_, place)| *place = Some(encoded.clone()));
            }
        }
        Ok(found)
    }

    /// Encoded profiles; none for those who are gone.
    pub(crate) async fn authors(
        &self,
        peers: &dyn Peers,
        ids: &[UserId],
    ) -> Result<Vec<Option<Bytes>>, Problem> {
        let now = self.clock.now();
        let good = |author: &Author| now.since(author.loaded) < self.author_kept;
        let cached: Vec<_> = ids.iter().map(|id| self.authors.get(id).filter(good)).collect();
        let missing = missing(ids, &cached);
        let mut found: Vec<_> =
            cached.into_iter().map(|author| author.and_then(|author| author.json)).collect();
        for chunk in missing.chunks(IDS_MAX) {
            for (id, profile) in chunk.iter().zip(peers.profiles(chunk).await?) {
                let encoded = match &profile {
                    Some(profile) => self.keep_author(profile),
                    None => None,
                };
                let places = ids.iter().zip(&mut found).filter(|(other, _)| *other == id);
                places.for_each(|(_, place)| place.clone_from(&encoded));
            }
        }
        Ok(found)
    }

    /// Keeps a profile unless a newer one is there; answers the one that stays.
    pub(crate) fn keep_author(&self, profile: &Profile) -> Option<Bytes> {
        let loaded = self.clock.now();
        let author = Author { json: Some(json(profile)), updated_at: profile.updated_at, loaded };
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

    /// Like counts, some seconds old at most.
    pub(crate) async fn like_counts(
        &self,
        peers: &dyn Peers,
        ids: &[PostId],
    ) -> Result<Vec<u64>, Problem> {
        let now = self.clock.now();
        let good = |(_, loaded): &(u64, Time)| now.since(*loaded) < self.likes_kept;
        let mut found: Vec<_> = ids.iter().map(|id| self.likes.get(id).filter(good)).collect();
        for chunk in missing(ids, &found).chunks(IDS_MAX) {
            for (id, count) in chunk.iter().zip(peers.like_counts(chunk).await?) {
                self.likes.insert(*id, (count, now));
                let places = ids.iter().zip(&mut found).filter(|(other, _)| *other == id);
                places.for_each(|(_, place)| *place = Some((count, now)));
            }
        }
        Ok(found.into_iter().map(|count| count.map_or(0, |(count, _)| count)).collect())
    }
}
