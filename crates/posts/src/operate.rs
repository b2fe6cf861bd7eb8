//! What operators do about posts. Each act is one commit with its row among the acts.

use kernel::acts::{self, Act, ActId, Order};
use kernel::{Post, PostId, Problem};

use crate::{Posts, store};

impl Posts {
    /// Removes somebody's post, as its author could; answers what it was. Also one of a suspended
    /// person, which nobody is shown.
    pub async fn remove(&self, id: PostId, order: Order) -> Result<Post, Problem> {
        let order = order.checked()?;
        let act = order.act(&*self.ids, &*self.clock, "remove", id.text());
        store::remove(self, id, (!order.dry_run).then_some(&act)).await
    }

    /// What operators did here, newest first.
    pub async fn acts(&self, before: Option<ActId>, limit: usize) -> Result<Vec<Act>, Problem> {
        Ok(acts::list(&*self.table, before, limit).await?)
    }
}
