//! What every registry of sockets in a process must do.

use std::sync::Arc;

use bytes::Bytes;
use kernel::sockets::{CloseCode, Connections, MailboxLimits, Sockets};
use kernel::{Code, UserId};

type Made = (Arc<dyn Sockets>, Arc<dyn Connections>);

const USER: UserId = UserId(ulid::Ulid(1));
const OTHER: UserId = UserId(ulid::Ulid(2));

/// Runs every case on registries that `make` makes with the limits of a mailbox.
pub async fn suite<S: Sockets + 'static, C: Connections + 'static>(
    make: impl Fn(MailboxLimits) -> (Arc<S>, Arc<C>),
) {
    let made = || -> Made {
        let (sockets, connections) = make(MailboxLimits::default());
        (sockets, connections)
    };
    frames_reach_every_connection_of_those_named(made()).await;
    a_dropped_mailbox_is_forgotten(made()).await;
    the_twenty_first_is_refused(made()).await;
    closing_reaches_one_person(made()).await;
    let (sockets, connections) = make(MailboxLimits { frames_max: 2, bytes_max: 1024 });
    a_slow_reader_does_not_hold_others_up((sockets, connections)).await;
}

fn frame(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn frames_reach_every_connection_of_those_named((sockets, connections): Made) {
    sockets.send(&[USER], frame("nobody is there")).await.expect("passed over");
    let mut one = connections.attach(USER).expect("a place");
    let mut two = connections.attach(USER).expect("a place");
    let mut other = connections.attach(OTHER).expect("a place");
    sockets.send(&[USER, UserId(ulid::Ulid(9))], frame("a")).await.expect("sent");
    sockets.send(&[OTHER, USER], frame("b")).await.expect("sent");
    assert_eq!(one.receive().await.expect("open"), "a");
    assert_eq!(one.receive().await.expect("open"), "b");
    assert_eq!(two.receive().await.expect("open"), "a");
    assert_eq!(two.receive().await.expect("open"), "b");
    assert_eq!(other.receive().await.expect("open"), "b");
}

async fn a_dropped_mailbox_is_forgotten((sockets, connections): Made) {
    let gone = connections.attach(USER).expect("a place");
    let mut kept = connections.attach(USER).expect("a place");
    drop(gone);
    sockets.send(&[USER], frame("a")).await.expect("sent");
    assert_eq!(kept.receive().await.expect("open"), "a");
    drop(kept);
    sockets.send(&[USER], frame("b")).await.expect("passed over");
}

async fn the_twenty_first_is_refused((_, connections): Made) {
    let mut open: Vec<_> = (0..20).map(|_| connections.attach(USER).expect("20 fit")).collect();
    let refused = connections.attach(USER).err().expect("21 do not");
    assert_eq!(refused.code, Code::TooManySockets);
    assert!(connections.attach(OTHER).is_ok(), "others are not touched");
    open.pop();
    assert!(connections.attach(USER).is_ok(), "a place is free again");
}

async fn closing_reaches_one_person((sockets, connections): Made) {
    let mut one = connections.attach(USER).expect("a place");
    let mut other = connections.attach(OTHER).expect("a place");
    sockets.send(&[USER], frame("waits")).await.expect("sent");
    sockets.close(USER, CloseCode::TokenExpired).await.expect("told");
    assert_eq!(one.receive().await.expect_err("closed"), CloseCode::TokenExpired);
    sockets.send(&[OTHER], frame("a")).await.expect("sent");
    assert_eq!(other.receive().await.expect("open"), "a");
}

async fn a_slow_reader_does_not_hold_others_up((sockets, connections): Made) {
    let mut slow = connections.attach(USER).expect("a place");
    let mut quick = connections.attach(OTHER).expect("a place");
    for _ in 0..3 {
        sockets.send(&[USER, OTHER], frame("a")).await.expect("sent");
        assert_eq!(quick.receive().await.expect("open"), "a");
    }
    assert_eq!(slow.receive().await.expect_err("closed"), CloseCode::TooSlow);
}
