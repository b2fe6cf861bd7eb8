//! A deleted post leaves the feeds it is in. Readers do not show it from the moment it is deleted;
//! here its rows go, and whoever has it on a screen is told.

use kernel::Problem;
use kernel::bus::Message;
use kernel::event::DeletedPost;
use kernel::table::{Scatter, json};

use crate::model::Row;
use crate::react::{REMOVAL, goes_on_after};
use crate::{Timeline, live, store};

impl Timeline {
    pub(crate) async fn remove_post(
        &self,
        message: &Message,
        deleted: &DeletedPost,
    ) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let DeletedPost { post_id, author_id, .. } = *deleted;
        let after = goes_on_after(message);
        let now = self.parts.clock.now();
        if after.is_none() {
            // The tombstone first: a fan-out that comes later finds it, one that is under way ends
            // its turn before ours and its rows are found below.
            let key = store::gone_key(post_id);
            let expires_at = Some(now + self.config.tombstones);
            table.scatter(vec![Scatter::Put { key, body: json(&now), expires_at }]).await?;
        }
        let mut turn = self.turns.take().await?;
        let page = self.config.fanout_page;
        let (mut users, next) = store::followers(table, author_id, after, page).await?;
        let mut keys = Vec::with_capacity(users.len() + 2);
        if after.is_none() {
            users.push(author_id);
            keys.push(store::author_key(author_id, post_id));
        }
        keys.extend(users.iter().map(|user| store::feed_key(*user, post_id)));
        let arrival = turn.next();
        let mut writes = vec![turn.record()];
        for item in store::get_all(table, &keys).await?.iter().flatten() {
            let row = store::row(item)?;
            if !row.gone {
                let gone = Row { arrival, gone: true, ..row };
                let expires_at = Some(now + self.config.resume);
                writes.push(store::put_row(item.key.clone(), &gone, expires_at));
            }
        }
        store::scatter_all(table, writes).await?;
        turn.show();
        self.parts.feed.forget(&users).await?;
        self.parts.sockets.send(&users, live::removed(post_id)).await?;
        drop(turn);
        match next {
            Some(next) => self.go_on(REMOVAL, message, next).await,
            None => Ok(()),
        }
    }
}
