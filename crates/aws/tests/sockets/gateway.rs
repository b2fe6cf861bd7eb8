//! Frames to people whose sockets are API Gateway's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws::gateway::{GatewayLimits, GatewaySockets};
use aws::redis::SocketRegistry;
use aws::redis::sockets::RegistryLimits;
use bytes::Bytes;
use conformance::sockets::{Door, End};
use kernel::sockets::{CloseCode, Sockets};
use kernel::{Code, Problem, UserId};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::bed;
use crate::endpoint::{Endpoint, Fault};
use crate::servers::{Server, open, settings};

const USER: UserId = UserId(ulid::Ulid(1));
const OTHER: UserId = UserId(ulid::Ulid(2));

/// The gateway's side of the system, with the handlers of `$connect` and `$disconnect`.
#[derive(Clone)]
struct Gateway {
    endpoint: Arc<Endpoint>,
    registry: SocketRegistry,
    sockets: Arc<GatewaySockets>,
    given: Arc<AtomicUsize>,
}

impl Gateway {
    async fn over(server: &Server) -> Self {
        let (endpoint, address) = Endpoint::start().await;
        let redis = open(&settings(vec![server.url()], false));
        let registry = SocketRegistry::new(redis, RegistryLimits::default());
        let limits = GatewayLimits { requests_max: 8 };
        // The bed's patience is not what is tested here.
        let sdk = bed::sdk().into_builder().timeout_config(aws::config::timeouts()).build();
        let sockets = GatewaySockets::new(&sdk, &address, registry.clone(), limits);
        Self { endpoint, registry, sockets, given: Arc::default() }
    }

    async fn connect(&self, user: UserId) -> Result<Far, Problem> {
        // As the real ones: base64 with its padding, which a path must escape.
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        let id = format!("L0SM9c{number}/FvHcCIhw=");
        self.registry.enter(user, &id).await?;
        let frames = self.endpoint.connect(&id);
        Ok(Far { id, frames, gateway: self.clone() })
    }

    async fn entered(&self, user: UserId) -> usize {
        self.registry.connections(&[user]).await.unwrap().len()
    }
}

/// A client of the gateway.
struct Far {
    id: String,
    frames: UnboundedReceiver<Bytes>,
    gateway: Gateway,
}

#[async_trait]
impl End for Far {
    async fn receive(&mut self) -> Result<Bytes, Option<CloseCode>> {
        self.frames.recv().await.ok_or(None)
    }

    async fn leave(self: Box<Self>) {
        self.gateway.endpoint.disconnect(&self.id);
        self.gateway.registry.leave(&self.id).await.unwrap();
    }
}

#[async_trait]
impl Door for Gateway {
    async fn open(&self, user: UserId) -> Result<Box<dyn End>, Problem> {
        Ok(Box::new(self.connect(user).await?))
    }
}

fn frame(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn they_are_sockets() {
    let server = Server::start();
    conformance::sockets::remote_suite(async || {
        let gateway = Gateway::over(&server).await;
        (Arc::clone(&gateway.sockets) as _, Arc::new(gateway) as _)
    })
    .await;
}

#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let server = Server::start();
    let gateway = Gateway::over(&server).await;
    let gone = gateway.connect(USER).await.unwrap();
    let mut open = gateway.connect(USER).await.unwrap();
    // It broke off, and nobody told.
    gateway.endpoint.disconnect(&gone.id);
    gateway.sockets.send(&[USER], frame("a")).await.unwrap();
    assert_eq!(open.receive().await.unwrap(), "a");
    assert_eq!(gateway.entered(USER).await, 1);
    assert_eq!(gateway.registry.user_of(&gone.id).await.unwrap(), None);
    let posts = gateway.endpoint.posts.load(Ordering::SeqCst);
    gateway.sockets.send(&[USER], frame("b")).await.unwrap();
    assert_eq!(gateway.endpoint.posts.load(Ordering::SeqCst), posts + 1);
}

