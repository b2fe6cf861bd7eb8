//! `/openapi.json`, and where they are built in, the pages that show it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[cfg(feature = "docs")]
mod pages;

/// Paths that are public, but not in the document.
#[cfg(feature = "docs")]
pub(crate) const PAGES: [&str; 2] = pages::PAGES;
/// Paths that are public, but not in the document.
#[cfg(not(feature = "docs"))]
pub(crate) const PAGES: [&str; 0] = [];

#[derive(Clone)]
struct Docs {
    document: Bytes,
}

pub(crate) fn router(document: &OpenApi) -> Router {
    // The document's types always serialise.
    let docs = Docs { document: serde_json::to_vec(document).unwrap_or_default().into() };
    let router = Router::from(operations().with_state(docs));
    #[cfg(feature = "docs")]
    let router = router.merge(pages::router());
    router
}

/// What the OpenAPI document says of itself.
pub(crate) fn openapi() -> OpenApi {
    let openapi = operations().into_openapi();
    #[cfg(feature = "docs")]
    let openapi = openapi.merge_from(pages::openapi());
    openapi
}

fn operations() -> OpenApiRouter<Docs> {
    OpenApiRouter::new().routes(routes!(document))
}

#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    operation_id = "openApi",
    summary = "This document",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
async fn document(State(docs): State<Docs>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], docs.document)
}
