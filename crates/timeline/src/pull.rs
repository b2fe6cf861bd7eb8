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

use crate::Timeline;
use crate::model::{Place, Row};
use crate::skeleton::Deeper;
use crate::store::{self, Scan};

/// Posts that one call of the post service answers.
const POSTS_MAX: usize = 100;

/// The first span of time looked at upwards; it grows until enough is found.
const FIRST_SPAN_MS: u64 = 60_000;

fn entry(post: &Post) -> FeedEntry {
    FeedEntry { post_id: post.post_id, author_id: post.author_id, arrival: 0 }
}

impl Timeline {
    /// The viewer and everybody whom the viewer follows.
    async fn sources(&self, viewer: UserId) -> Result<Vec<UserId>, Problem> {
        let mut authors = store::all_following(&*self.parts.table, viewer).await?;
        authors.retain(|author| *author != viewer);
        authors.push(viewer);
        Ok(authors)
    }

    /// Each author's newest posts below `before`, as `each` reads them.
    async fn ask<'a, F>(
        &'a self,
        authors: Vec<UserId>,
        each: impl Fn(UserId) -> F + 'a,
    ) -> Result<Vec<Vec<Post>>, Problem>
    where
        F: Future<Output = Result<Vec<Post>, Problem>> + 'a,
    {
        let answers = stream::iter(authors).map(each).buffer_unordered(self.config.pull_width);
        let lists: Vec<Vec<Post>> = answers.try_collect().await?;
        for post in lists.iter().flatten() {
            self.objects.keep_post(post);
        }
        Ok(lists)
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
        let each = |author| peers.newest_posts(author, Some(before), ask);
        let lists = self.ask(authors, each).await?;
        let all_short = lists.iter().all(|posts| posts.len() < ask);
        let mut entries: Vec<_> = lists.iter().flatten().map(entry).collect();
        entries.sort_by_key(|entry| Reverse(entry.post_id));
        let exhausted = all_short && entries.len() <= ask;
        entries.truncate(ask);
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
        let big: HashSet<_> = store::big_followed(table, viewer).await?.into_iter().collect();
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

    /// The oldest `wanted` entries above `from` and below `floor`. Authors can only be asked from
    /// the newest down, so spans of time are looked at that grow until one holds enough.
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
        let mut span_ms = FIRST_SPAN_MS;
        loop {
            let end_ms = from.post.0.timestamp_ms().saturating_add(span_ms);
            let whole = end_ms >= floor.0.timestamp_ms();
            let end = if whole { floor } else { PostId(ulid::Ulid::from_parts(end_ms, 0)) };
            let each = |author| self.between(author, from.post, end);
            let lists = self.ask(authors.clone(), each).await?;
            let mut entries: Vec<_> = lists.iter().flatten().map(entry).collect();
            entries.retain(|entry| !late.contains(&entry.post_id));
            if whole || entries.len() >= wanted {
                entries.sort_by_key(|entry| entry.post_id);
                entries.truncate(wanted);
                return Ok(entries);
            }
            span_ms = span_ms.saturating_mul(4);
        }
    }

    /// An author's posts above `from` and below `end`.
    async fn between(
        &self,
        author: UserId,
        from: PostId,
        mut end: PostId,
    ) -> Result<Vec<Post>, Problem> {
        let mut between = Vec::new();
        loop {
            let posts = self.parts.peers.newest_posts(author, Some(end), POSTS_MAX).await?;
            let last = posts.len() < POSTS_MAX || posts.iter().any(|post| post.post_id <= from);
            if let Some(oldest) = posts.last() {
                end = oldest.post_id;
            }
            between.extend(posts.into_iter().filter(|post| post.post_id > from));
            if last {
                return Ok(between);
            }
        }
    }
}
