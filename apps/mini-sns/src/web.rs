//! The web client: the pages and files of `web/`, out of this program or, while they are worked on,
//! off the disk. And the operator's console, those of `console/`.
//!
//! Whatever the API does not have comes here. What names a file is answered with it; an address of
//! the client's, or any other that a browser is sent to, with the page that starts the client.
//! A post has one address for both, `/posts/{postId}`: a browser that goes there asks for HTML and
//! has no token in its hands, and is shown the page. Whoever calls the API never gets HTML.

mod pack;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kernel::{Code, Problem};

use pack::ASSETS;

include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// Addresses of the client's pages, beside those of people, which begin with `/@`.
const PAGES: [&str; 7] = ["/", "/explore", "/find", "/forgot", "/settings", "/sign-in", "/sign-up"];

/// A page and its files.
struct Site {
    files: &'static [Packed],
    page: Packed,
    /// The page's content security policy.
    policy: &'static str,
}

/// A file with its bodies for each encoding.
struct Packed {
    /// Its path below [`ASSETS`].
    address: &'static str,
    hash: &'static str,
    body: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// What is sent, before it is known whether the client has it already.
struct Found {
    content_type: &'static str,
    body: Cow<'static, [u8]>,
    encoding: Option<&'static str>,
    hash: Cow<'static, str>,
    caching: &'static str,
    vary: &'static str,
    policy: Option<String>,
}

/// A site, embedded or in a folder.
struct Web {
    site: &'static Site,
    folder: Option<PathBuf>,
}

/// The routes of `api`, and the web client at every address that they do not have.
pub(crate) fn beside(api: Router, folder: Option<PathBuf>) -> Router {
    let web = Arc::new(Web { site: &WEB, folder });
    api.fallback(async move |request: Request| answer(&web, &request))
}

/// The operator's console: its page at `/`, and its files. There is nothing secret in them.
pub(crate) fn console() -> Router {
    const WEB: Web = Web { site: &CONSOLE, folder: None };
    let page = async |headers: HeaderMap| {
        WEB.page(&headers).map(|page| send(page, &headers)).ok_or(StatusCode::NOT_FOUND)
    };
    let file = async |Path(address): Path<String>, headers: HeaderMap| {
        WEB.file(&address, &headers).map(|file| send(file, &headers)).ok_or(StatusCode::NOT_FOUND)
    };
    Router::new().route("/", get(page)).route(&format!("{ASSETS}{{*file}}"), get(file))
}

/// Sends browsers that go to a post's address to the page, before the API sees them.
pub(crate) fn to_page<B>(mut request: Request<B>) -> Request<B> {
    if is_visit_of_a_post(&request) {
        *request.uri_mut() = Uri::from_static("/");
    }
    request
}

fn is_visit_of_a_post<B>(request: &Request<B>) -> bool {
    let id = request.uri().path().strip_prefix("/posts/");
    id.is_some_and(|id| !id.is_empty() && !id.contains('/')) && is_visit(request)
}

/// Whether a browser goes here, rather than a program calls.
fn is_visit<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads && !headers.contains_key(AUTHORIZATION) && has(headers, &ACCEPT, "text/html")
}

/// Whether a comma-separated header names `word`, and does not refuse it.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| {
        let mut words = part.split(';').map(str::trim);
        let named = words.next().is_some_and(|first| first.eq_ignore_ascii_case(word));
        named && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn answer(web: &Web, request: &Request) -> Response {
    let nothing = || Problem::new(Code::NotFound, "Nothing has this address.").into_response();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return nothing();
    }
    let (path, headers) = (request.uri().path(), request.headers());
    if let Some(address) = path.strip_prefix(ASSETS) {
        return web.file(address, headers).map_or_else(nothing, |file| send(file, headers));
    }
    let known = PAGES.contains(&path) || path.starts_with("/@");
    if !known && !is_visit(request) {
        return nothing();
    }
    let mut response = web.page(headers).map_or_else(nothing, |page| send(page, headers));
    if !known {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

impl Web {
    fn file(&self, address: &str, headers: &HeaderMap) -> Option<Found> {
        let mut found = match &self.folder {
            Some(folder) => {
                let name = pack::name_of(address)?;
                let file = pack::files(folder).ok()?.into_iter().find(|file| file.name == name)?;
                Found::of_disk(file.hash, file.body)
            }
            None => {
                let file = self.site.files.iter().find(|file| file.address == address)?;
                Found::of_program(file, "public, max-age=31536000, immutable", headers)
            }
        };
        found.content_type = content_type(address);
        Some(found)
    }

    fn page(&self, headers: &HeaderMap) -> Option<Found> {
        let mut found = match &self.folder {
            Some(folder) => {
                let page = page_of(folder).ok()?;
                let body = page.html.into_bytes();
                Found { policy: Some(page.policy), ..Found::of_disk(pack::hash(&body), body) }
            }
            None => {
                let page = Found::of_program(&self.site.page, "no-cache", headers);
                Found { policy: Some(self.site.policy.to_owned()), ..page }
            }
        };
        // A post's address has an answer for programs as well.
        found.vary = "Accept, Accept-Encoding, Authorization";
        Some(found)
    }
}

fn page_of(folder: &std::path::Path) -> std::io::Result<pack::Page> {
    pack::page(folder, &pack::files(folder)?)
}

impl Found {
    fn of_disk(hash: String, body: Vec<u8>) -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            body: body.into(),
            encoding: None,
            hash: hash.into(),
            caching: "no-cache",
            vary: "Accept-Encoding",
            policy: None,
        }
    }

    fn of_program(file: &'static Packed, caching: &'static str, headers: &HeaderMap) -> Self {
        let accepts = |encoding| has(headers, &ACCEPT_ENCODING, encoding);
        let brotli = file.brotli.filter(|_| accepts("br")).map(|body| ("br", body));
        let packed = brotli.or_else(|| file.gzip.filter(|_| accepts("gzip")).map(|b| ("gzip", b)));
        Self {
            content_type: "text/html; charset=utf-8",
            body: packed.map_or(file.body, |(_, body)| body).into(),
            encoding: packed.map(|(encoding, _)| encoding),
            hash: file.hash.into(),
            caching,
            vary: "Accept-Encoding",
            policy: None,
        }
    }
}

fn content_type(address: &str) -> &'static str {
    match address.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/manifest+json",
    }
}

/// The answer, or word that the client has it already.
fn send(found: Found, headers: &HeaderMap) -> Response {
    // Each encoding is a representation of its own, and has a tag of its own.
    let tag = format!("\"{}{}\"", found.hash, found.encoding.unwrap_or_default());
    let has_it = has(headers, &IF_NONE_MATCH, &tag) || has(headers, &IF_NONE_MATCH, "*");
    let (status, body) = if has_it {
        (StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        (StatusCode::OK, Body::from(found.body))
    };
    let always = [(ETAG, tag.as_str()), (CACHE_CONTROL, found.caching), (VARY, found.vary)];
    let mut response = (status, always, body).into_response();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    };
    if let Some(policy) = &found.policy {
        set(CONTENT_SECURITY_POLICY, policy);
    }
    if !has_it {
        set(CONTENT_TYPE, found.content_type);
        if let Some(encoding) = found.encoding {
            set(CONTENT_ENCODING, encoding);
        }
    }
    response
}