#[tokio::test]
async fn throttling_is_tried_again() {
    let server = Server::start();
    let gateway = Gateway::over(&server).await;
    let mut open = gateway.connect(USER).await.unwrap();
    gateway.endpoint.inject(&open.id, Fault::Throttled(2));
    gateway.sockets.send(&[USER], frame("a")).await.unwrap();
    assert_eq!(open.receive().await.unwrap(), "a");
    assert_eq!(gateway.endpoint.posts.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_socket_that_cannot_be_written_is_closed_and_holds_nobody_up() {
    let server = Server::start();
    for fault in [Fault::Throttled(100), Fault::Broken, Fault::Stuck] {
        let gateway = Gateway::over(&server).await;
        let mut bad = gateway.connect(USER).await.unwrap();
        let mut good = gateway.connect(OTHER).await.unwrap();
        gateway.endpoint.inject(&bad.id, fault);
        gateway.sockets.send(&[USER, OTHER], frame("a")).await.expect("its client resumes");
        assert_eq!(good.receive().await.unwrap(), "a", "{fault:?}");
        assert_eq!(bad.receive().await.unwrap_err(), None, "closed without the frame: {fault:?}");
        assert_eq!((gateway.entered(USER).await, gateway.entered(OTHER).await), (0, 1));
    }
}

#[tokio::test]
async fn what_can_neither_be_written_nor_closed_is_a_failure() {
    let server = Server::start();
    let gateway = Gateway::over(&server).await;
    let bad = gateway.connect(USER).await.unwrap();
    let mut good = gateway.connect(OTHER).await.unwrap();
    gateway.endpoint.inject(&bad.id, Fault::Denied);
    let failed = gateway.sockets.send(&[USER, OTHER], frame("a")).await.unwrap_err();
    assert_eq!(failed.code, Code::Unavailable);
    let cause = failed.cause.unwrap().to_string();
    assert!(cause.contains("ExpiredToken"), "{cause}");
    assert_eq!(good.receive().await.unwrap(), "a");
    assert_eq!(gateway.entered(USER).await, 1, "it may well be open");
}

#[tokio::test]
async fn the_reason_goes_ahead_of_the_closing() {
    let server = Server::start();
    let gateway = Gateway::over(&server).await;
    let mut open = gateway.connect(USER).await.unwrap();
    gateway.sockets.close(USER, CloseCode::TokenExpired).await.unwrap();
    let reason: serde_json::Value = serde_json::from_slice(&open.receive().await.unwrap()).unwrap();
    let told = serde_json::json!({"type": "error", "code": "4401", "detail": "token expired"});
    assert_eq!(reason, told);
    assert_eq!(open.receive().await.unwrap_err(), None);
    assert_eq!(gateway.entered(USER).await, 0);
    gateway.sockets.close(USER, CloseCode::TokenExpired).await.expect("repeatable");
}

#[tokio::test]
async fn many_are_written_at_once_but_not_too_many() {
    let server = Server::start();
    let gateway = Gateway::over(&server).await;
    let mut open = Vec::new();
    let users: Vec<UserId> = (0..300_u128).map(|number| UserId(number.into())).collect();
    for user in users.iter().step_by(3) {
        open.push(gateway.connect(*user).await.unwrap());
    }
    gateway.sockets.send(&users, frame("a")).await.unwrap();
    for far in &mut open {
        assert_eq!(far.receive().await.unwrap(), "a");
    }
    let most = gateway.endpoint.at_once_max.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_frame_that_nobody_knows_whom_to_send_is_a_failure_so_that_its_event_comes_again() {
    let mut server = Server::start();
    let gateway = Gateway::over(&server).await;
    let mut open = gateway.connect(USER).await.unwrap();
    server.kill();
    let unsent = gateway.sockets.send(&[USER], frame("a")).await.unwrap_err();
    assert_eq!(unsent.code, Code::Unavailable);
    assert_eq!(gateway.endpoint.posts.load(Ordering::SeqCst), 0);
    server.restart();
    let entered = async {
        // The client's next ping enters it again.
        while gateway.registry.enter(USER, &open.id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), entered).await.unwrap();
    gateway.sockets.send(&[USER], frame("a")).await.unwrap();
    assert_eq!(open.receive().await.unwrap(), "a");
}
