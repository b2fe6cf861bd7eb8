//! Follows: the projection of who follows whom, and what a follow brings into a feed or takes out;
//! and mutes, which are noted in the follows that they silence.

use kernel::event::{Follow, Mute};
use kernel::peers::Regard;
use kernel::table::{Attempt, Condition, Scatter, Write, get_one, retry};
use kernel::{PostId, Problem, UserId};

use crate::model::{Edge, Row};
use crate::turn::Turn;
use crate::{Timeline, store};

/// The two rows of an edge; one that is off is a tombstone and expires.
pub(crate) fn edge_writes(
    follow: (UserId, UserId),
    edge: Edge,
    condition: Condition,
    off_until: kernel::Time,
) -> [Write; 2] {
    let (follower, author) = follow;
    let put = |key| {
        let write = Write::put_json(key, &edge);
        if edge.on { write } else { write.expiring(off_until) }
    };
    [
        put(store::follower_key(author, follower)).when(condition),
        put(store::following_key(follower, author)),
    ]
}

impl Timeline {
    /// Takes a change of an edge over, unless a newer one is known, and then what follows from it.
    pub(crate) async fn follow_changed(&self, follow: &Follow, on: bool) -> Result<(), Problem> {
        let Follow { follower_id, followee_id, version } = *follow;
        if follower_id == followee_id {
            return Ok(());
        }
        if !retry(|| self.project(follower_id, followee_id, (version, on))).await? {
            return Ok(());
        }
        if on {
            self.back_fill(follower_id, followee_id).await
        } else {
            self.take_out(follower_id, followee_id).await
        }
    }

    /// Whether the edge now stands as told. The same event again finds it so, and what follows is
    /// done again: the first time may have ended half way.
    async fn project(
        &self,
        follower: UserId,
        author: UserId,
        (version, on): (u64, bool),
    ) -> Result<bool, Attempt> {
        let table = &*self.parts.table;
        let left = [store::left_key(follower), store::left_key(author)];
        let [a, b] = left.clone();
        let items = table.get(&[store::follower_key(author, follower), a, b]).await?;
        if items[1..].iter().any(Option::is_some) {
            return Ok(false);
        }
        let before: Option<Edge> = store::body(items[0].as_ref())?;
        if let Some(before) = before
            && before.version >= version
        {
            return Ok((before.version, before.on) == (version, on));
        }
        let muted = on && self.is_muted(follower, author).await?;
        let edge = Edge { version, on, muted };
        let off_until = self.parts.clock.now() + self.config.tombstones;
        let condition = Condition::unchanged(items[0].as_ref());
        let mut writes = edge_writes((follower, author), edge, condition, off_until).to_vec();
        writes.extend(left.map(|key| Write::check(key, Condition::Absent)));
        let delta = i64::from(edge.on) - i64::from(before.is_some_and(|before| before.on));
        if delta != 0 {
            writes.push(Write::add(store::count_key(author), delta));
        }
        table.commit(writes).await?;
        Ok(true)
    }

    /// Notes whether the follower mutes the author. Changes of one mute come in any order, so which
    /// is the last is asked; whoever asked before another wrote asks again.
    pub(crate) async fn mute_changed(&self, mute: &Mute) -> Result<(), Problem> {
        retry(|| self.project_mute(mute.muter_id, mute.muted_id)).await?;
        self.parts.feed.forget(&[mute.muter_id]).await
    }

    async fn project_mute(&self, follower: UserId, author: UserId) -> Result<(), Attempt> {
        let table = &*self.parts.table;
        let item = get_one(table, store::follower_key(author, follower)).await?;
        // A mute of somebody who is not followed is asked about when they are.
        let Some(before) = store::body::<Edge>(item.as_ref())?.filter(|edge| edge.on) else {
            return Ok(());
        };
        let edge = Edge { muted: self.is_muted(follower, author).await?, ..before };
        if edge != before {
            let off_until = self.parts.clock.now() + self.config.tombstones;
            let condition = Condition::unchanged(item.as_ref());
            let writes = edge_writes((follower, author), edge, condition, off_until);
            table.commit(writes.to_vec()).await?;
        }
        Ok(())
    }

    async fn is_muted(&self, follower: UserId, author: UserId) -> Result<bool, Problem> {
        let viewed = self.parts.peers.viewed(follower, &[], &[author]).await?;
        Ok(viewed.regards == [Regard::Muted])
    }

    /// Brings the author's newest posts into the follower's feed. Posts written from now on come by
    /// fan-out, for the projection says so already; posts written before are found here.
    async fn back_fill(&self, user: UserId, author: UserId) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let wanted = self.config.backfill_posts;
        let mut posts = self.parts.peers.newest_posts(author, None, wanted + 1).await?;
        let more = posts.len() > wanted;
        posts.truncate(wanted);
        for post in &posts {
            self.objects.keep_post(post);
        }
        let posts: Vec<PostId> = posts.iter().map(|post| post.post_id).collect();
        let mut turn = self.turns.take().await?;
        let done = async {
            if store::follows(table, user, author).await? {
                if let Some(oldest) = posts.last().filter(|_| more) {
                    store::raise_mark(table, user, *oldest).await?;
                }
                self.put_old(&mut turn, user, author, &posts).await?;
            }
            self.parts.feed.forget(&[user]).await
        };
        let done = done.await;
        turn.end().await;
        done
    }

    /// Puts rows that have been there from the start, where there are none and the post lives.
    pub(crate) async fn put_old(
        &self,
        turn: &mut Turn<'_>,
        user: UserId,
        author_id: UserId,
        posts: &[PostId],
    ) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let keys: Vec<_> = posts
            .iter()
            .flat_map(|post| [store::feed_key(user, *post), store::gone_key(*post)])
            .collect();
        let there = store::present(table, &keys).await?;
        let absent = posts.iter().zip(there.chunks(2)).filter(|(_, there)| **there == [false; 2]);
        let writes = absent.map(|(post, _)| {
            let row = Row { post_id: *post, author_id, arrival: 0, gone: false };
            store::put_row(store::feed_key(user, *post), &row, None)
        });
        turn.write(writes.collect()).await
    }

    /// Takes the author's posts out of the feed of somebody who no longer follows.
    async fn take_out(&self, user: UserId, author: UserId) -> Result<(), Problem> {
        let table = &*self.parts.table;
        // The projection hides them from every skeleton loaded from now on.
        self.parts.feed.forget(&[user]).await?;
        let mut turn = self.turns.take().await?;
        let done = async {
            if !store::follows(table, user, author).await? {
                let rows = self.rows_of(user, author).await?;
                let keys = rows.iter().map(|row| store::feed_key(user, row.post_id));
                turn.write(keys.map(Scatter::Delete).collect()).await?;
            }
            self.parts.feed.forget(&[user]).await
        };
        let done = done.await;
        turn.end().await;
        done
    }

    /// The rows of one author in somebody's feed.
    pub(crate) async fn rows_of(&self, user: UserId, author: UserId) -> Result<Vec<Row>, Problem> {
        let items = store::partition(&*self.parts.table, store::feed(user)).await?;
        let rows = items.iter().map(store::row).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().filter(|row| row.author_id == author).collect())
    }
}
