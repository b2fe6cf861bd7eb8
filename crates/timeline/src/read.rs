//! Reading a feed, in four steps: the skeleton says which entries, hydration brings what they
//! show, the rules have the last word on what may be shown, and presentation writes it down.

use std::sync::Arc;

use bytes::Bytes;
use kernel::feed::FeedEntry;
use kernel::page::Direction;
use kernel::peers::{Peers, Regard, Viewed};
use kernel::{Limit, PostId, Problem, UserId};

use crate::Timeline;
use crate::model::Place;
use crate::objects::{Author, Objects, Shown, if_there};
use crate::pages::Dressed;

/// A page as it is answered.
pub(crate) struct Answer {
    /// The JSON.
    pub(crate) body: Bytes,
    /// Whether every entry came from the cached skeleton.
    pub(crate) hit: bool,
}

/// Entries that may come on a page, in their order.
type Candidates<'a> = Box<dyn Iterator<Item = FeedEntry> + Send + 'a>;

/// What other services know of some entries, in their order.
pub(crate) struct Hydrated {
    dressed: Arc<Dressed>,
    /// None while the social service is away.
    viewed: Option<Viewed>,
    exist: Vec<bool>,
}

/// Entries of which some may be shown.
pub(crate) struct Part {
    dressed: Arc<Dressed>,
    kept: Vec<Kept>,
}

/// One that may, by its place.
struct Kept {
    post_id: PostId,
    place: usize,
    /// None while the social service is away.
    liked: Option<bool>,
}

/// One entry as it is shown.
pub(crate) struct Item<'a> {
    pub(crate) post_id: PostId,
    pub(crate) post: &'a Shown,
    /// None while the user service is away.
    pub(crate) author: Option<&'a [u8]>,
    /// None while the social service is away, and so below.
    pub(crate) like_count: Option<u64>,
    pub(crate) liked: Option<bool>,
}

impl Item<'_> {
    /// How long its larger parts are.
    pub(crate) fn bytes(&self) -> usize {
        self.post.start.len() + self.author.map_or(0, <[u8]>::len)
    }
}

impl Part {
    /// What may be shown of it.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let Dressed { posts, authors, .. } = &*self.dressed;
        self.kept.iter().filter_map(move |Kept { post_id, place, liked }| {
            let author = match &authors[*place] {
                Author::Known(author) => Some(&**author),
                Author::Unknown | Author::Gone => None,
            };
            let (post, like_count) = (posts.shown[*place].as_deref()?, posts.likes(*place));
            Some(Item { post_id: *post_id, post, author, like_count, liked: *liked })
        })
    }
}

/// Asks for everything that the entries show, in parallel. Shared objects come from the caches;
/// whether a post exists, is liked by the viewer, and is to be shown to them is always asked anew.
/// Authors and likes may be missing, and whom the viewer blocks or mutes is then as the skeleton
/// knew it; without the post service there is nothing to show.
pub(crate) async fn hydrate(
    objects: &Objects,
    peers: &dyn Peers,
    viewer: UserId,
    entries: &[FeedEntry],
) -> Result<Hydrated, Problem> {
    let ids: Vec<PostId> = entries.iter().map(|entry| entry.post_id).collect();
    let writers: Vec<UserId> = entries.iter().map(|entry| entry.author_id).collect();
    let (dressed, viewed, exist) = tokio::try_join!(
        objects.dress(peers, viewer, entries),
        async { if_there("liked", peers.viewed(viewer, &ids, &writers).await) },
        peers.posts_exist(&ids),
    )?;
    Ok(Hydrated { dressed, viewed, exist })
}

