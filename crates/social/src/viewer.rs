//! What a viewer likes, and who is hidden from them, remembered for as long as nothing about it
//! changed.
//!
//! Every page of a timeline asks which of its posts the viewer likes and which of their authors the
//! viewer is to see, and must never be answered with what was true a moment ago. Each change of
//! either counts up one item of theirs in the same commit; so one read of that item tells whether
//! what is remembered still holds, in place of one read for each post and author. From nearly
//! everybody nobody is hidden; of them that alone is remembered.
//!
//! The item is in the table, so changes by other processes are noticed like one's own. But of a
//! commit under way a reader may see the count changed and the like not yet. Where that can be (a
//! settle lag is set), nothing is remembered until the count has stood for so long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::peers::{Regard, Viewed};
use kernel::table::{GET_KEYS_MAX, Key, Table, TableError, Write, get_one};
use kernel::{PostId, Time, UserId};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::store::{hides, likes};

/// Posts, and people, remembered of one viewer, at most.
const FACTS_MAX: usize = 512;
/// What one remembered post or person costs, about.
const FACT_BYTES: usize = 40;
/// What one viewer costs beside them, about.
const VIEWER_BYTES: usize = 250;

/// What was found when the viewer's likes, mutes and blocks had changed `changes` times.
struct Known {
    changes: i64,
    /// When that was first seen.
    since: Time,
    facts: Facts,
}

/// What is remembered of one viewer.
#[derive(Clone, Default)]
struct Facts {
    liked: HashMap<PostId, bool, DefaultHashBuilder>,
    /// Nobody is hidden from them.
    nobody_hidden: bool,
    regards: HashMap<UserId, Regard, DefaultHashBuilder>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<UserId, Arc<Known>> for ByBytes {
    fn weight(&self, _: &UserId, known: &Arc<Known>) -> u64 {
        let facts = known.facts.liked.len() + known.facts.regards.len();
        u64::try_from(VIEWER_BYTES + FACT_BYTES * facts).unwrap_or(u64::MAX)
    }
}

/// What is known of viewers.
pub(crate) struct Viewers {
    cache: Cache<UserId, Arc<Known>, ByBytes>,
    lag: Duration,
}

/// The write that says that a user's likes, or who is hidden from them, changed; it belongs in the
/// commit that changes it.
pub(crate) fn changed(user: UserId) -> Write {
    Write::add(changes_key(user), 1)
}

/// Where the changes of a user's likes, and of who is hidden from them, are counted.
pub(crate) fn changes_key(user: UserId) -> Key {
    Key::new(user.prefixed("changes#"), "")
}

impl Facts {
    /// The answer, where all of it is remembered.
    fn recall(&self, posts: &[PostId], people: &[UserId]) -> Option<Viewed> {
        let mut liked = Vec::with_capacity(posts.len());
        liked.extend(posts.iter().map_while(|post| self.liked.get(post)));
        if liked.len() < posts.len() {
            return None;
        }
        if self.nobody_hidden {
            return Some(Viewed { liked, regards: vec![Regard::Open; people.len()] });
        }
        let regards = people.iter().map(|person| self.regards.get(person).copied());
        Some(Viewed { liked, regards: regards.collect::<Option<_>>()? })
    }

    fn learn(&mut self, posts: &[PostId], people: &[UserId], found: &Found) {
        if self.liked.len() + posts.len() > FACTS_MAX {
            self.liked.clear();
        }
        self.liked.extend(posts.iter().copied().zip(found.viewed.liked.iter().copied()));
        self.nobody_hidden = found.nobody_hidden;
        if self.nobody_hidden {
            return;
        }
        if self.regards.len() + people.len() > FACTS_MAX {
            self.regards.clear();
        }
        self.regards.extend(people.iter().copied().zip(found.viewed.regards.iter().copied()));
    }
}

/// What the table says.
struct Found {
    viewed: Viewed,
    nobody_hidden: bool,
}

/// Looks up likes, and whether anybody is hidden, in one read; who is hidden in another, where
/// somebody is.
async fn look(
    table: &dyn Table,
    viewer: UserId,
    posts: &[PostId],
    people: &[UserId],
) -> Result<Found, TableError> {
    let mut keys: Vec<Key> = posts.iter().map(|post| likes::edge_key(viewer, *post)).collect();
    keys.push(hides::hidden_key(viewer));
    let mut items = Vec::with_capacity(keys.len());
    for keys in keys.chunks(GET_KEYS_MAX) {
        items.extend(table.get(keys).await?);
    }
    let counter = items.pop().flatten();
    let liked = likes::are_on(&items)?;
    let nobody_hidden = !hides::any_hidden(counter.as_ref());
    let regards = if nobody_hidden {
        vec![Regard::Open; people.len()]
    } else {
        hides::regards(table, viewer, people).await?
    };
    Ok(Found { viewed: Viewed { liked, regards }, nobody_hidden })
}

impl Viewers {
    pub(crate) fn new(bytes_max: u64, lag: Option<Duration>) -> Self {
        let items = usize::try_from(bytes_max).unwrap_or(usize::MAX) / VIEWER_BYTES;
        let cache = Cache::with_weighter(items, bytes_max, ByBytes);
        Self { cache, lag: lag.unwrap_or_default() }
    }

    /// Which of up to 100 posts the viewer likes, and how up to 100 people are to be shown to them,
    /// as of `now`.
    pub(crate) async fn viewed(
        &self,
        table: &dyn Table,
        now: Time,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, TableError> {
        // Read before the rest: a change in between makes what is found here out of date at once.
        let changes = get_one(table, changes_key(viewer)).await?.map_or(0, |item| item.count);
        let known = self.cache.get(&viewer).filter(|known| known.changes == changes);
        if let Some(viewed) = known.as_ref().and_then(|known| known.facts.recall(posts, people)) {
            return Ok(viewed);
        }
        let found = look(table, viewer, posts, people).await?;
        let since = known.as_ref().map_or(now, |known| known.since);
        if now.since(since) < self.lag {
            if known.is_none() {
                let facts = Facts::default();
                self.cache.insert(viewer, Arc::new(Known { changes, since, facts }));
            }
            return Ok(found.viewed);
        }
        let mut facts = known.map_or_else(Facts::default, |known| known.facts.clone());
        facts.learn(posts, people, &found);
        self.cache.insert(viewer, Arc::new(Known { changes, since, facts }));
        Ok(found.viewed)
    }
}
