//! A deleted post leaves the feeds it is in. Readers do not show it from the moment it is deleted;
//! here its rows go, and whoever has it on a screen is told.

use kernel::bus::Message;
use kernel::event::DeletedPost;
use kernel::table::{Scatter, json};
use kernel::{Problem, UserId};

use crate::model::Row;
use crate::react::{REMOVAL, goes_on_after};
use crate::turn::Turn;
use crate::{Timeline, live, store};

impl Timeline {
    pub(crate) async fn remove_post(
        &self,
        message: &Message,
        deleted: &DeletedPost,
    ) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let DeletedPost { post_id, .. } = *deleted;
        let after = goes_on_after(message);
        if after.is_none() {
            // The tombstone first: a fan-out that comes later finds it, one that is under way ends
            // its turn before ours and its rows are found below.
            let now = self.parts.clock.now();
            let key = store::gone_key(post_id);
            let expires_at = Some(now + self.config.tombstones);
            table.scatter(vec![Scatter::Put { key, body: json(&now), expires_at }]).await?;
        }
        let mut turn = self.turns.take().await?;
        let next = self.remove_page(&mut turn, deleted, after).await;
        turn.end().await;
        match next? {
            Some(next) => self.go_on(REMOVAL, message, next).await,
            None => Ok(()),
        }
    }

    /// Removes the post from a page of followers' feeds; where to go on.
    async fn remove_page(
        &self,
        turn: &mut Turn<'_>,
        deleted: &DeletedPost,
        after: Option<UserId>,
    ) -> Result<Option<UserId>, Problem> {
        let table = &*self.parts.table;
        let DeletedPost { post_id, author_id, .. } = *deleted;
        let page = self.config.fanout_page;
        let (ends, next) = store::followers(table, author_id, after, page).await?;
        let mut users: Vec<UserId> = ends.iter().map(|end| end.user_id).collect();
        let mut keys = Vec::with_capacity(users.len() + 2);
        if after.is_none() {
            users.push(author_id);
            keys.push(store::author_key(author_id, post_id));
        }
        keys.extend(users.iter().map(|user| store::feed_key(*user, post_id)));
        let arrival = turn.next();
        let expires_at = Some(self.parts.clock.now() + self.config.resume);
        let mut writes = Vec::new();
        for item in store::get_all(table, &keys).await?.iter().flatten() {
            let row = store::row(item)?;
            if !row.gone {
                let gone = Row { arrival, gone: true, ..row };
                writes.push(store::put_row(item.key.clone(), &gone, expires_at));
            }
        }
        turn.write(writes).await?;
        turn.show().await?;
        self.parts.feed.forget(&users).await?;
        turn.check().await?;
        self.parts.sockets.send(&users, live::removed(post_id)).await?;
        Ok(next)
    }
}
