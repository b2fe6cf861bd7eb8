//! Lambda's Invoke in front of the functions, as AWS documents it: the alias in the path, a
//! signature over each request, 200 for whatever a function did.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;

use crate::connections::is_signed;
use crate::gateway::Later;

/// Listens for invocations of the functions; where.
pub(crate) async fn start(functions: Later) -> String {
    let routes = Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .with_state(functions);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn refuse(status: StatusCode, kind: &'static str) -> Response {
    (status, [("x-amzn-errortype", kind)], "{\"Message\":\"no\"}").into_response()
}

async fn invoke(
    State(functions): State<Later>,
    Path(name): Path<String>,
    headers: HeaderMap,
    event: Bytes,
) -> Response {
    let functions = functions.get().expect("the functions are there by now");
    if !is_signed(&headers, "lambda") {
        return refuse(StatusCode::FORBIDDEN, "MissingAuthenticationTokenException");
    }
    // The rest of the name is the environment, which is nobody else's.
    let function = ["users", "posts", "social"]
        .into_iter()
        .find(|function| name.ends_with(&format!("-{function}:live")));
    let Some(function) = function else {
        return refuse(StatusCode::NOT_FOUND, "ResourceNotFoundException");
    };
    let trace = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    functions.was_asked(trace.unwrap_or_default());
    let event: Value = serde_json::from_slice(&event).unwrap();
    match functions.get(function).await.invoke(&event).await {
        Ok(answer) => answer.to_string().into_response(),
        Err(failure) => {
            ([("x-amz-function-error", "Unhandled")], failure.to_string()).into_response()
        }
    }
}
