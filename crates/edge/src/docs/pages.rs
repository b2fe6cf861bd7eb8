//! `/docs`, where people read the document and try it out: Swagger UI out of the binary, with no
//! request to anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use kernel::{Code, Problem};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::Config;

/// What the page is made of: paths that are public, but not in the document.
pub(crate) const PAGES: [&str; 2] = ["/docs/", "/docs/{*file}"];

/// Swagger UI sets styles by script and draws with data URLs; nothing may come from elsewhere.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                   img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
                   form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Swagger(Arc<Config<'static>>);

pub(crate) fn router() -> Router {
    let swagger = Config::from("/openapi.json")
        .persist_authorization(false)
        .with_credentials(false)
        .try_it_out_enabled(true)
        .validator_url("none");
    let swagger = Swagger(Arc::new(swagger));
    let [index, files] = PAGES;
    Router::from(operations().with_state(swagger.clone()))
        .merge(Router::new().route(index, get(page)).route(files, get(part)).with_state(swagger))
}

/// What the OpenAPI document says of the page.
pub(crate) fn openapi() -> OpenApi {
    operations().into_openapi()
}

fn operations() -> OpenApiRouter<Swagger> {
    OpenApiRouter::new().routes(routes!(page))
}

#[utoipa::path(
    get,
    path = "/docs",
    tag = "service",
    operation_id = "docs",
    summary = "A page on which to read this document and try it out",
    security(()),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
async fn page(State(swagger): State<Swagger>) -> Response {
    // The page names its parts as its neighbours, which they are not at `/docs`.
    let absolute = |html: &[u8]| {
        let html = String::from_utf8_lossy(html).replace("=\"./", "=\"");
        html.replace("src=\"", "src=\"/docs/").replace("href=\"", "href=\"/docs/").into_bytes()
    };
    file("index.html", swagger, absolute)
}

async fn part(State(swagger): State<Swagger>, Path(name): Path<String>) -> Response {
    file(&name, swagger, <[u8]>::to_vec)
}

fn file(name: &str, swagger: Swagger, edit: impl Fn(&[u8]) -> Vec<u8>) -> Response {
    match utoipa_swagger_ui::serve(name, swagger.0) {
        Ok(Some(file)) => {
            let headers = [
                (CONTENT_TYPE, file.content_type.as_str()),
                (CONTENT_SECURITY_POLICY, CSP),
                (CACHE_CONTROL, "public, max-age=3600"),
            ];
            (headers, edit(&file.bytes)).into_response()
        }
        _ => Problem::new(Code::NotFound, "Nothing has this address.").into_response(),
    }
}
