//! What an API Gateway REST API hands a function (proxy integration), as an HTTP request, and the
//! answer to it.
//!
//! Of our own rather than `lambda_http`'s: that one puts the stage before the path, drops all but
//! one of a header's values, and panics at a path that is no address. Only what is needed is read.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request, response};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// Names with their values.
type Values = HashMap<String, Vec<String>>;

/// A request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestEvent {
    http_method: String,
    path: String,
    multi_value_headers: Option<Values>,
    multi_value_query_string_parameters: Option<Values>,
    request_context: RestContext,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// What API Gateway knows of a request.
#[derive(Deserialize)]
struct RestContext {
    #[serde(default)]
    identity: RestIdentity,
}

/// Who sent it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RestIdentity {
    source_ip: Option<String>,
}

impl RestEvent {
    /// The request, as a server of our own would have received it.
    pub(crate) fn into_request(self) -> Result<Request<Body>, Failure> {
        let method: Method = self.http_method.parse().map_err(Failure::unreadable)?;
        let mut request = Request::builder().method(method).uri(self.uri());
        for (name, values) in self.multi_value_headers.unwrap_or_default() {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            // API Gateway compresses by itself, and would take compressed bytes for text.
            if name == ACCEPT_ENCODING || name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
                continue;
            }
            for value in values {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    request = request.header(name.clone(), value);
                }
            }
        }
        let address = self.request_context.identity.source_ip;
        if let Some(address) = address.and_then(|text| text.parse::<IpAddr>().ok()) {
            request = request.extension(ConnectInfo(SocketAddr::new(address, 0)));
        }
        let body = self.body.unwrap_or_default();
        let body = if self.is_base64_encoded {
            Bytes::from(STANDARD.decode(body).map_err(Failure::unreadable)?)
        } else {
            Bytes::from(body)
        };
        request.body(Body::from(body)).map_err(Failure::unreadable)
    }

    /// Path and query as they go over the wire. Of the query API Gateway gives what it means, not
    /// how it was spelt.
    fn uri(&self) -> String {
        let mut uri = String::with_capacity(self.path.len() + 1);
        if !self.path.starts_with('/') {
            uri.push('/');
        }
        for byte in self.path.bytes() {
            match byte {
                b'%' | b'/' => uri.push(char::from(byte)),
                byte if is_path(byte) => uri.push(char::from(byte)),
                byte => uri.push_str(&format!("%{byte:02X}")),
            }
        }
        let Some(query) = self.multi_value_query_string_parameters.as_ref() else { return uri };
        let mut pairs = Serializer::new(String::new());
        for (name, values) in query {
            for value in values {
                pairs.append_pair(name, value);
            }
        }
        let query = pairs.finish();
        if !query.is_empty() {
            uri.push('?');
            uri.push_str(&query);
        }
        uri
    }
}

/// Whether a byte stands for itself in a path (RFC 3986).
fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// An answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestAnswer {
    status_code: u16,
    multi_value_headers: Values,
    body: String,
    is_base64_encoded: bool,
}

impl RestAnswer {
    /// The answer of a router.
    pub(crate) fn new(parts: &response::Parts, body: Bytes) -> Self {
        let mut headers = Values::new();
        for (name, value) in &parts.headers {
            // Of the connection, which is API Gateway's own.
            if name == CONNECTION {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.as_str().to_owned()).or_default().push(value);
        }
        let (body, is_base64_encoded) = match String::from_utf8(body.into()) {
            Ok(text) => (text, false),
            Err(bytes) => (STANDARD.encode(bytes.into_bytes()), true),
        };
        Self {
            status_code: parts.status.as_u16(),
            multi_value_headers: headers,
            body,
            is_base64_encoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    fn request(event: Value) -> Request<Body> {
        serde_json::from_value::<RestEvent>(event).unwrap().into_request().unwrap()
    }

    fn event(path: &str) -> Value {
        json!({
            "httpMethod": "POST", "path": path, "body": "{}",
            "requestContext": {"identity": {"sourceIp": "192.0.2.7"}},
        })
    }

    #[test]
    fn queries_are_spelt_anew_and_headers_keep_all_their_values() {
        let mut event = event("/users");
        event["multiValueQueryStringParameters"] = json!({"q": ["a&b=ü 1"]});
        event["multiValueHeaders"] =
            json!({"X-A": ["1", "2"], "bad name": ["x"], "Accept-Encoding": ["gzip"]});
        let request = request(event);
        assert_eq!(request.uri(), "/users?q=a%26b%3D%C3%BC+1");
        let values: Vec<_> = request.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(request.headers().len(), 2);
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap();
        assert_eq!(from.0.ip().to_string(), "192.0.2.7");
    }

    #[test]
    fn every_path_is_an_address() {
        for (path, uri) in [
            ("/posts/%41", "/posts/%41"),
            ("/posts/a b", "/posts/a%20b"),
            ("/ü?#[]", "/%C3%BC%3F%23%5B%5D"),
            ("", "/"),
            ("posts", "/posts"),
            ("//evil.example/x", "//evil.example/x"),
        ] {
            assert_eq!(request(event(path)).uri(), uri, "{path}");
        }
    }

    #[tokio::test]
    async fn bodies_come_and_go_as_text_or_base_64() {
        let mut event = event("/posts");
        event["body"] = json!("/wA=");
        event["isBase64Encoded"] = json!(true);
        let body = request(event).into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], [0xff, 0]);
        let (parts, ()) = http::Response::builder()
            .status(201)
            .header("x-a", "1")
            .header("x-a", "2")
            .header("connection", "close")
            .body(())
            .unwrap()
            .into_parts();
        let answer = serde_json::to_value(RestAnswer::new(&parts, body)).unwrap();
        let expected = json!({
            "statusCode": 201,
            "multiValueHeaders": {"x-a": ["1", "2"]},
            "body": "/wA=",
            "isBase64Encoded": true,
        });
        assert_eq!(answer, expected);
        let answer = RestAnswer::new(&parts, Bytes::from_static(b"{}"));
        assert!(answer.body == "{}" && !answer.is_base64_encoded);
    }
}
