//! Compression of answers.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use tower::{Service, ServiceExt};
use tower_http::compression::Compression;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Asks a route, and compresses its answer from `bytes_min` on for a client that can read that.
/// All others are spared the cost of finding out.
pub(crate) async fn run(mut route: Route, mut request: Request, bytes_min: u64) -> Response {
    if !request.headers().contains_key(ACCEPT_ENCODING) {
        let Ok(response) = route.call(request).await;
        return response;
    }
    never_406(request.headers_mut());
    let worth_it = SizeAbove::new(bytes_min)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("font/"));
    let compressing = Compression::new(route).compress_when(worth_it);
    // Boxed, so that those who are spared do not carry it either.
    let Ok(response) = Box::pin(compressing.oneshot(request)).await;
    response.map(Body::new)
}

/// Who refuses even an uncompressed answer gets one all the same, instead of compression's 406.
fn never_406(headers: &mut HeaderMap) {
    let refuses = |value: &HeaderValue| {
        let text = value.as_bytes();
        let has = |part: &[u8]| text.windows(part.len()).any(|w| w.eq_ignore_ascii_case(part));
        has(b"q=0") && (has(b"identity") || has(b"*"))
    };
    if headers.get_all(ACCEPT_ENCODING).iter().any(refuses) {
        headers.remove(ACCEPT_ENCODING);
    }
}
