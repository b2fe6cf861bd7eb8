//! What handlers take their input from. Each refuses with the contract's Problem.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use kernel::{Code, FieldError, Principal, Problem};
use serde::de::DeserializeOwned;

/// The signed-in person. The edge has verified the token and left the principal in the request.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Arc<Principal>>() {
            Some(principal) => Ok(Self(Arc::clone(principal))),
            None => Err(Problem::unauthenticated("Send `Authorization: Bearer <access token>`.")),
        }
    }
}

/// A JSON body: 415 for another media type, 400 for what is not JSON, 413 over the limit, 422 for a
/// missing field or a wrong type.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "Send the body as `Content-Type: application/json`.";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Code::BodyTooLarge, "The body is over the limit of this server.")
            } else {
                Problem::new(Code::MalformedRequest, "The body did not arrive whole.")
            }
        })?;
        parse_json(&body).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.eq_ignore_ascii_case("application/merge-patch+json")
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, &error.into_inner())
    })?;
    json.end().map_err(|error| json_problem(".", &error))?;
    // serde would take an array for an object's members in their order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid(".", "A JSON object is expected."));
    }
    Ok(value)
}

fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Code::MalformedRequest, format!("The body is not JSON: {error}."));
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let error = match (missing, path) {
        (Some(name), ".") => FieldError::new(name, "This field is required."),
        (Some(name), path) => FieldError::new(format!("{path}.{name}"), "This field is required."),
        (None, path) => FieldError::new(path, format!("This does not fit: {message}.")),
    };
    Problem::invalid_fields(vec![error])
}

/// Query parameters; 422 for a missing one or a wrong type.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extract::<axum::extract::Query<T>>().await {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => Err(Problem::invalid("query", rejection.body_text())),
        }
    }
}

/// Path parameters that are ids; 404 for a text that is not one, since nothing has that id.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extract::<axum::extract::Path<T>>().await {
            Ok(path) => Ok(Self(path.0)),
            Err(_) => Err(Problem::new(Code::NotFound, "Nothing has this address.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[expect(dead_code, reason = "only read by serde")]
        text: String,
    }

    fn problem(body: &str) -> (u16, String) {
        let problem = parse_json::<Body>(body.as_bytes()).unwrap_err();
        (problem.code.status(), problem.errors.first().map_or(String::new(), |e| e.field.clone()))
    }

    #[test]
    fn what_is_not_json_is_400_and_what_does_not_fit_is_422() {
        assert_eq!(problem("{"), (400, String::new()));
        assert_eq!(problem(r#"{"text":"a"} x"#), (400, String::new()));
        assert_eq!(problem("{}"), (422, "text".into()));
        assert_eq!(problem(r#"{"text":1}"#), (422, "text".into()));
        assert_eq!(problem("[]").0, 422);
        assert_eq!(problem(r#" ["a"]"#), (422, ".".into()));
    }
}
