//! A bucket of the test's own: as much of S3's protocol as copies need, with credentials that are
//! asked for, and a switch that makes it fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::server::program;

const BUCKET: &str = "copies";
const KEY_ID: &str = "AKIATEST";
pub(crate) const SECRET: &str = "never-shown-to-anybody";
const LAST_MODIFIED: &str = "Mon, 30 Nov 2026 10:15:00 GMT";

/// An object and the tag of its version.
type Object = (Bytes, String);

#[derive(Default)]
pub(crate) struct S3 {
    pub(crate) url: String,
    pub(crate) away: AtomicBool,
    objects: Mutex<BTreeMap<String, Object>>,
    versions: AtomicU64,
}

impl S3 {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Arc::new(Self { url, ..Self::default() });
        let router = Router::new()
            .route("/{bucket}", get(list).post(delete))
            .route("/{bucket}/{*key}", get(read).put(put))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&this), judge))
            .with_state(Arc::clone(&this));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        this
    }

    /// The program with the credentials that the bucket wants.
    pub(crate) fn program() -> Command {
        let mut program = program();
        program.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET);
        program.env("AWS_REGION", "eu-west-1");
        program
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn object(&self, name: &str) -> Bytes {
        self.objects.lock().unwrap()[name].0.clone()
    }

    pub(crate) fn set(&self, name: &str, bytes: impl Into<Bytes>) {
        let tag = format!("\"{}\"", self.versions.fetch_add(1, Ordering::SeqCst));
        self.objects.lock().unwrap().insert(name.to_owned(), (bytes.into(), tag));
    }
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let body = format!("<Error><Code>{code}</Code><Message>No: {code}</Message></Error>");
    (status, body).into_response()
}

async fn judge(
    State(s3): State<Arc<S3>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    if s3.away.load(Ordering::SeqCst) {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    let signed = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let right = format!("Credential={KEY_ID}/");
    if !signed.is_some_and(|signed| signed.contains(&right) && signed.contains("/eu-west-1/s3/")) {
        return refusal(StatusCode::FORBIDDEN, "InvalidAccessKeyId");
    }
    let path = request.uri().path().to_owned();
    if path.split('/').nth(1) != Some(BUCKET) {
        return refusal(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    next.run(request).await
}

async fn put(
    State(s3): State<Arc<S3>>,
    Path((_, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let found = s3.objects.lock().unwrap().get(&key).map(|(_, tag)| tag.clone());
    let wanted = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    let is_new = wanted("if-none-match") != Some("*") || found.is_none();
    let is_same = wanted("if-match").is_none_or(|tag| found.as_deref() == Some(tag));
    if !is_new || !is_same {
        return refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    s3.set(&key, body);
    let tag = s3.objects.lock().unwrap()[&key].1.clone();
    [("etag", tag)].into_response()
}

async fn read(
    State(s3): State<Arc<S3>>,
    Path((_, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some((bytes, tag)) = s3.objects.lock().unwrap().get(&key).cloned() else {
        return refusal(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    let about = [("etag", tag), ("last-modified", LAST_MODIFIED.to_owned())];
    let Some(range) = headers.get("range") else { return (about, bytes).into_response() };
    let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (from, to): (usize, usize) = (range.0.parse().unwrap(), range.1.parse().unwrap());
    let to = to.min(bytes.len() - 1);
    let part = [("content-range", format!("bytes {from}-{to}/{}", bytes.len()))];
    (StatusCode::PARTIAL_CONTENT, about, part, bytes.slice(from..=to)).into_response()
}

async fn list(
    State(s3): State<Arc<S3>>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    let mut found = String::new();
    let prefix = asked.get("prefix").map_or("", String::as_str);
    for (key, (bytes, tag)) in &*s3.objects.lock().unwrap() {
        if key.starts_with(prefix) {
            let (size, tag) = (bytes.len(), tag.trim_matches('"'));
            let time = "2026-11-30T10:15:00.000Z";
            write!(found, "<Contents><Key>{key}</Key><Size>{size}</Size>").unwrap();
            write!(found, "<ETag>{tag}</ETag><LastModified>{time}</LastModified></Contents>")
                .unwrap();
        }
    }
    format!("<ListBucketResult>{found}</ListBucketResult>").into_response()
}

async fn delete(State(s3): State<Arc<S3>>, body: String) -> Response {
    let mut deleted = String::new();
    for named in body.split("<Key>").skip(1) {
        let key = named.split('<').next().unwrap();
        s3.objects.lock().unwrap().remove(key);
        write!(deleted, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
    }
    format!("<DeleteResult>{deleted}</DeleteResult>").into_response()
}
