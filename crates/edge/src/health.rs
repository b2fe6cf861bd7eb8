//! `GET /health`: whether the parts this process stands on do their work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use http::StatusCode;
use kernel::Problem;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What the OpenAPI document says of `/health`.
pub fn openapi() -> OpenApi {
    Health::new("").routes().into_openapi()
}

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), Problem>> + Send + Sync>;

/// The checks behind `/health`. Anybody may ask, as often as they like, so an answer stands for a
/// second and one check runs at a time.
pub struct Health {
    version: &'static str,
    checks: Vec<(&'static str, Check)>,
    check_timeout: Duration,
    report_age_max: Duration,
    last: Mutex<Option<(Instant, Report)>>,
}

/// How the service is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[schema(as = Health)]
struct Report {
    status: Status,
    /// The version that is running.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Each part that it stands on: `store`, `bus`, `cache`.
    checks: BTreeMap<&'static str, Status>,
}

/// How a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthStatus)]
enum Status {
    /// It does its work.
    Ok,
    /// It does not, or not in time.
    Degraded,
}

impl Health {
    /// No checks yet: healthy.
    pub fn new(version: &'static str) -> Self {
        Self {
            version,
            checks: Vec::new(),
            check_timeout: Duration::from_secs(1),
            report_age_max: Duration::from_secs(1),
            last: Mutex::new(None),
        }
    }

    /// With one more check; it fails when it answers an error or takes over a second.
    #[must_use]
    pub fn check<F, W>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        self.checks.push((name, Box::new(move || check().boxed())));
        self
    }

    /// The route.
    pub fn routes(self) -> OpenApiRouter {
        OpenApiRouter::new().routes(routes!(health)).with_state(Arc::new(self))
    }

    async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < self.report_age_max
        {
            return report.clone();
        }
        let checks = self.checks.iter().map(async |(name, check)| {
            let error = match timeout(self.check_timeout, check()).await {
                Ok(Ok(())) => return (*name, Status::Ok),
                Ok(Err(problem)) => problem.cause.map_or(problem.detail.into(), |c| c.to_string()),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(check = name, error, "a health check failed");
            (*name, Status::Degraded)
        });
        let checks: BTreeMap<_, _> = join_all(checks).await.into_iter().collect();
        let all_ok = checks.values().all(|status| *status == Status::Ok);
        let status = if all_ok { Status::Ok } else { Status::Degraded };
        let report = Report { status, version: self.version, checks };
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

/// Tell how the service is
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "Every part does its work.", body = Report),
        (status = 503, description = "Some part does not.", body = Report),
    )
)]
async fn health(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let report = health.report().await;
    let status = match report.status {
        Status::Ok => StatusCode::OK,
        Status::Degraded => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, [(http::header::CACHE_CONTROL, "no-store")], Json(report))
}
