//! Compression of answers, where it is built in.

use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use tower::Service;

/// Asks a route, and compresses its answer from `bytes_min` on for a client that can read that.
/// All others are spared the cost of finding out.
#[cfg_attr(not(feature = "compression"), expect(unused_variables, reason = "nothing compresses"))]
pub(crate) async fn run(mut route: Route, request: Request, bytes_min: u64) -> Response {
    #[cfg(feature = "compression")]
    if request.headers().contains_key(http::header::ACCEPT_ENCODING) {
        // Boxed, so that those who are spared do not carry it either.
        return Box::pin(compressed::run(route, request, bytes_min)).await;
    }
    let Ok(response) = route.call(request).await;
    response
}

#[cfg(feature = "compression")]
mod compressed {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::response::Response;
    use axum::routing::Route;
    use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
    use tower::ServiceExt;
    use tower_http::compression::Compression;
    use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

    pub(super) async fn run(route: Route, mut request: Request, bytes_min: u64) -> Response {
        never_406(request.headers_mut());
        let worth_it = SizeAbove::new(bytes_min)
            .and(NotForContentType::IMAGES)
            .and(NotForContentType::SSE)
            .and(NotForContentType::const_new("font/"));
        let Ok(response) = Compression::new(route).compress_when(worth_it).oneshot(request).await;
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
}
