//! Which entries a feed holds: the newest through the cache, deeper ones from the table, and below
//! the watermark from the authors themselves.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use kernel::feed::{Cached, FeedEntry, Skeleton};
use kernel::table::Scatter;
use kernel::{PostId, Problem, UserId};

use crate::Timeline;
use crate::model::{Place, Row, Step, newer};
use crate::store::{self, Scan};

/// Rows that one step of a walk reads.
const WALK_ROWS: usize = 128;

/// Entries below a place.
pub(crate) struct Deeper {
    /// Newest first.
    pub(crate) entries: Vec<FeedEntry>,
    /// How far down was looked.
    pub(crate) below: Option<PostId>,
    /// Whether there is nothing further down.
    pub(crate) exhausted: bool,
}

impl Timeline {
    /// The newest entries of the viewer's feed, through the cache.
    pub(crate) async fn skeleton(&self, viewer: UserId) -> Result<Cached, Problem> {
        // Two boxes: the outer one, made at every reading, is small.
        let load = Box::pin(async move { Box::pin(self.load(viewer)).await });
        let cached = self.parts.feed.get_or_load(viewer, load).await?;
        let outcome = if cached.hit { "hit" } else { "miss" };
        metrics::counter!("cache_requests_total", "cache" => "feed", "outcome" => outcome)
            .increment(1);
        Ok(cached)
    }

    async fn load(&self, viewer: UserId) -> Result<Skeleton, Problem> {
        let loads = self.loads.fetch_add(1, Ordering::Relaxed);
        if loads.is_multiple_of(self.config.trim_every.max(1)) {
            self.trim(viewer).await?;
        }
        let wanted = self.config.skeleton_entries;
        // Asked before the rows are: what a turn under way has written is for the next load.
        let seen = self.turns.visible().await?;
        let mut walk = self.walk(viewer, None, seen, wanted).await?;
        let exhausted = walk.exhausted && walk.mark.is_none() && walk.entries.len() <= wanted;
        walk.entries.truncate(wanted);
        Ok(Skeleton { entries: walk.entries, exhausted, seen })
    }

    /// At least `wanted` rows of a feed below `before` that had arrived by `seen`, where there are
    /// so many above the watermark.
    async fn walk(
        &self,
        viewer: UserId,
        mut before: Option<PostId>,
        seen: u64,
        wanted: usize,
    ) -> Result<Walk, Problem> {
        let table = &*self.parts.table;
        let mark = store::mark(table, viewer).await?;
        let big = store::big_heard(table, viewer).await?;
        let mut entries = Vec::with_capacity(wanted + WALK_ROWS);
        loop {
            let (rows, exhausted) =
                store::rows_below(table, viewer, &big, before, WALK_ROWS).await?;
            let above = |row: &&Row| mark.is_none_or(|mark| row.post_id >= mark);
            let at_mark = !rows.iter().all(|row| above(&row));
            let kept = rows.iter().filter(above).filter(|row| !row.gone && row.arrival <= seen);
            entries.extend(self.still_heard(viewer, kept.map(Row::entry).collect()).await?);
            before = rows.last().map(|row| row.post_id).or(before);
            if exhausted || at_mark || entries.len() > wanted {
                return Ok(Walk { entries, exhausted: exhausted || at_mark, mark, before });
            }
        }
    }

    async fn still_heard(
        &self,
        viewer: UserId,
        mut entries: Vec<FeedEntry>,
    ) -> Result<Vec<FeedEntry>, Problem> {
        let authors: HashSet<_> = entries.iter().map(|entry| entry.author_id).collect();
        let authors: Vec<_> = authors.into_iter().filter(|author| *author != viewer).collect();
        let heard = store::heard(&*self.parts.table, viewer, &authors).await?;
        entries.retain(|entry| heard.contains(&entry.author_id));
        Ok(entries)
    }

    /// Some entries below `below` that had arrived by `seen`.
    pub(crate) async fn deeper(
        &self,
        viewer: UserId,
        below: Option<PostId>,
        seen: u64,
        wanted: usize,
    ) -> Result<Deeper, Problem> {
        let walk = self.walk(viewer, below, seen, wanted).await?;
        if !walk.exhausted || !walk.entries.is_empty() {
            let exhausted = walk.exhausted && walk.mark.is_none();
            // At the mark nothing above it is left, so the pull goes on from the mark.
            let below = if walk.exhausted { walk.mark.or(walk.before) } else { walk.before };
            return Ok(Deeper { entries: walk.entries, below, exhausted });
        }
        let Some(mark) = walk.mark else {
            return Ok(Deeper { entries: Vec::new(), below, exhausted: true });
        };
        let before = below.map_or(mark, |below| below.min(mark));
        self.pull_older(viewer, before, seen, wanted).await
    }

    /// The next steps towards newer entries, `wanted` at most.
    pub(crate) async fn newer_steps(
        &self,
        viewer: UserId,
        scan: &Scan,
        from: Place,
        wanted: usize,
    ) -> Result<Vec<Step>, Problem> {
        let Some(floor) = scan.floor.filter(|floor| from.post < *floor) else {
            let mut steps = newer(&scan.rows, from, scan.floor);
            steps.truncate(wanted);
            return Ok(steps);
        };
        let pulled = self.pull_newer(viewer, scan, from, floor, wanted).await?;
        let mut steps: Vec<Step> = pulled
            .into_iter()
            .map(|entry| Step { entry, after: Place { post: entry.post_id, ..from } })
            .collect();
        let from = steps.last().map_or(from, |step| step.after);
        steps.extend(newer(&scan.rows, from, scan.floor));
        steps.truncate(wanted);
        Ok(steps)
    }

    /// Cuts a feed that has grown beyond its cap; what is cut off is pulled from now on.
    async fn trim(&self, viewer: UserId) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let items = store::partition(table, store::feed(viewer)).await?;
        let rows = items.iter().map(store::row).collect::<Result<Vec<_>, _>>()?;
        let mut live = rows.iter().rev().filter(|row| !row.gone);
        let oldest = live.nth(self.config.feed_rows_max.saturating_sub(1));
        let (Some(oldest), Some(_)) = (oldest, live.next()) else { return Ok(()) };
        let cut = || rows.iter().filter(|row| row.post_id < oldest.post_id);
        // The mark first: a crash in between leaves rows too many, never a hole.
        store::raise_mark(table, viewer, oldest.post_id).await?;
        let last = cut().map(|row| row.arrival).max().unwrap_or(0);
        store::raise_cut(table, viewer, last).await?;
        let cut = cut().map(|row| Scatter::Delete(store::feed_key(viewer, row.post_id)));
        let cut = cut.collect();
        Ok(store::scatter_all(table, cut).await?)
    }
}

struct Walk {
    entries: Vec<FeedEntry>,
    /// Whether everything down to the mark, or the end, is among the entries.
    exhausted: bool,
    mark: Option<PostId>,
    /// How far down the walk came.
    before: Option<PostId>,
}
