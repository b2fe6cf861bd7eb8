//! A feed made anew from the other services: what `mini-sns verify --repair` does, and on AWS
//! `mini-sns restore`.

use std::collections::{HashMap, HashSet};

use kernel::peers::Regard;
use kernel::table::{Attempt, Condition, Scatter, Write, get_one, retry};
use kernel::{PostId, Problem, UserId};

use crate::follow::edge_writes;
use crate::model::Edge;
use crate::turn::Turn;
use crate::{Timeline, store};

/// Users on a page of a peer's answer.
const USERS_MAX: usize = 1000;
/// Ids that one call of a peer takes.
const IDS_MAX: usize = 100;

impl Timeline {
    /// Makes the person's edges equal what the social service says, takes out of the feed what
    /// does not belong there, and brings in the newest posts of everybody followed. Repeatable.
    pub async fn rebuild(&self, user: UserId) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let follows = self.follows(user).await?;
        let wanted = self.muted_among(user, &follows).await?;
        let projected = store::all_following(table, user).await?.into_iter();
        let projected: HashMap<_, _> = projected.map(|end| (end.user_id, end.muted)).collect();
        for author in wanted.keys().chain(projected.keys()) {
            let end = wanted.get(author).copied();
            if end != projected.get(author).copied() {
                retry(|| self.set_edge(user, *author, end)).await?;
            }
        }
        let count = self.config.backfill_posts;
        let mut newest: Vec<(UserId, Vec<PostId>)> = Vec::new();
        for author in follows.iter().copied().chain([user]) {
            let posts = self.parts.peers.newest_posts(author, None, count + 1).await?;
            let mut posts: Vec<_> = posts.iter().map(|post| post.post_id).collect();
            if posts.len() > count {
                posts.truncate(count);
                if let Some(oldest) = posts.last() {
                    store::raise_mark(table, user, *oldest).await?;
                }
            }
            newest.push((author, posts));
        }
        let mut turn = self.turns.take().await?;
        let done = async {
            self.take_out_strangers(&mut turn, user, &follows).await?;
            for (author, posts) in newest {
                self.put_old(&mut turn, user, author, &posts).await?;
            }
            self.parts.feed.forget(&[user]).await
        };
        let done = done.await;
        turn.end().await;
        done
    }

    async fn follows(&self, user: UserId) -> Result<HashSet<UserId>, Problem> {
        let (mut all, mut after) = (HashSet::new(), None);
        loop {
            let page = self.parts.peers.following(user, after, USERS_MAX).await?;
            all.extend(page.users);
            let Some(next) = page.next else { return Ok(all) };
            after = Some(next);
        }
    }

    /// Which of those whom the person follows they mute.
    async fn muted_among(
        &self,
        user: UserId,
        follows: &HashSet<UserId>,
    ) -> Result<HashMap<UserId, bool>, Problem> {
        let authors: Vec<UserId> = follows.iter().copied().collect();
        let mut muted = HashMap::with_capacity(authors.len());
        for authors in authors.chunks(IDS_MAX) {
            let regards = self.parts.peers.viewed(user, &[], authors).await?.regards;
            let flags = regards.iter().map(|regard| *regard == Regard::Muted);
            muted.extend(authors.iter().copied().zip(flags));
        }
        Ok(muted)
    }

    /// Sets an edge, on and muted or not, or off, without an event: it keeps its version, so that
    /// the next event counts.
    async fn set_edge(
        &self,
        user: UserId,
        author: UserId,
        end: Option<bool>,
    ) -> Result<(), Attempt> {
        let table = &*self.parts.table;
        let item = get_one(table, store::follower_key(author, user)).await?;
        let before: Option<Edge> = store::body(item.as_ref())?;
        let version = before.map_or(0, |before| before.version);
        let off_until = self.parts.clock.now() + self.config.tombstones;
        let (on, muted) = (end.is_some(), end.unwrap_or_default());
        let edge = Edge { version, on, muted };
        let condition = Condition::unchanged(item.as_ref());
        let mut writes = edge_writes((user, author), edge, condition, off_until).to_vec();
        let delta = i64::from(on) - i64::from(before.is_some_and(|before| before.on));
        if delta != 0 {
            writes.push(Write::add(store::count_key(author), delta));
        }
        Ok(table.commit(writes).await?)
    }

    /// Drops rows of authors who are not followed and of posts that do not exist.
    async fn take_out_strangers(
        &self,
        turn: &mut Turn<'_>,
        user: UserId,
        follows: &HashSet<UserId>,
    ) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let items = store::partition(table, store::feed(user)).await?;
        let mut rows = items.iter().map(store::row).collect::<Result<Vec<_>, _>>()?;
        rows.retain(|row| !row.gone);
        let mut out = Vec::new();
        for chunk in rows.chunks(IDS_MAX) {
            let ids: Vec<_> = chunk.iter().map(|row| row.post_id).collect();
            let exist = self.parts.peers.posts_exist(&ids).await?;
            let stays = |author| author == user || follows.contains(&author);
            let absent = chunk.iter().zip(&exist).filter(|(_, exists)| !**exists);
            let authors: HashSet<UserId> = absent.map(|(row, _)| row.author_id).collect();
            let resting = self.resting(authors).await?;
            let strangers = chunk.iter().zip(exist).filter(|(row, exists)| {
                !stays(row.author_id) || !exists && !resting.contains(&row.author_id)
            });
            let key = |row: &crate::model::Row| store::feed_key(user, row.post_id);
            out.extend(strangers.map(|(row, _)| Scatter::Delete(key(row))));
        }
        turn.write(out).await
    }

    /// Those of the authors who are not shown and have not left: suspended, so their posts may come
    /// back.
    async fn resting(&self, authors: HashSet<UserId>) -> Result<HashSet<UserId>, Problem> {
        let authors: Vec<UserId> = authors.into_iter().collect();
        if authors.is_empty() {
            return Ok(HashSet::new());
        }
        let profiles = self.parts.peers.profiles(&authors).await?;
        let left: Vec<_> = authors.iter().map(|author| store::left_key(*author)).collect();
        let left = store::present(&*self.parts.table, &left).await?;
        let each = authors.into_iter().zip(profiles).zip(left);
        let resting = each.filter(|((_, profile), left)| profile.is_none() && !left);
        Ok(resting.map(|((author, _), _)| author).collect())
    }
}
