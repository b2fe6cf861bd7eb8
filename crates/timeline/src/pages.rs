//! What the entries of a page show, kept for whoever reads the same page again.
//!
//! To find a page's objects costs two looks for each of its entries, in caches that all readers
//! share. A page that is read again shows the same ones for as long as its likes' counts are fresh
//! and nothing about any author has changed, so they are found once. Whether its posts exist, are
//! liked, and may be shown is no part of this: that is asked at every reading.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kernel::feed::FeedEntry;
use kernel::peers::Peers;
use kernel::{PostId, Problem, Time, UserId};
use quick_cache::Weighter;

use crate::objects::{Author, Objects, Posts};

/// What some entries show, in their order.
pub(crate) struct Dressed {
    entries: Vec<FeedEntry>,
    pub(crate) posts: Posts,
    pub(crate) authors: Vec<Author>,
    /// How often authors had changed before these were looked up.
    changes: u64,
    /// When the first of the authors is to be asked for again.
    until: Time,
}

/// What a page of one viewer weighs: its objects as well, since it may be the last to hold them.
#[derive(Clone, Copy)]
pub(crate) struct ByBytes;

impl Weighter<UserId, Arc<Dressed>> for ByBytes {
    fn weight(&self, _: &UserId, page: &Arc<Dressed>) -> u64 {
        page.posts.weight() + page.authors.iter().map(Author::weight).sum::<u64>()
    }
}

impl Objects {
    /// What `entries` show to the viewer, from the caches or the services whose it is.
    pub(crate) async fn dress(
        &self,
        peers: &dyn Peers,
        viewer: UserId,
        entries: &[FeedEntry],
    ) -> Result<Arc<Dressed>, Problem> {
        if let Some(page) = self.pages.get(&viewer)
            && self.still_shows(&page, entries)
        {
            return Ok(page);
        }
        Box::pin(self.dress_anew(peers, viewer, entries)).await
    }

    fn still_shows(&self, page: &Dressed, entries: &[FeedEntry]) -> bool {
        let now = self.clock.now();
        page.entries == entries
            && page.changes == self.changes.load(Ordering::Acquire)
            && now < page.until
            && self.are_fresh(&page.posts, now)
    }

    async fn dress_anew(
        &self,
        peers: &dyn Peers,
        viewer: UserId,
        entries: &[FeedEntry],
    ) -> Result<Arc<Dressed>, Problem> {
        let ids: Vec<PostId> = entries.iter().map(|entry| entry.post_id).collect();
        let writers: Vec<UserId> = entries.iter().map(|entry| entry.author_id).collect();
        // Before the authors: one who changes meanwhile makes what is found out of date at once.
        let changes = self.changes.load(Ordering::Acquire);
        let (posts, authors) =
            tokio::try_join!(self.posts(peers, &ids), self.authors(peers, &writers))?;
        let until = self.known_until(&writers);
        let entries = entries.to_vec();
        let page = Dressed { entries, posts, authors, changes, until: until.unwrap_or_default() };
        let page = Arc::new(page);
        if until.is_some() {
            self.pages.insert(viewer, Arc::clone(&page));
        }
        Ok(page)
    }
}
