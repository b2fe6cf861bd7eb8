//! Who may open a socket: asked by the WebSocket API at `$connect`, before anything else.
//!
//! Browsers cannot set a header there, so the token may come in the query. It is verified and never
//! logged or passed on: behind the authorizer only who it speaks for is known. A bad token is a 401
//! and a foreign page a 403, as on a server of our own.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use kernel::identity::Identity;
use kernel::{Code, Principal};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::function::{Failure, Function, read, written};
use crate::settings::Refused;
use crate::world::World;

/// What a Lambda authorizer of the kind `REQUEST` is asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    method_arn: String,
    headers: Option<HashMap<String, String>>,
    query_string_parameters: Option<HashMap<String, String>>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref()?.iter();
        let mut found = headers.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    fn token(&self) -> Option<&str> {
        let query = self.query_string_parameters.as_ref();
        let bearer = || {
            let (scheme, token) = self.header("authorization")?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        };
        query.and_then(|query| query.get("token")).map(String::as_str).or_else(bearer)
    }
}

struct Authorizer {
    identity: Arc<dyn Identity>,
    /// Web pages that may open a socket; programs send no origin.
    origins: Vec<String>,
}

/// The authorizer.
pub fn wire(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let identity = world.verifier(world.peers()?)?;
    Ok(Arc::new(Authorizer { identity, origins: world.origins() }))
}

#[async_trait]
impl Function for Authorizer {
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let asked: Asked = read(event)?;
        let token = asked.token().ok_or_else(unauthorized)?;
        let principal = match self.identity.verify(token).await {
            Ok(principal) => principal,
            Err(problem) if problem.code == Code::Unauthenticated => return Err(unauthorized()),
            Err(problem) => return Err(problem.into()),
        };
        let is_ours = |origin| self.origins.iter().any(|ours| ours.eq_ignore_ascii_case(origin));
        let effect = if asked.header("origin").is_none_or(is_ours) { "Allow" } else { "Deny" };
        written(&policy(&principal, effect, &asked.method_arn))
    }
}

/// API Gateway makes a 401 of this very message.
fn unauthorized() -> Failure {
    Failure { kind: Code::Unauthenticated.as_str(), message: "Unauthorized".to_owned() }
}

/// A policy for the one method, and what the socket's functions are to know.
fn policy(principal: &Principal, effect: &str, method_arn: &str) -> Value {
    json!({
        "principalId": principal.user_id.text(),
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{
                "Action": "execute-api:Invoke",
                "Effect": effect,
                "Resource": method_arn,
            }],
        },
        "context": {
            "userId": principal.user_id.text(),
            "session": principal.session,
            "expiresAt": principal.expires_at.millis().to_string(),
        },
    })
}
