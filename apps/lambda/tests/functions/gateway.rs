//! A REST API in front of the functions: requests become events, by the routes that the templates
//! have, and answers become answers.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::bootstraps::Functions;
use crate::events::Rest;

/// Functions, which are given the gateway's address and so come after it.
pub(crate) type Later = Arc<OnceLock<Functions>>;

/// Listens for requests to the functions; where.
pub(crate) async fn start(functions: Later) -> String {
    let routes = Router::new().fallback(serve).with_state(functions);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Which function serves a path.
fn function(path: &str) -> &'static str {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["likes"] | ["posts", _, "likes"] => "social",
        ["users", _, "follow" | "followers" | "following"] => "social",
        ["auth" | "users" | ".well-known", ..] => "users",
        ["timeline"] => "timeline",
        _ => "posts",
    }
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    let query = uri.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).into_owned().collect()
}

async fn serve(State(functions): State<Later>, request: Request) -> Response<Body> {
    let functions = functions.get().expect("the functions are there by now");
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path();
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let rest = Rest {
        method: parts.method.as_str(),
        path,
        query: query(&parts.uri),
        headers: headers.collect(),
        body: (!body.is_empty()).then(|| String::from_utf8(body.into()).unwrap()),
    };
    let name = function(path);
    match functions.get(name).await.invoke(&rest.event()).await {
        Ok(answer) => answered(&answer),
        Err(failure) => panic!("{name} failed at {} {path}: {failure}", rest.method),
    }
}

fn answered(answer: &Value) -> Response<Body> {
    let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder().status(status);
    for (name, values) in answer["multiValueHeaders"].as_object().unwrap() {
        for value in values.as_array().unwrap() {
            response = response.header(name, value.as_str().unwrap());
        }
    }
    let text = answer["body"].as_str().unwrap();
    let body = match answer["isBase64Encoded"].as_bool().unwrap() {
        true => Bytes::from(STANDARD.decode(text).unwrap()),
        false => Bytes::from(text.to_owned()),
    };
    response.body(Body::from(body)).unwrap()
}
