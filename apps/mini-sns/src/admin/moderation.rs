//! What operators do about people, posts and reports: routes of the admin listener.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use kernel::acts::{Act, ActId, Order};
use kernel::{Code, PostId, Problem};
use posts::{Posts, Report, ReportId, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};
use users::{Outcome, Reset, Users};

use super::Admin;

/// Acts, or reports, on a page, at most.
const PAGE_MAX: usize = 1000;

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/users", get(find))
        .route("/users/{who}", get(show))
        .route("/users/{who}/suspend", post(suspend))
        .route("/users/{who}/restore", post(restore))
        .route("/users/{who}/reset-sessions", post(reset_sessions))
        .route("/users/{who}/reset-password", post(reset_password))
        .route("/posts/{id}/remove", post(remove))
        .route("/reports", get(reports))
        .route("/reports/{id}", get(report))
        .route("/reports/{id}/close", post(close))
        .route("/reports/about/{id}/close", post(close_about))
        .route("/acts", get(acts))
}

fn elsewhere() -> Problem {
    Problem::new(Code::NotFound, "This process does not serve that; ask the one that does.")
}

impl Admin {
    fn users(&self) -> Result<&Users, Problem> {
        self.world.services.users.as_deref().ok_or_else(elsewhere)
    }

    fn posts(&self) -> Result<&Posts, Problem> {
        self.world.services.posts.as_deref().ok_or_else(elsewhere)
    }
}

#[derive(Deserialize)]
struct Sought {
    q: String,
}

async fn find(
    State(admin): State<Arc<Admin>>,
    Query(sought): Query<Sought>,
) -> Result<Json<Value>, Problem> {
    let items = admin.users()?.find(&sought.q).await?;
    Ok(Json(json!({"items": items})))
}

async fn show(
    State(admin): State<Arc<Admin>>,
    Path(who): Path<String>,
) -> Result<Json<users::Account>, Problem> {
    admin.users()?.account(&who).await.map(Json)
}

async fn suspend(
    State(admin): State<Arc<Admin>>,
    Path(who): Path<String>,
    Json(order): Json<Order>,
) -> Result<Json<Outcome>, Problem> {
    admin.users()?.suspend(&who, order).await.map(Json)
}

async fn restore(
    State(admin): State<Arc<Admin>>,
    Path(who): Path<String>,
    Json(order): Json<Order>,
) -> Result<Json<Outcome>, Problem> {
    admin.users()?.restore(&who, order).await.map(Json)
}

async fn reset_sessions(
    State(admin): State<Arc<Admin>>,
    Path(who): Path<String>,
    Json(order): Json<Order>,
) -> Result<Json<Outcome>, Problem> {
    admin.users()?.reset_sessions(&who, order).await.map(Json)
}

async fn reset_password(
    State(admin): State<Arc<Admin>>,
    Path(who): Path<String>,
    Json(order): Json<Order>,
) -> Result<Json<Reset>, Problem> {
    admin.users()?.reset_password(&who, order).await.map(Json)
}

async fn remove(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Json(order): Json<Order>,
) -> Result<Json<Value>, Problem> {
    let id: PostId = id.parse().map_err(|_| Problem::not_found("post"))?;
    let post = admin.posts()?.remove(id, order).await?;
    Ok(Json(json!({"post": post, "changed": true})))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    #[default]
    Open,
    All,
}

/// Which reports to list.
#[derive(Deserialize)]
struct Reported {
    #[serde(default)]
    state: Which,
    after: Option<ReportId>,
    limit: Option<usize>,
}

async fn reports(
    State(admin): State<Arc<Admin>>,
    Query(wanted): Query<Reported>,
) -> Result<Json<Value>, Problem> {
    let limit = wanted.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let posts = admin.posts()?;
    let items = match wanted.state {
        Which::Open => posts.open_reports(wanted.after, limit).await?,
        Which::All => posts.reports(wanted.after, limit).await?,
    };
    let next = items.last().map(|report| report.report_id).filter(|_| items.len() == limit);
    Ok(Json(json!({"items": items, "next": next})))
}

fn report_id(text: &str) -> Result<ReportId, Problem> {
    text.parse().map_err(|_| Problem::not_found("report"))
}

async fn report(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<Report>, Problem> {
    admin.posts()?.report(report_id(&id)?).await.map(Json)
}

/// An order, and what was decided.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Close {
    r#as: Verdict,
    operator: String,
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

impl Close {
    fn order(self) -> (Verdict, Order) {
        let Self { r#as: verdict, operator, reason, dry_run } = self;
        (verdict, Order { operator, reason, dry_run })
    }
}

async fn close(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Json(close): Json<Close>,
) -> Result<Json<Value>, Problem> {
    let (verdict, order) = close.order();
    let (report, changed) = admin.posts()?.close_report(report_id(&id)?, verdict, order).await?;
    Ok(Json(json!({"report": report, "changed": changed})))
}

async fn close_about(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Json(close): Json<Close>,
) -> Result<Json<Value>, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("post or user"))?;
    let (verdict, order) = close.order();
    let items = admin.posts()?.close_reports_about(id, verdict, order).await?;
    Ok(Json(json!({"items": items})))
}

#[derive(Deserialize)]
struct Range {
    before: Option<ActId>,
    limit: Option<usize>,
}

/// What operators did in the services of this process, newest first.
async fn acts(
    State(admin): State<Arc<Admin>>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, Problem> {
    let limit = range.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let services = &admin.world.services;
    let mut items: Vec<Act> = Vec::new();
    if let Some(users) = &services.users {
        items.extend(users.acts(range.before, limit).await?);
    }
    if let Some(posts) = &services.posts {
        items.extend(posts.acts(range.before, limit).await?);
    }
    items.sort_by_key(|act| std::cmp::Reverse(act.id));
    items.truncate(limit);
    let next = items.last().map(|act| act.id).filter(|_| items.len() == limit);
    Ok(Json(json!({"items": items, "next": next})))
}
