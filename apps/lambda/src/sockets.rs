//! Sockets that API Gateway keeps: their beginning and their end. In between, what is said on them
//! is [`crate::timeline::messages`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::redis::SocketRegistry;
use http::StatusCode;
use kernel::sockets::count_ends;
use kernel::{Clock, Principal, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::function::{Failure, Function, read, written};
use crate::settings::Refused;
use crate::world::World;

/// What a WebSocket API hands a function.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketEvent {
    request_context: SocketContext,
}

/// What API Gateway knows of a socket.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SocketContext {
    pub(crate) connection_id: String,
    /// What the authorizer said at `$connect`.
    #[serde(default)]
    authorizer: HashMap<String, Value>,
    /// When it was opened.
    #[serde(default)]
    connected_at: Option<i64>,
    /// At `$disconnect`, with what close code it ended.
    #[serde(default)]
    disconnect_status_code: Option<u16>,
}

impl SocketContext {
    /// Whose socket it is.
    pub(crate) fn principal(&self) -> Result<Principal, Failure> {
        let text = |name: &str| {
            let found = self.authorizer.get(name).and_then(Value::as_str);
            found.ok_or_else(|| Failure::unreadable(format!("no {name} from the authorizer")))
        };
        let millis = text("expiresAt")?.parse().map_err(Failure::unreadable)?;
        Ok(Principal {
            user_id: text("userId")?.parse().map_err(|_| Failure::unreadable("no user's id"))?,
            session: text("session")?.to_owned(),
            expires_at: Time::from_millis(millis),
        })
    }
}

/// API Gateway ends a socket after 2 h, as it says.
const LIFE: Duration = Duration::from_mins(119);
/// Normal closure, going away, and no code at all: what clients close with.
const CLOSED_BY_CLIENT: [u16; 3] = [1000, 1001, 1005];

impl SocketContext {
    /// Whether a socket has ended as sockets do: its client closed it, or its time was over.
    fn has_ended_as_expected(&self, now: Time) -> bool {
        let opened = self.connected_at.map(Time::from_millis);
        opened.is_some_and(|opened| now.since(opened) >= LIFE)
            || self.disconnect_status_code.is_some_and(|code| CLOSED_BY_CLIENT.contains(&code))
    }
}

/// What is said to API Gateway; whatever there is to say to the client goes over the socket.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SocketAnswer {
    status_code: u16,
}

impl From<StatusCode> for SocketAnswer {
    fn from(status: StatusCode) -> Self {
        Self { status_code: status.as_u16() }
    }
}

fn registry(world: &World) -> Result<SocketRegistry, Refused> {
    Ok(world.registry(&world.redis()?))
}

struct Connect(SocketRegistry);

/// Enters a socket that opens. What is not 200 refuses it: 429 where the user has too many.
pub fn connect(world: &World) -> Result<Arc<dyn Function>, Refused> {
    Ok(Arc::new(Connect(registry(world)?)))
}

#[async_trait]
impl Function for Connect {
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let SocketEvent { request_context: context } = read(event)?;
        let user = context.principal()?.user_id;
        let status = match self.0.enter(user, &context.connection_id).await {
            Ok(_) => StatusCode::OK,
            Err(problem) => {
                tracing::info!(%problem, "a socket is refused");
                StatusCode::from_u16(problem.code.status())
                    .unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
        };
        written(&SocketAnswer::from(status))
    }
}

struct Disconnect {
    registry: SocketRegistry,
    clock: Arc<dyn Clock>,
}

/// Takes out a socket that has ended.
pub fn disconnect(world: &World) -> Result<Arc<dyn Function>, Refused> {
    Ok(Arc::new(Disconnect { registry: registry(world)?, clock: Arc::clone(&world.clock) }))
}

#[async_trait]
impl Function for Disconnect {
    /// Nobody waits for this: an entry that stays goes at the next frame, or expires.
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let SocketEvent { request_context: context } = read(event)?;
        count_ends(context.has_ended_as_expected(self.clock.now()), 1);
        if let Err(problem) = self.registry.leave(&context.connection_id).await {
            tracing::warn!(%problem, "a socket that has ended stays entered");
        }
        written(&SocketAnswer::from(StatusCode::OK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(minutes: u64, code: Option<u16>) -> bool {
        let context = SocketContext {
            connection_id: String::new(),
            authorizer: HashMap::new(),
            connected_at: Some(0),
            disconnect_status_code: code,
        };
        context.has_ended_as_expected(Time::from_millis(0) + Duration::from_mins(minutes))
    }

    #[test]
    fn only_sockets_that_end_before_their_time_and_without_their_client_are_lost() {
        assert!(ended(5, Some(1000)) && ended(5, Some(1001)) && ended(5, Some(1005)));
        assert!(!ended(5, Some(1006)) && !ended(5, Some(1011)) && !ended(118, None));
        assert!(ended(120, Some(1006)) && ended(120, None), "its two hours were over");
    }
}
