//! The route about reports.

use std::sync::Arc;

use axum::extract::State;
use edge::{Caller, Json};
use http::StatusCode;
use kernel::{PostId, Problem, Time, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Posts;
use crate::reports::{self, Reason, Report, ReportId, Subject};
use crate::store::reports::{self as store, Claim};

pub(crate) fn router() -> OpenApiRouter<Arc<Posts>> {
    OpenApiRouter::new().routes(routes!(report))
}

/// Something to report: a post or a user, exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewReport {
    /// A post's id.
    #[schema(value_type = Option<String>, example = "01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    post_id: Option<PostId>,
    /// A user's id.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// What is wrong.
    reason: Reason,
    /// More about it, up to 1,000 characters.
    text: Option<String>,
}

/// A report as its reporter sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reported {
    /// Its id.
    #[schema(value_type = String, example = "01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    report_id: ReportId,
    /// Whether somebody has looked.
    state: reports::State,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

impl From<Report> for Reported {
    fn from(report: Report) -> Self {
        let state = report.state();
        Self { report_id: report.report_id, state, created_at: report.created_at }
    }
}

#[utoipa::path(
    post,
    path = "/reports",
    tag = "posts",
    operation_id = "report",
    summary = "Report a post or a user to the operators",
    description = "What is reported is kept as it is now, whatever is changed or deleted later. \
        Reporting the same again answers the first report, while that is open. Nobody but \
        operators learns who reported what. A block does not hinder it.",
    request_body = NewReport,
    responses(
        (status = 201, description = "Reported", body = Reported),
        (status = 200, description = "Reported before, and still open", body = Reported),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token"),
        (status = 403, description = "`account_suspended`"),
        (status = 404, description = "There is no such post or user"),
        (status = 409, description = "Other requests changed the same again and again"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A broken rule, or `self_report`"),
        (status = 429, description = "`report_rate_limited`: 20 reports a day at most"),
    )
)]
async fn report(
    State(posts): State<Arc<Posts>>,
    Caller(caller): Caller,
    Json(new): Json<NewReport>,
) -> Result<(StatusCode, axum::Json<Reported>), Problem> {
    let claim = Claim {
        reporter: caller.user_id,
        subject: Subject::parse(new.post_id, new.user_id)?,
        reason: new.reason,
        text: reports::words(new.text.as_deref(), posts.config.report_characters_max)?,
    };
    let (report, is_new) = store::create(&posts, claim).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(report.into())))
}
