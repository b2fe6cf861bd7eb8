//! Somebody has left: their feed, their edges and their posts' rows go, page by page.

use kernel::bus::Message;
use kernel::sockets::CloseCode;
use kernel::table::{Attempt, Condition, Query, Scatter, Write, json, retry};
use kernel::{Problem, UserId};

use crate::model::{Edge, Row};
use crate::react::{USER, goes_on_after};
use crate::turn::Turn;
use crate::{Timeline, live, store};

/// Edges taken away in one commit; each is up to three writes.
const EDGES: usize = 30;

impl Timeline {
    pub(crate) async fn user_left(&self, message: &Message, user: UserId) -> Result<(), Problem> {
        let table = &*self.parts.table;
        if goes_on_after(message).is_none() {
            // The tombstone first: from here on no event brings anything of theirs back.
            let now = self.parts.clock.now();
            let expires_at = Some(now + self.config.tombstones);
            let key = store::left_key(user);
            table.scatter(vec![Scatter::Put { key, body: json(&now), expires_at }]).await?;
            self.objects.author_left(user);
            self.parts.sockets.close(user, CloseCode::TokenExpired).await?;
            // The edges before the feed: a turn that still finds one is over when the feed goes.
            while retry(|| self.drop_following(user)).await? {}
            self.drop_own(user).await?;
        }
        let page = Query::all(user.prefixed("follower#"), EDGES);
        let found = table.query(page).await?;
        let mut writes = Vec::with_capacity(2 * found.items.len());
        let mut last = None;
        for item in &found.items {
            let follower: UserId = store::sort_id(&item.key)?;
            if item.json::<Edge>()?.on {
                self.take_author_out(follower, user).await?;
            }
            writes.push(Write::delete(item.key.clone()));
            writes.push(Write::delete(store::following_key(follower, user)));
            last = Some(follower);
        }
        if !writes.is_empty() {
            table.commit(writes).await?;
        }
        match last.filter(|_| found.next.is_some()) {
            Some(last) => self.go_on(USER, message, last).await,
            None => Ok(table.scatter(vec![Scatter::Delete(store::count_key(user))]).await?),
        }
    }

    /// Drops the feed and the rows that readers merged.
    async fn drop_own(&self, user: UserId) -> Result<(), Problem> {
        let mut turn = self.turns.take().await?;
        let done = self.drop_own_in(&mut turn, user).await;
        turn.end().await;
        done
    }

    async fn drop_own_in(&self, turn: &mut Turn<'_>, user: UserId) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let mut rows = store::partition(table, store::feed(user)).await?;
        rows.extend(store::partition(table, store::author(user)).await?);
        let mut writes: Vec<_> = rows.into_iter().map(|row| Scatter::Delete(row.key)).collect();
        writes.push(Scatter::Delete(store::mark_key(user)));
        writes.push(Scatter::Delete(store::cut_key(user)));
        writes.push(Scatter::Delete(store::big_key(user)));
        turn.write(writes).await?;
        self.parts.feed.forget(&[user]).await
    }

    /// Drops some of the edges to whom they followed; whether there were any.
    async fn drop_following(&self, user: UserId) -> Result<bool, Attempt> {
        let table = &*self.parts.table;
        let found = table.query(Query::all(user.prefixed("following#"), EDGES)).await?;
        let mut writes = Vec::with_capacity(3 * EDGES);
        for item in &found.items {
            let author: UserId = store::sort_id(&item.key)?;
            if item.json::<Edge>()?.on {
                writes.push(Write::add(store::count_key(author), -1));
            }
            let same = Condition::Version(item.version);
            writes.push(Write::delete(item.key.clone()).when(same));
            writes.push(Write::delete(store::follower_key(author, user)));
        }
        if writes.is_empty() {
            return Ok(false);
        }
        table.commit(writes).await?;
        Ok(true)
    }

    /// Marks the rows of somebody who has left as gone in a follower's feed, and tells it.
    async fn take_author_out(&self, follower: UserId, author: UserId) -> Result<(), Problem> {
        let mut turn = self.turns.take().await?;
        let done = self.take_author_out_in(&mut turn, follower, author).await;
        turn.end().await;
        done
    }

    async fn take_author_out_in(
        &self,
        turn: &mut Turn<'_>,
        follower: UserId,
        author: UserId,
    ) -> Result<(), Problem> {
        let mut rows = self.rows_of(follower, author).await?;
        rows.retain(|row| !row.gone);
        let expires_at = Some(self.parts.clock.now() + self.config.resume);
        let gone = rows.iter().map(|row| {
            let gone = Row { arrival: turn.next(), gone: true, ..*row };
            store::put_row(store::feed_key(follower, row.post_id), &gone, expires_at)
        });
        let gone = gone.collect();
        turn.write(gone).await?;
        turn.show().await?;
        self.parts.feed.forget(&[follower]).await?;
        turn.check().await?;
        for row in &rows {
            self.parts.sockets.send(&[follower], live::removed(row.post_id)).await?;
        }
        Ok(())
    }
}
