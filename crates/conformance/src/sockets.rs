//! What every way of reaching people's sockets must do.
//!
//! The cases see a connection from its far end. In a process that is a mailbox ([`suite`]); where a
//! gateway holds the sockets, it is whatever the gateway's peer gets ([`remote_suite`]).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kernel::sockets::{CloseCode, Connections, Mailbox, MailboxLimits, Sockets};
use kernel::{Code, Problem, UserId};

/// The far end of a connection.
#[async_trait]
pub trait End: Send {
    /// The next frame, or that it was closed: with the code, where the backend can choose one.
    async fn receive(&mut self) -> Result<Bytes, Option<CloseCode>>;

    /// Hangs up, and waits until the backend has seen it.
    async fn leave(self: Box<Self>);
}

/// Where connections are opened.
#[async_trait]
pub trait Door: Send + Sync {
    /// Opens a connection of `user`.
    async fn open(&self, user: UserId) -> Result<Box<dyn End>, Problem>;
}

#[async_trait]
impl End for Mailbox {
    async fn receive(&mut self) -> Result<Bytes, Option<CloseCode>> {
        Mailbox::receive(self).await.map(|frame| frame.text).map_err(Some)
    }

    async fn leave(self: Box<Self>) {}
}

struct InProcess(Arc<dyn Connections>);

#[async_trait]
impl Door for InProcess {
    async fn open(&self, user: UserId) -> Result<Box<dyn End>, Problem> {
        Ok(Box::new(self.0.attach(user)?))
    }
}

type Made = (Arc<dyn Sockets>, Arc<dyn Door>);

const USER: UserId = UserId(ulid::Ulid(1));
const OTHER: UserId = UserId(ulid::Ulid(2));

/// Runs every case on registries that `make` makes with the limits of a mailbox.
pub async fn suite<S: Sockets + 'static, C: Connections + 'static>(
    make: impl Fn(MailboxLimits) -> (Arc<S>, Arc<C>),
) {
    remote_suite(async || {
        let (sockets, connections) = make(MailboxLimits::default());
        (sockets as _, Arc::new(InProcess(connections)) as _)
    })
    .await;
    closing_goes_ahead_of_waiting_frames(make(MailboxLimits::default())).await;
    a_slow_reader_does_not_hold_others_up(make(MailboxLimits { frames_max: 2, bytes_max: 1024 }))
        .await;
}

/// Runs the cases that hold wherever the sockets are, each on a system that `make` makes.
pub async fn remote_suite(make: impl AsyncFn() -> Made) {
    frames_reach_every_connection_of_those_named(make().await).await;
    who_has_left_is_forgotten(make().await).await;
    the_twenty_first_is_refused(make().await).await;
    closing_reaches_one_person(make().await).await;
}

fn frame(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn open(door: &Arc<dyn Door>, user: UserId) -> Box<dyn End> {
    door.open(user).await.expect("a place")
}

async fn frames_reach_every_connection_of_those_named((sockets, door): Made) {
    sockets.send(&[USER], frame("nobody is there")).await.expect("passed over");
    let mut one = open(&door, USER).await;
    assert!(sockets.may_reach(&[OTHER, USER]), "one of them is there");
    let mut two = open(&door, USER).await;
    let mut other = open(&door, OTHER).await;
    sockets.send(&[USER, UserId(ulid::Ulid(9))], frame("a")).await.expect("sent");
    sockets.send(&[OTHER, USER], frame("b")).await.expect("sent");
    assert_eq!(one.receive().await.expect("open"), "a");
    assert_eq!(one.receive().await.expect("open"), "b");
    assert_eq!(two.receive().await.expect("open"), "a");
    assert_eq!(two.receive().await.expect("open"), "b");
    assert_eq!(other.receive().await.expect("open"), "b");
}

async fn who_has_left_is_forgotten((sockets, door): Made) {
    let gone = open(&door, USER).await;
    let mut kept = open(&door, USER).await;
    gone.leave().await;
    sockets.send(&[USER], frame("a")).await.expect("sent");
    assert_eq!(kept.receive().await.expect("open"), "a");
    kept.leave().await;
    sockets.send(&[USER], frame("b")).await.expect("passed over");
}

async fn the_twenty_first_is_refused((_, door): Made) {
    let mut places = Vec::new();
    for _ in 0..20 {
        places.push(open(&door, USER).await);
    }
    let refused = door.open(USER).await.err().expect("21 do not fit");
    assert_eq!(refused.code, Code::TooManySockets);
    assert!(door.open(OTHER).await.is_ok(), "others are not touched");
    places.pop().expect("there are 20").leave().await;
    assert!(door.open(USER).await.is_ok(), "a place is free again");
}

async fn closing_reaches_one_person((sockets, door): Made) {
    let mut one = open(&door, USER).await;
    let mut other = open(&door, OTHER).await;
    sockets.close(USER, CloseCode::TokenExpired).await.expect("told");
    let code = loop {
        if let Err(code) = one.receive().await {
            break code;
        }
    };
    assert!(code.is_none_or(|code| code == CloseCode::TokenExpired), "{code:?}");
    sockets.send(&[USER, OTHER], frame("a")).await.expect("sent");
    assert_eq!(other.receive().await.expect("open"), "a");
}

async fn closing_goes_ahead_of_waiting_frames<S: Sockets, C: Connections>(
    (sockets, connections): (Arc<S>, Arc<C>),
) {
    let mut one = connections.attach(USER).expect("a place");
    sockets.send(&[USER], frame("waits")).await.expect("sent");
    sockets.close(USER, CloseCode::TokenExpired).await.expect("told");
    assert_eq!(one.receive().await.expect_err("closed"), CloseCode::TokenExpired);
}

async fn a_slow_reader_does_not_hold_others_up<S: Sockets, C: Connections>(
    (sockets, connections): (Arc<S>, Arc<C>),
) {
    let mut slow = connections.attach(USER).expect("a place");
    let mut quick = connections.attach(OTHER).expect("a place");
    for _ in 0..3 {
        sockets.send(&[USER, OTHER], frame("a")).await.expect("sent");
        assert_eq!(quick.receive().await.expect("open").text, "a");
    }
    assert_eq!(slow.receive().await.expect_err("closed"), CloseCode::TooSlow);
}
