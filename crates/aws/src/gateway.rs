//! Sockets on API Gateway's `@connections`.
//!
//! A frame is one `PostToConnection` for each open connection of those it goes to; which they are,
//! the registry in Redis knows. What can happen to one of them does not hold up the others:
//!
//! - 410 Gone: the socket has ended; it is forgotten.
//! - Throttled, or the socket's buffer is full (429): the SDK tries again, with back-off.
//! - Whatever still fails then: the socket is closed, so that its client comes back and resumes by
//!   cursor instead of missing a frame. Only where that fails too is the sending a failure, and the
//!   event comes again.
//!
//! Differences from sockets of our own, which API Gateway does not let us choose: it has no close
//! codes for us (`DeleteConnection` takes none), so [`Sockets::close`] sends the reason ahead as an
//! `error` frame; it sends no protocol pings; it ends a socket after 2 h, or 10 min of silence.
//!
//! While Redis is away nobody knows who is connected, and a socket that stays open must not miss a
//! frame in silence: the sending fails, and the event comes again once its visibility time is over.
//! Timelines go on from the table meanwhile. Who comes back to a registry that has lost its entries
//! is told to resync ([`SocketRegistry::enter`]). The counter `frames_unsent_total` tells.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::Builder;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kernel::problem::told;
use kernel::sockets::{CloseCode, Sockets};
use kernel::{Problem, UserId};

use crate::redis::SocketRegistry;

/// How many connections are written to at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GatewayLimits {
    /// Requests under way, for one frame.
    pub requests_max: usize,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self { requests_max: 64 }
    }
}

/// `@connections` did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{asked}: {cause}")]
struct Refused {
    asked: &'static str,
    cause: String,
}

/// What is done with a connection.
enum Act {
    /// It gets a frame.
    Deliver(Blob),
    /// It gets a last frame that says why, and ends.
    Close(Blob),
}

/// [`Sockets`] of an API Gateway WebSocket API.
pub struct GatewaySockets {
    client: Client,
    registry: SocketRegistry,
    limits: GatewayLimits,
}

impl GatewaySockets {
    /// The sockets of the API whose `@connections` are under `endpoint`, such as
    /// `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub fn new(
        config: &SdkConfig,
        endpoint: &str,
        registry: SocketRegistry,
        limits: GatewayLimits,
    ) -> Arc<Self> {
        let config = Builder::from(config).endpoint_url(endpoint).build();
        Arc::new(Self { client: Client::from_conf(config), registry, limits })
    }

    /// Does the same with all connections at once, within the limit. A failure is answered when
    /// all are done.
    async fn on_each(&self, connections: Vec<(UserId, String)>, what: &Act) -> Result<(), Problem> {
        let work = connections.into_iter().map(|(user, connection)| async move {
            match what {
                Act::Deliver(frame) => self.deliver(user, &connection, frame.clone()).await,
                Act::Close(reason) => {
                    let post = self.client.post_to_connection().connection_id(&connection);
                    // Best effort: it is the closing that counts.
                    let _ = post.data(reason.clone()).send().await;
                    self.end(user, &connection).await
                }
            }
        });
        let at_once = self.limits.requests_max;
        let done: Vec<_> = stream::iter(work).buffer_unordered(at_once).collect().await;
        match done.into_iter().find_map(Result::err) {
            Some(refused) => Err(Problem::unavailable(refused)),
            None => Ok(()),
        }
    }

    /// Sends frames to one of the user's connections, in their order.
    pub async fn tell(
        &self,
        user: UserId,
        connection: &str,
        frames: Vec<Bytes>,
    ) -> Result<(), Problem> {
        for frame in frames {
            let sent = self.deliver(user, connection, Blob::new(frame)).await;
            sent.map_err(Problem::unavailable)?;
        }
        Ok(())
    }

    /// Closes one of the user's connections.
    pub async fn close_one(
        &self,
        user: UserId,
        connection: &str,
        code: CloseCode,
    ) -> Result<(), Problem> {
        self.on_each(vec![(user, connection.to_owned())], &Act::Close(last_frame(code))).await
    }

    async fn deliver(&self, user: UserId, connection: &str, frame: Blob) -> Result<(), Refused> {
        let post = self.client.post_to_connection().connection_id(connection).data(frame);
        let Err(error) = post.send().await else { return Ok(()) };
        if error.as_service_error().is_some_and(|error| error.is_gone_exception()) {
            self.forget(user, connection).await;
            return Ok(());
        }
        metrics::counter!("frames_refused_total").increment(1);
        let refused = refused("PostToConnection", &error);
        // It is told nothing more than that it has ended; resuming brings what it missed.
        self.end(user, connection).await.map_err(|_| refused)
    }

    async fn end(&self, user: UserId, connection: &str) -> Result<(), Refused> {
        let delete = self.client.delete_connection().connection_id(connection);
        if let Err(error) = delete.send().await
            && !error.as_service_error().is_some_and(|error| error.is_gone_exception())
        {
            return Err(refused("DeleteConnection", &error));
        }
        self.forget(user, connection).await;
        Ok(())
    }

    /// An entry that cannot be taken out now is taken out at the next 410, or expires.
    async fn forget(&self, user: UserId, connection: &str) {
        if let Err(problem) = self.registry.forget(user, connection).await {
            tracing::debug!(%problem, "a connection that has ended stays entered");
        }
    }
}

/// What says why a connection ends, since the gateway has no close codes for us.
fn last_frame(code: CloseCode) -> Blob {
    let frame = serde_json::json!({
        "type": "error",
        "code": code.number().to_string(),
        "detail": code.reason(),
    });
    Blob::new(frame.to_string())
}

fn refused(asked: &'static str, error: &dyn std::error::Error) -> Refused {
    Refused { asked, cause: told(error) }
}

#[async_trait]
impl Sockets for GatewaySockets {
    async fn send(&self, users: &[UserId], frame: Bytes) -> Result<(), Problem> {
        let connections = self.registry.connections(users).await.inspect_err(|_| {
            metrics::counter!("frames_unsent_total").increment(1);
        })?;
        self.on_each(connections, &Act::Deliver(Blob::new(frame))).await
    }

    /// The registry would have to be asked, as sending does.
    fn may_reach(&self, _: &[UserId]) -> bool {
        true
    }

    async fn close(&self, user: UserId, code: CloseCode) -> Result<(), Problem> {
        let connections = self.registry.connections(&[user]).await?;
        self.on_each(connections, &Act::Close(last_frame(code))).await
    }
}
