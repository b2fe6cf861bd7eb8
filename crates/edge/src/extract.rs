//! What handlers take their input from. Each refuses with the contract's Problem.

use std::fmt::Display;
use std::sync::Arc;

use axum::RequestPartsExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use kernel::{Code, FieldError, Principal, Problem};
use serde::de::{DeserializeOwned, IgnoredAny};

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

/// Syntax goes before types, however early a type is wrong: what is not JSON is never 422.
fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| not_json("it is not UTF-8"))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, &error.into_inner())
    })?;
    // serde would take an array for an object's members in their order.
    if text.trim_ascii_start().starts_with('[') {
        return Err(Problem::invalid(".", "A JSON object is expected."));
    }
    Ok(value)
}

fn not_json(reason: impl Display) -> Problem {
    Problem::new(Code::MalformedRequest, format!("The body is not JSON: {reason}."))
}

fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    // Nested too deeply, or a number that no type holds.
    if !error.is_data() {
        return not_json(error);
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let error = named(path, "field", message)
        .unwrap_or_else(|| FieldError::new(path, format!("This does not fit: {message}.")));
    Problem::invalid_fields(vec![error])
}

/// The errors of which serde tells the field in its text, and in the path only what holds it.
fn named(path: &str, what: &str, message: &str) -> Option<FieldError> {
    let field = |start: &str| {
        let name = message.strip_prefix(start)?.strip_suffix('`')?;
        Some(if path == "." { name.to_owned() } else { format!("{path}.{name}") })
    };
    if let Some(field) = field("missing field `") {
        return Some(FieldError::new(field, format!("This {what} is required.")));
    }
    field("duplicate field `")
        .map(|field| FieldError::new(field, format!("Send this {what} once.")))
}

/// Query parameters; 422 for a missing one, one sent twice or a wrong type.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        let error = named(&path, "parameter", &message)
            .unwrap_or_else(|| FieldError::new(path, "This value does not fit."));
        Problem::invalid_fields(vec![error])
    })
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

    fn problem(body: impl AsRef<[u8]>) -> (u16, String) {
        told(&parse_json::<Body>(body.as_ref()).unwrap_err())
    }

    fn told(problem: &Problem) -> (u16, String) {
        (problem.code.status(), problem.errors.first().map_or(String::new(), |e| e.field.clone()))
    }

    #[test]
    fn what_does_not_fit_is_422() {
        assert_eq!(problem("{}"), (422, "text".into()));
        assert_eq!(problem(r#"{"text":1}"#), (422, "text".into()));
        assert_eq!(problem(r#"{"text":"a","text":"b"}"#), (422, "text".into()));
        assert_eq!(problem("[]").0, 422);
        assert_eq!(problem(r#" ["a"]"#), (422, ".".into()));
    }

    #[test]
    fn what_is_not_json_is_400_wherever_it_breaks() {
        let deep = format!(r#"{{"text":{}"#, "[".repeat(60_000));
        let closed = format!("{deep}{}}}", "]".repeat(60_000));
        for bad in [
            "",
            "{",
            "{}x",
            "[[[[",
            "[1,]",
            "nul",
            r#"{"text":"a"} x"#,
            r#"{"text":1"#,
            r#"{"text":1,"b":01}"#,
            r#"{"a":tru}"#,
            "{\"text\":1,\"b\":\"\n\"}",
            &deep,
        ] {
            assert_eq!(problem(bad), (400, String::new()), "{bad}");
        }
        for bad in [&b"{\"text\":\"\xff\"}"[..], b"{\"b\":\"\xff\"}", b"{\"\xff\":1}", b"\xff"] {
            assert_eq!(problem(bad), (400, String::new()), "{bad:?}");
        }
        assert_eq!(problem(&closed), (422, "text".into()));
        let map = parse_json::<serde_json::Map<String, serde_json::Value>>(closed.as_bytes());
        assert_eq!(told(&map.unwrap_err()), (400, String::new()), "too deep to be kept");
    }

    #[test]
    fn parameters_are_named() {
        #[derive(Debug, Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "only read by serde")]
            ids: String,
            #[expect(dead_code, reason = "only read by serde")]
            size: Option<u32>,
        }
        for (query, field, message) in [
            ("", "ids", "This parameter is required."),
            ("ids=a&ids=b", "ids", "Send this parameter once."),
            ("ids=a&size=x", "size", "This value does not fit."),
        ] {
            let problem = parse_query::<Wanted>(query).unwrap_err();
            assert_eq!(problem.code.status(), 422);
            assert_eq!(problem.errors, [FieldError::new(field, message)]);
        }
        parse_query::<Wanted>("ids=%E3%81&size=1&more=2").unwrap();
    }
}