/// Drops what may not be shown: deleted posts, and posts of people who are gone, whom the viewer
/// mutes, or from whom a block parts them. What the viewer does not follow any more was dropped
/// with the skeleton.
pub(crate) fn rules(entries: &[FeedEntry], hydrated: Hydrated) -> Part {
    let Hydrated { dressed, viewed, exist } = hydrated;
    let may_be_shown = |place: usize| {
        exist[place]
            && dressed.posts.shown[place].is_some()
            && !matches!(dressed.authors[place], Author::Gone)
            && viewed.as_ref().is_none_or(|viewed| viewed.regards[place] == Regard::Open)
    };
    let mut kept = Vec::with_capacity(entries.len());
    for (place, FeedEntry { post_id, .. }) in entries.iter().enumerate() {
        if may_be_shown(place) {
            let liked = viewed.as_ref().map(|viewed| viewed.liked[place]);
            kept.push(Kept { post_id: *post_id, place, liked });
        }
    }
    Part { dressed, kept }
}

/// Writes one item as JSON.
pub(crate) fn present_item(body: &mut Vec<u8>, item: &Item<'_>) {
    body.extend_from_slice(&item.post.start);
    body.extend_from_slice(item.author.unwrap_or(b"null,\"likeCount\":"));
    match item.like_count {
        Some(count) => body.extend_from_slice(itoa::Buffer::new().format(count).as_bytes()),
        None => body.extend_from_slice(b"null"),
    }
    body.extend_from_slice(match item.liked {
        Some(true) => b",\"liked\":true}",
        Some(false) => b",\"liked\":false}",
        None => b",\"liked\":null}",
    });
}

