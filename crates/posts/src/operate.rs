//! What operators do about posts and reports. Each act is one commit with its row among the acts.

use kernel::acts::{self, Act, ActId, Order};
use kernel::{Post, PostId, Problem, Time};
use ulid::Ulid;

use crate::reports::{Report, ReportId, Verdict};
use crate::{Posts, store};

impl Posts {
    /// Removes somebody's post, as its author could; answers what it was. Also one of a suspended
    /// person, which nobody is shown.
    pub async fn remove(&self, id: PostId, order: Order) -> Result<Post, Problem> {
        let order = order.checked()?;
        let act = order.act(&*self.ids, &*self.clock, "remove", id.text());
        store::remove(self, id, (!order.dry_run).then_some(&act)).await
    }

    /// Reports that wait for an operator, the oldest first, after the one named.
    pub async fn open_reports(
        &self,
        after: Option<ReportId>,
        limit: usize,
    ) -> Result<Vec<Report>, Problem> {
        store::reports::open(self, after, limit).await
    }

    /// Reports of either state, the newest first, before the one named.
    pub async fn reports(
        &self,
        before: Option<ReportId>,
        limit: usize,
    ) -> Result<Vec<Report>, Problem> {
        store::reports::all(self, before, limit).await
    }

    /// One report.
    pub async fn report(&self, id: ReportId) -> Result<Report, Problem> {
        store::reports::one(self, id).await
    }

    /// Closes a report. Answers how it is then, and whether anything changed, or would.
    pub async fn close_report(
        &self,
        id: ReportId,
        verdict: Verdict,
        order: Order,
    ) -> Result<(Report, bool), Problem> {
        store::reports::close(self, id, verdict, &order.checked()?).await
    }

    /// Closes the open reports about the post or the person with this id, up to 1,000 at once.
    /// Answers those that were closed, or would be.
    pub async fn close_reports_about(
        &self,
        about: Ulid,
        verdict: Verdict,
        order: Order,
    ) -> Result<Vec<Report>, Problem> {
        store::reports::close_about(self, about, verdict, &order.checked()?).await
    }

    /// How many reports are open, and since when the oldest is.
    pub async fn reports_waiting(&self) -> Result<(i64, Option<Time>), Problem> {
        Ok(store::reports::waiting(self).await?)
    }

    /// What operators did here, newest first.
    pub async fn acts(&self, before: Option<ActId>, limit: usize) -> Result<Vec<Act>, Problem> {
        Ok(acts::list(&*self.table, before, limit).await?)
    }
}
