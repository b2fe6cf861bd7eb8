//! Lambda's Invoke from function to function, synchronous: the event is an [`Invocation`], the
//! answer a [`Reply`]. IAM lets in whose role may invoke the alias, and nobody else.
//!
//! Lambda answers 200 whenever the function ran. That it broke or ran out of time is told by a
//! header; an answer with another status is Lambda's own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use kernel::internal::{INVOCATION_VERSION, Invocation, Reply, Service};
use kernel::{Clock, request};
use serde::Deserialize;

use super::{Asked, Failure, PeersLimits, SigV4, Way};
use crate::http::LazyClient;

/// Says that a function failed, and how it was noticed.
const FUNCTION_ERROR: &str = "x-amz-function-error";
/// The name of Lambda's own refusal.
const ERROR_TYPE: &str = "x-amzn-errortype";
/// The trace of the event that a function is busy with, as Lambda tells every SDK.
const TRACE_VARIABLE: &str = "_X_AMZN_TRACE_ID";

/// Where the functions are that read for others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Functions {
    /// Lambda's address.
    pub url: String,
    /// The environment, which is in every name.
    pub env: String,
}

impl Functions {
    /// Those of an environment on AWS, over IPv4 or IPv6.
    pub fn of(env: &str, region: &str) -> Self {
        Self { url: format!("https://lambda.{region}.api.aws"), env: env.to_owned() }
    }

    /// The operation on the alias that serves. Names are known before the functions are there, so
    /// no stack waits for another's.
    fn invocations(&self, service: Service) -> String {
        let Self { url, env } = self;
        let function = match service {
            Service::User => "users",
            Service::Post => "posts",
            Service::Social => "social",
        };
        let url = url.trim_end_matches('/');
        format!("{url}/2015-03-31/functions/mini-sns-{env}-{function}%3Alive/invocations")
    }
}

pub(super) struct Invoke {
    client: LazyClient,
    functions: Functions,
    signature: SigV4,
    clock: Arc<dyn Clock>,
}

impl Invoke {
    pub(super) const fn new(
        functions: Functions,
        signature: SigV4,
        limits: &PeersLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let client = LazyClient::new(limits.connect_timeout, limits.answer_max_bytes);
        Self { client, functions, signature, clock }
    }
}

#[async_trait]
impl Way for Invoke {
    async fn send(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Failure> {
        let event = Invocation {
            internal: INVOCATION_VERSION,
            path: asked.path.to_owned(),
            body: asked.body.to_owned(),
            traceparent: request::trace().map(|trace| trace.to_string()),
            deadline: (self.clock.now() + asked.budget).millis(),
        };
        let event = serde_json::to_vec(&event).map_err(|error| Failure::Garbage(error.to_string()));
        let mut request = Request::post(self.functions.invocations(asked.service))
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(event?))
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        self.signature.sign(&mut request).await.map_err(Failure::NoProof)?;
        // As the SDKs do, and as they do not sign: else each invocation begins a trace of its own.
        if let Ok(trace) = std::env::var(TRACE_VARIABLE)
            && let Ok(value) = HeaderValue::from_str(&trace)
        {
            request.headers_mut().insert("x-amzn-trace-id", value);
        }
        let answer = self.client.send(request).await?;
        let (head, body) = answer.into_parts();
        reply(head.status, &head.headers, &body)
    }

    fn renew(&self) -> bool {
        self.signature.renew()
    }
}

/// What the runtime says of a function that failed.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Broken {
    error_type: String,
    error_message: String,
}

/// The function's answer in Lambda's.
fn reply(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Response<Bytes>, Failure> {
    match status.as_u16() {
        200 => {}
        401 | 403 => return Err(Failure::Denied(status)),
        429 => return Err(Failure::Throttled),
        _ => {
            let kind = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok());
            return Err(Failure::Failed(status, kind.unwrap_or("it does not say why").to_owned()));
        }
    }
    if headers.contains_key(FUNCTION_ERROR) {
        let Broken { error_type, error_message } = serde_json::from_slice(body).unwrap_or_default();
        return Err(Failure::Broken(error_type, error_message));
    }
    let garbage = |error: &dyn std::error::Error| Failure::Garbage(error.to_string());
    let reply: Reply = serde_json::from_slice(body).map_err(|error| garbage(&error))?;
    let body: Box<str> = reply.body.into();
    Response::builder()
        .status(reply.status)
        .body(Bytes::from(String::from(body)))
        .map_err(|error| garbage(&error))
}
