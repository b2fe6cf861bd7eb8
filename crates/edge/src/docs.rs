//! `/openapi.json`, and `/docs`, where people try it out: Swagger UI out of the binary, with no
//! request to anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use kernel::{Code, Problem};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

/// The paths below, which are public.
pub(crate) const PATHS: [&str; 4] = ["/openapi.json", "/docs", "/docs/", "/docs/{*file}"];

/// Swagger UI sets styles by script and draws with data URLs; nothing may come from elsewhere.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                   img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
                   form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router(document: &OpenApi) -> Router {
    // The document's types always serialise.
    let json: axum::body::Bytes = serde_json::to_vec(document).unwrap_or_default().into();
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")];
    let [openapi, docs, index, files] = PATHS;
    let config = Config::from(openapi)
        .persist_authorization(false)
        .with_credentials(false)
        .try_it_out_enabled(true)
        .validator_url("none");
    Router::new()
        .route(openapi, get(async move || (headers, json)))
        .route(docs, get(async || Redirect::permanent("/docs/")))
        .route(index, get(async |State(config)| file("index.html", config)))
        .route(files, get(async |Path(name): Path<String>, State(config)| file(&name, config)))
        .with_state(Arc::new(config))
}

fn file(name: &str, config: Arc<Config<'static>>) -> Response {
    match utoipa_swagger_ui::serve(name, config) {
        Ok(Some(file)) => {
            let headers = [
                (CONTENT_TYPE, file.content_type.as_str()),
                (CONTENT_SECURITY_POLICY, CSP),
                (CACHE_CONTROL, "public, max-age=3600"),
            ];
            (headers, file.bytes.into_owned()).into_response()
        }
        _ => Problem::new(Code::NotFound, "Nothing has this address.").into_response(),
    }
}
