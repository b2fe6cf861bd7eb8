//! `/openapi.json`, and `/docs`: the pages that show it or, where they are not built in, the way to
//! it.

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
pub(crate) const PAGES: [&str; 1] = ["/docs"];
/// The page where there is no other. Its neighbour has no address of its own: behind API Gateway a
/// stage stands before both.
#[cfg(not(feature = "docs"))]
const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
                    <title>Mini-SNS API</title>\n\
                    <p>The API is described in <a href=\"openapi.json\">openapi.json</a>.</p>\n";

#[derive(Clone)]
struct Docs {
    document: Bytes,
}

/// Shows this document.
pub(crate) fn router(document: Bytes) -> Router {
    let router = Router::from(operations().with_state(Docs { document }));
    #[cfg(feature = "docs")]
    let router = router.merge(pages::router());
    #[cfg(not(feature = "docs"))]
    let router = router.route("/docs", axum::routing::get(async || axum::response::Html(PAGE)));
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
