//! What people say on sockets that API Gateway keeps, and what they are told.
//!
//! Nothing can be sent to a socket before it is open, so its `hello` comes with the answer to the
//! first message. Each message is a sign of life: it is entered anew with its owner. A socket that
//! turns out not to be entered has missed frames, while Redis had lost it, and is told to resync.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::gateway::GatewaySockets;
use aws::redis::SocketRegistry;
use aws::redis::sockets::Entered;
use bytes::Bytes;
use http::StatusCode;
use kernel::identity::session::Sessions;
use kernel::sockets::CloseCode;
use kernel::{Clock, Code, Problem, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use timeline::Timeline;
use tokio::time::Instant;

use crate::function::{Failure, Function, read, written};
use crate::sockets::{SocketAnswer, SocketContext};

/// How often a client gives a sign of life: API Gateway ends a socket after 10 idle minutes.
const HEARTBEAT: Duration = Duration::from_mins(9);

/// A message on a socket.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    request_context: SocketContext,
    #[serde(default)]
    body: Option<String>,
}

/// Answers what is said.
pub(crate) struct Messages {
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) sockets: Arc<GatewaySockets>,
    pub(crate) registry: SocketRegistry,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Function for Messages {
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let Said { request_context: context, body } = read(event)?;
        let (principal, connection) = (context.principal()?, &context.connection_id);
        let user = principal.user_id;
        // Doubt is no reason to close.
        let ended = principal.expires_at <= self.clock.now()
            || matches!(self.sessions.is_open(user, &principal.session).await, Ok(false));
        if ended {
            self.sockets.close_one(user, connection, CloseCode::TokenExpired).await?;
            return written(&SocketAnswer::from(StatusCode::OK));
        }
        let mut frames = match self.greeting(user, connection).await {
            Ok(frames) => frames,
            // Its place was given to others while it was not entered.
            Err(problem) if problem.code == Code::TooManySockets => {
                self.sockets.close_one(user, connection, CloseCode::TooSlow).await?;
                return written(&SocketAnswer::from(StatusCode::OK));
            }
            Err(problem) => {
                tracing::debug!(%problem, "a sign of life is not entered");
                Vec::new()
            }
        };
        frames.extend(self.timeline.answer(user, &body.unwrap_or_default()).await);
        self.sockets.tell(user, connection, frames).await?;
        written(&SocketAnswer::from(StatusCode::OK))
    }
}

impl Messages {
    /// What goes before the answer, once the sign of life is entered.
    async fn greeting(&self, user: UserId, connection: &str) -> Result<Vec<Bytes>, Problem> {
        let entered = self.registry.enter(user, connection).await?;
        let is_first = self.registry.greet(connection).await?;
        let mut frames = Vec::new();
        if is_first || entered == Entered::New {
            frames.push(self.timeline.hello(connection, HEARTBEAT).await?);
        }
        if entered == Entered::New {
            frames.push(timeline::RESYNC);
        }
        Ok(frames)
    }
}
