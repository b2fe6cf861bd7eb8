//! Pages that no row holds: asked of the authors themselves and merged.
//!
//! The watermark lies many posts back, far behind what is still being fanned out. Should a post be
//! pulled before its fan-out brings it, a reader on the way to newer entries is given it again when
//! it arrives, and drops it by its id; leaving it out would lose it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use kernel::feed::FeedEntry;
use kernel::{Post, PostId, Problem, UserId};
use tokio::task::consume_budget;

use crate::Timeline;
use crate::model::{Place, Row};
use crate::skeleton::Deeper;
use crate::store::{self, Scan};

/// Posts that one call of the post service answers.
const POSTS_MAX: usize = 100;
/// Posts of one author asked for first in a span, which mostly holds none.
const FIRST_POSTS: usize = 10;
/// Posts held at once on the way to newer ones; a span with more is made smaller.
const SPAN_POSTS_MAX: usize = 300;
/// The first span of time looked at upwards; it grows until enough is found.
const FIRST_SPAN_MS: u64 = 60_000;

fn entry(post: &Post) -> FeedEntry {
    FeedEntry { post_id: post.post_id, author_id: post.author_id, arrival: 0 }
}

fn newest_first(posts: &mut Vec<Post>, wanted: usize) {
    posts.sort_by_key(|post| Reverse(post.post_id));
    posts.truncate(wanted);
}

impl Timeline {
    /// The viewer and everybody whom the viewer follows and does not mute.
    async fn sources(&self, viewer: UserId) -> Result<Vec<UserId>, Problem> {
        let followed = store::all_following(&*self.parts.table, viewer).await?;
        let heard = followed.into_iter().filter(|end| !end.muted && end.user_id != viewer);
        Ok(heard.map(|end| end.user_id).chain([viewer]).collect())
    }

    /// The newest entries below `before`; what has a row that arrived after `seen` is left out, for
    /// it is given on the way to newer entries.
    pub(crate) async fn pull_older(
        &self,
        viewer: UserId,
        before: PostId,
        seen: u64,
        wanted: usize,
    ) -> Result<Deeper, Problem> {
        let authors = self.sources(viewer).await?;
        let ask = wanted.clamp(1, POSTS_MAX);
        let peers = &*self.parts.peers;
        let each = async |author| {
            // However many are followed, others get their turn in between.
            consume_budget().await;
            peers.newest_posts(author, Some(before), ask).await
        };
        let width = self.config.pull_width;
        let mut lists = stream::iter(authors).map(each).buffer_unordered(width);
        let (mut posts, mut exhausted) = (Vec::new(), true);
        while let Some(list) = lists.try_next().await? {
            exhausted &= list.len() < ask;
            posts.extend(list);
            exhausted &= posts.len() <= ask;
            if posts.len() > SPAN_POSTS_MAX {
                newest_first(&mut posts, ask);
            }
        }
        newest_first(&mut posts, ask);
        let mut entries = self.entries(&posts);
        let below = entries.last().map(|entry| entry.post_id).or(Some(before));
        let late = self.arrived_after(viewer, &entries, seen).await?;
        entries.retain(|entry| !late.contains(&entry.post_id));
        Ok(Deeper { entries, below, exhausted })
    }

    /// Those of the entries that have a row which arrived after `seen`.
    async fn arrived_after(
        &self,
        viewer: UserId,
        entries: &[FeedEntry],
        seen: u64,
    ) -> Result<HashSet<PostId>, Problem> {
        let table = &*self.parts.table;
        let big: HashSet<_> = store::big_heard(table, viewer).await?.into_iter().collect();
        let mut keys: Vec<_> =
            entries.iter().map(|entry| store::feed_key(viewer, entry.post_id)).collect();
        let of_big = entries.iter().filter(|entry| big.contains(&entry.author_id));
        keys.extend(of_big.map(|entry| store::author_key(entry.author_id, entry.post_id)));
        let mut arrivals = HashMap::new();
        for item in store::get_all(table, &keys).await?.iter().flatten() {
            let row = store::row(item)?;
            // The feed's own row comes first and counts.
            arrivals.entry(row.post_id).or_insert(row.arrival);
        }
        let late = arrivals.into_iter().filter(|(_, arrival)| *arrival > seen);
        Ok(late.map(|(post, _)| post).collect())
    }