/// Writes a page as JSON.
fn present(items: &[Item<'_>], next: Option<&str>, prev: Option<&str>) -> Bytes {
    let size: usize = items.iter().map(|item| item.bytes() + 80).sum();
    let mut body = Vec::with_capacity(size + 256);
    body.extend_from_slice(b"{\"items\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        present_item(&mut body, item);
    }
    body.extend_from_slice(b"],\"nextCursor\":");
    cursor(&mut body, next);
    body.extend_from_slice(b",\"prevCursor\":");
    cursor(&mut body, prev);
    body.push(b'}');
    Bytes::from(body)
}

fn cursor(body: &mut Vec<u8>, cursor: Option<&str>) {
    match cursor {
        Some(text) => {
            body.push(b'"');
            body.extend_from_slice(text.as_bytes());
            body.push(b'"');
        }
        None => body.extend_from_slice(b"null"),
    }
}

impl Timeline {
    /// One page of the viewer's feed.
    pub(crate) async fn page(
        &self,
        viewer: UserId,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Answer, Problem> {
        match cursor.map(Place::parse).transpose()? {
            None => self.older_page(viewer, limit.get(), None).await,
            Some((Direction::Older, place)) => {
                self.older_page(viewer, limit.get(), Some(place)).await
            }
            Some((Direction::Newer, place)) => {
                Box::pin(self.newer_page(viewer, limit.get(), place)).await
            }
        }
    }

    /// Hydrates entries and keeps what may be shown.
    pub(crate) async fn part(
        &self,
        viewer: UserId,
        entries: &[FeedEntry],
    ) -> Result<Part, Problem> {
        let hydrated = hydrate(&self.objects, &*self.parts.peers, viewer, entries).await?;
        Ok(rules(entries, hydrated))
    }

    async fn older_page(
        &self,
        viewer: UserId,
        limit: usize,
        from: Option<Place>,
    ) -> Result<Answer, Problem> {
        let cached = self.skeleton(viewer).await?;
        let newest = &cached.skeleton.entries;
        let seen = from.map_or(cached.skeleton.seen, |place| place.seen);
        let start = from.map_or(0, |place| newest.partition_point(|e| e.post_id >= place.post));
        let visible = newest[start..].iter().filter(|entry| entry.arrival <= seen).copied();
        let mut candidates: Candidates<'_> = Box::new(visible);
        let (mut hit, mut exhausted) = (cached.hit, cached.skeleton.exhausted);
        // Everything from here on has been looked at or is among the candidates.
        let mut below = from.map(|place| place.post);
        if let Some(last) = newest.last() {
            below = Some(below.map_or(last.post_id, |below| below.min(last.post_id)));
        }
        let (mut parts, mut last, mut ahead) = (Vec::with_capacity(1), None, candidates.next());
        let mut missing = limit;
        while missing > 0 {
            let Some(first) = ahead else {
                if exhausted {
                    break;
                }
                hit = false;
                let deeper = Box::pin(self.deeper(viewer, below, seen, missing)).await?;
                candidates = Box::new(deeper.entries.into_iter());
                ahead = candidates.next();
                (below, exhausted) = (deeper.below, deeper.exhausted);
                continue;
            };
            let mut some = Vec::with_capacity(missing);
            some.push(first);
            some.extend(candidates.by_ref().take(missing - 1));
            last = some.last().map(|entry| entry.post_id);
            ahead = candidates.next();
            let part = self.part(viewer, &some).await?;
            missing -= part.kept.len();
            parts.push(part);
        }
        let mut items = Vec::with_capacity(limit);
        parts.iter().for_each(|part| items.extend(part.items()));
        let more = ahead.is_some() || !exhausted;
        let next = last.filter(|_| more).map(|post| Place { post, seen }.older());
        let prev = items.first().map(|item| Place { post: item.post_id, seen }.newer());
        Ok(Answer { body: present(&items, next.as_deref(), prev.as_deref()), hit })
    }

    async fn newer_page(
        &self,
        viewer: UserId,
        limit: usize,
        from: Place,
    ) -> Result<Answer, Problem> {
        let visible = self.turns.visible().await?;
        let mut scan = crate::store::scan(&*self.parts.table, viewer).await?;
        // A turn under way may have written some of its rows and not yet others before them.
        scan.rows.retain(|row| row.arrival <= visible);
        let (mut place, mut parts, mut missing) = (from, Vec::new(), limit);
        while missing > 0 {
            let steps = self.newer_steps(viewer, &scan, place, missing).await?;
            let Some(last) = steps.last() else { break };
            place = last.after;
            let entries: Vec<_> = steps.iter().map(|step| step.entry).collect();
            let part = self.part(viewer, &entries).await?;
            missing -= part.kept.len();
            parts.push(part);
        }
        let mut items: Vec<Item<'_>> = parts.iter().flat_map(Part::items).collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.post_id));
        let (next, prev) = match items.last() {
            Some(last) => (Place { post: last.post_id, seen: place.seen }, place),
            // What is older begins with the place itself.
            None => {
                let post = PostId(ulid::Ulid(from.post.0.0.saturating_add(1)));
                (Place { post, ..from }, from)
            }
        };
        let (next, prev) = (next.older(), prev.newer());
        Ok(Answer { body: present(&items, Some(&next), Some(&prev)), hit: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::profiled;

    #[test]
    fn a_page_is_the_json_that_serde_would_write() {
        let (post, author) = (Shown::new(b"{\"text\":\"a\"}"), profiled(b"{}"));
        let item = |like_count, liked| Item {
            post_id: PostId(1.into()),
            post: &post,
            author: Some(&author),
            like_count: Some(like_count),
            liked: Some(liked),
        };
        let bare = Item { author: None, like_count: None, liked: None, ..item(0, false) };
        let body = present(&[item(0, false), item(u64::MAX, true), bare], None, Some("c"));
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let written = serde_json::json!({
            "items": [
                {"post": {"text": "a"}, "author": {}, "likeCount": 0, "liked": false},
                {"post": {"text": "a"}, "author": {}, "likeCount": u64::MAX, "liked": true},
                {"post": {"text": "a"}, "author": null, "likeCount": null, "liked": null},
            ],
            "nextCursor": null,
            "prevCursor": "c",
        });
        assert_eq!(read, written);
        assert_eq!(
            present(&[], None, None),
            "{\"items\":[],\"nextCursor\":null,\"prevCursor\":null}"
        );
    }
}
