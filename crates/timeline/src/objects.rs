//! Posts, authors and like counts as they are shown, encoded once and shared by every reader.
//!
//! Posts never change, so they stay until there is no room; whether one still exists is asked anew
//! at every reading. Authors change by event. Counts may be some seconds old.
//!
//! A warm page finds everything here, so that is the straight way through; whatever is not here is
//! asked for in boxes of its own, to keep a reading's future small.
//!
//! While a service is away, a feed goes on without what only adorns it: authors and likes. Nothing
//! that was left out is kept.
//!
//! With other processes on the same table: posts never change; counts are as old here as there; an
//! author's event reaches one process, the others ask again when what they keep is too old
//! (`Config::for_several_processes` makes that soon); that somebody left is only remembered beside
//! what the user service says.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::peers::Peers;
use kernel::table::json;
use kernel::{Clock, Code, Post, PostId, Problem, Profile, Time, UserId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Config;
use crate::pages::{self, Dressed};

/// What a cached object costs beside its bytes.
const OVERHEAD_BYTES: usize = 192;

/// Ids that one call of a peer takes.
const IDS_MAX: usize = 100;

/// A post as it is shown, and by how many it is liked.
pub(crate) struct Shown {
    /// What an entry of it begins with: `{"post":…,"author":`.
    pub(crate) start: Box<[u8]>,
    likes: AtomicU64,
    /// When the likes were counted, in milliseconds since 1970; zero for never.
    counted: AtomicI64,
}

impl Shown {
    /// An encoded post whose likes have not been counted.
    pub(crate) fn new(json: &[u8]) -> Self {
        let start = [&b"{\"post\":"[..], json, b",\"author\":"].concat().into();
        Self { start, likes: AtomicU64::new(0), counted: AtomicI64::new(0) }
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

/// A profile as an entry goes on with it: `…,"likeCount":`.
pub(crate) type Profiled = Arc<[u8]>;

/// The same of an encoded profile.
pub(crate) fn profiled(json: &[u8]) -> Profiled {
    [json, b",\"likeCount\":"].concat().into()
}

/// Who wrote a post.
#[derive(Clone)]
pub(crate) enum Author {
    /// As they are, or as they last were known while the user service is away.
    Known(Profiled),
    /// They have left: nothing of theirs is shown.
    Gone,
    /// The user service is away, and it was never told.
    Unknown,
}

/// The answer of a service that is asked for what can be left out; none while it is away.
pub(crate) fn if_there<T>(
    service: &'static str,
    answer: Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(problem) if matches!(problem.code, Code::Unavailable | Code::DeadlineExceeded) => {
            metrics::counter!("timeline_degraded_total", "without" => service).increment(1);
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

impl Author {
    /// What it costs to keep.
    pub(crate) fn weight(&self) -> u64 {
        weight(if let Self::Known(json) = self { json.len() } else { 0 })
    }
}

#[derive(Clone)]
struct Kept {
    /// None when the person is gone.
    json: Option<Profiled>,
    updated_at: Time,
    loaded: Time,
}

impl Kept {
    fn author(self) -> Author {
        self.json.map_or(Author::Gone, Author::Known)
    }
}

/// Some posts as they are shown, in the order they were asked for.
pub(crate) struct Posts {
    /// None for those that do not exist. One that was cached may be deleted by now.
    pub(crate) shown: Vec<Option<Arc<Shown>>>,
    /// The places of those whose likes could not be counted.
    pub(crate) uncounted: Vec<usize>,
}

impl Posts {
    /// What they cost to keep.
    pub(crate) fn weight(&self) -> u64 {
        self.shown.iter().flatten().map(|post| weight(post.start.len())).sum()
    }

    /// By how many the post at a place is liked, where that is known.
    pub(crate) fn likes(&self, place: usize) -> Option<u64> {
        let shown = self.shown.get(place)?.as_ref()?;
        (!self.uncounted.contains(&place)).then(|| shown.likes())
    }
}

#[derive(Clone, Copy)]
struct ByBytes;

fn weight(len: usize) -> u64 {
    u64::try_from(len + OVERHEAD_BYTES).unwrap_or(u64::MAX)
}

impl Weighter<PostId, Arc<Shown>> for ByBytes {
    fn weight(&self, _: &PostId, post: &Arc<Shown>) -> u64 {
        weight(post.start.len())
    }
}

impl Weighter<UserId, Kept> for ByBytes {
    fn weight(&self, _: &UserId, author: &Kept) -> u64 {
        weight(author.json.as_ref().map_or(0, |json| json.len()))
    }
}

/// The caches of what readers share.
pub(crate) struct Objects {
    posts: Cache<PostId, Arc<Shown>, ByBytes>,
    authors: Cache<UserId, Kept, ByBytes>,
    /// Held while an author is compared and replaced.
    authors_turn: Mutex<()>,
    /// How often something about an author has become different.
    pub(crate) changes: AtomicU64,
    pub(crate) pages: Cache<UserId, Arc<Dressed>, pages::ByBytes>,
    author_kept: Duration,
    likes_kept: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

fn items(bytes_max: u64) -> usize {
    usize::try_from(bytes_max / 512).unwrap_or(usize::MAX)
}

impl Objects {
    /// Empty caches.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let (posts, authors) = (config.post_bytes_max, config.author_bytes_max);
        let pages = config.page_bytes_max;
        Self {
            posts: Cache::with_weighter(items(posts), posts, ByBytes),
            authors: Cache::with_weighter(items(authors), authors, ByBytes),
            authors_turn: Mutex::new(()),
            changes: AtomicU64::new(0),
            pages: Cache::with_weighter(items(pages / 16), pages, pages::ByBytes),
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
        let shown = Arc::new(Shown::new(&json(post)));
        self.posts.insert(post.post_id, Arc::clone(&shown));
        shown
    }

    /// Posts as they are shown, with counts that are some seconds old at most.
    pub(crate) async fn posts(&self, peers: &dyn Peers, ids: &[PostId]) -> Result<Posts, Problem> {
        let mut shown: Vec<_> = ids.iter().map(|id| self.posts.get(id)).collect();
        let now = self.clock.now();
        let is_fresh = |post: &Option<Arc<Shown>>| self.is_fresh(post.as_ref(), now);
        let mut uncounted = Vec::new();
        if !shown.iter().all(is_fresh) {
            let stale = (0..ids.len()).filter(|place| !is_fresh(&shown[*place])).collect();
            uncounted = Box::pin(self.look_up(peers, ids, &mut shown, stale, now)).await?;
        }
        Ok(Posts { shown, uncounted })
    }

    fn is_fresh(&self, post: Option<&Arc<Shown>>, now: Time) -> bool {
        post.is_some_and(|post| now.since(post.counted()) < self.likes_kept)
    }

    /// Whether all of the posts are here and their likes counted lately.
    pub(crate) fn are_fresh(&self, posts: &Posts, now: Time) -> bool {
        posts.shown.iter().all(|post| self.is_fresh(post.as_ref(), now))
    }

    /// Fills in what is missing at the places that are `stale`; answers the places of those that
    /// could not be counted.
    async fn look_up(
        &self,
        peers: &dyn Peers,
        ids: &[PostId],
        found: &mut [Option<Arc<Shown>>],
        stale: Vec<usize>,
        now: Time,
    ) -> Result<Vec<usize>, Problem> {
        let mut without = Vec::new();
        for places in stale.chunks(IDS_MAX) {
            let uncounted: Vec<_> = places.iter().map(|place| ids[*place]).collect();
            let absent = places.iter().filter(|place| found[**place].is_none());
            let absent: Vec<_> = absent.map(|place| ids[*place]).collect();
            let posts = async {
                if absent.is_empty() { Ok(Vec::new()) } else { peers.posts(&absent).await }
            };
            let counts = async { if_there("likeCount", peers.like_counts(&uncounted).await) };
            let (posts, counts) = tokio::try_join!(posts, counts)?;
            let mut posts = posts.into_iter();
            for place in places {
                if found[*place].is_none() {
                    found[*place] = posts.next().flatten().map(|post| self.keep_post(&post));
                }
            }
            let Some(counts) = counts else {
                without.extend(places);
                continue;
            };
            for (place, count) in places.iter().zip(counts) {
                if let Some(post) = &found[*place] {
                    post.count(count, now);
                }
            }
        }
        Ok(without)
    }

    /// Encoded profiles. Of those that are too old only what the user service does not answer is
    /// taken.
    pub(crate) async fn authors(
        &self,
        peers: &dyn Peers,
        ids: &[UserId],
    ) -> Result<Vec<Author>, Problem> {
        let now = self.clock.now();
        let (mut found, mut missing) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            let kept = self.authors.get(id);
            let is_fresh = |kept: &Kept| now.since(kept.loaded) < self.author_kept;
            if !kept.as_ref().is_some_and(is_fresh) && !missing.contains(id) {
                missing.push(*id);
            }
            found.push(kept.map_or(Author::Unknown, Kept::author));
        }
        if !missing.is_empty() {
            Box::pin(self.load_authors(peers, ids, &mut found, &missing)).await?;
        }
        Ok(found)
    }

    /// Until when what is kept of these people holds without an event; none where nothing is kept
    /// of one of them.
    pub(crate) fn known_until(&self, ids: &[UserId]) -> Option<Time> {
        let until = |id| self.authors.peek(id).map(|kept| kept.loaded + self.author_kept);
        ids.iter().map(until).min().flatten()
    }

    async fn load_authors(
        &self,
        peers: &dyn Peers,
        ids: &[UserId],
        found: &mut [Author],
        missing: &[UserId],
    ) -> Result<(), Problem> {
        for chunk in missing.chunks(IDS_MAX) {
            let answer = if_there("author", peers.profiles(chunk).await)?;
            for (id, profile) in chunk.iter().zip(answer.into_iter().flatten()) {
                let encoded = profile.as_ref().and_then(|profile| self.keep_author(profile));
                let author = encoded.map_or(Author::Gone, Author::Known);
                let places = ids.iter().zip(&mut *found).filter(|(other, _)| *other == id);
                places.for_each(|(_, place)| place.clone_from(&author));
            }
        }
        Ok(())
    }

    /// Keeps a profile unless a newer one is there; answers the one that stays.
    pub(crate) fn keep_author(&self, profile: &Profile) -> Option<Profiled> {
        let (loaded, encoded) = (self.clock.now(), json(profile));
        let json = Some(profiled(&encoded));
        let author = Kept { json, updated_at: profile.updated_at, loaded };
        let _turn = self.authors_turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.authors.peek(&profile.user_id) {
            Some(kept) if kept.updated_at > author.updated_at => {
                let json = kept.json.clone();
                self.authors.insert(profile.user_id, Kept { loaded, ..kept });
                json
            }
            before => {
                self.authors.insert(profile.user_id, author.clone());
                if before.is_some_and(|before| before.json != author.json) {
                    self.author_changed();
                }
                author.json
            }
        }
    }

    /// Lets a person's profile be asked for anew: it is shown no longer, or again.
    pub(crate) fn forget_author(&self, user: UserId) {
        let _turn = self.authors_turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.authors.remove(&user);
        self.author_changed();
    }

    /// Remembers that a person is gone for good.
    pub(crate) fn author_left(&self, user: UserId) {
        let never = Time::from_millis(i64::MAX);
        let _turn = self.authors_turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.authors.insert(user, Kept { json: None, updated_at: never, loaded: never });
        self.author_changed();
    }

    /// After the change: who reads the number before it has looked the author up before it.
    fn author_changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}