    /// The entries of posts, which are kept: they are about to be shown.
    fn entries(&self, posts: &[Post]) -> Vec<FeedEntry> {
        for post in posts {
            self.objects.keep_post(post);
        }
        posts.iter().map(entry).collect()
    }

    /// The oldest `wanted` entries above `from` and below `floor`. Authors can only be asked from
    /// the newest down, so spans of time are looked at, one above the other: a span grows while
    /// there is little in it, and shrinks when there is more than a reader could want.
    pub(crate) async fn pull_newer(
        &self,
        viewer: UserId,
        scan: &Scan,
        from: Place,
        floor: PostId,
        wanted: usize,
    ) -> Result<Vec<FeedEntry>, Problem> {
        let late: HashSet<PostId> = scan
            .rows
            .iter()
            .filter(|row| row.arrival > from.seen)
            .map(|row: &Row| row.post_id)
            .collect();
        let authors = self.sources(viewer).await?;
        let (mut found, mut start) = (Vec::new(), from.post);
        let (mut span_ms, mut growth) = (FIRST_SPAN_MS, 4);
        loop {
            let end_ms = start.0.timestamp_ms().saturating_add(span_ms);
            let whole = end_ms >= floor.0.timestamp_ms();
            let end = if whole { floor } else { PostId(ulid::Ulid::from_parts(end_ms, 0)) };
            let Some(posts) = self.between(&authors, start, end, span_ms > 1).await? else {
                // What is too much lies just ahead: no growing until it is reached.
                (span_ms, growth) = ((span_ms / 4).max(1), 1);
                continue;
            };
            if !posts.is_empty() {
                growth = 4;
            }
            found.extend(posts.into_iter().filter(|post| !late.contains(&post.post_id)));
            if whole || found.len() >= wanted {
                found.sort_by_key(|post| post.post_id);
                found.truncate(wanted);
                return Ok(self.entries(&found));
            }
            // The span that follows holds its own end.
            start = PostId(ulid::Ulid(end.0.0 - 1));
            span_ms = span_ms.saturating_mul(growth);
        }
    }

    /// The authors' posts above `start` and below `end`; none when there are too many of them and
    /// `divisible` says that a smaller span may be tried.
    async fn between(
        &self,
        authors: &[UserId],
        start: PostId,
        end: PostId,
        divisible: bool,
    ) -> Result<Option<Vec<Post>>, Problem> {
        let each = |author: &UserId| self.between_of(*author, start, end, divisible);
        let width = self.config.pull_width;
        let mut lists = stream::iter(authors).map(each).buffer_unordered(width);
        let mut posts = Vec::new();
        while let Some(list) = lists.try_next().await? {
            posts.extend(list);
            if divisible && posts.len() > SPAN_POSTS_MAX {
                return Ok(None);
            }
        }
        Ok(Some(posts))
    }

    /// One author's posts above `start` and below `end`. Where `divisible`, it stops as soon as
    /// there are more than a span may hold.
    async fn between_of(
        &self,
        author: UserId,
        start: PostId,
        mut end: PostId,
        divisible: bool,
    ) -> Result<Vec<Post>, Problem> {
        let (mut between, mut ask) = (Vec::new(), FIRST_POSTS);
        loop {
            consume_budget().await;
            let posts = self.parts.peers.newest_posts(author, Some(end), ask).await?;
            let last = posts.len() < ask || posts.iter().any(|post| post.post_id <= start);
            if let Some(oldest) = posts.last() {
                end = oldest.post_id;
            }
            between.extend(posts.into_iter().filter(|post| post.post_id > start));
            if last || (divisible && between.len() > SPAN_POSTS_MAX) {
                return Ok(between);
            }
            ask = POSTS_MAX;
        }
    }
}
