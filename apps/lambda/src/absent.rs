//! Seams that a function has no use for. A service is made whole everywhere; a function serves only
//! one side of it, and what the other side would need is refused, should anything ask for it.

use async_trait::async_trait;
use bytes::Bytes;
use kernel::bus::{Bus, BusError, Message};
use kernel::peers::Peers;
use kernel::sockets::{CloseCode, Connections, Mailbox, Sockets};
use kernel::{Code, Event, Problem, UserId};

/// What is not in this function.
pub(crate) struct Absent;

const WHY: &str = "this function has no part in that";

fn refused<T>() -> Result<T, Problem> {
    Err(Problem::internal(std::io::Error::other(WHY)))
}

#[async_trait]
impl Bus for Absent {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        Err(BusError { refused: (0..events.len()).collect(), reason: WHY.to_owned() })
    }

    async fn enqueue(&self, _queue: &str, messages: &[Message]) -> Result<(), BusError> {
        Err(BusError { refused: (0..messages.len()).collect(), reason: WHY.to_owned() })
    }
}

#[async_trait]
impl Sockets for Absent {
    async fn send(&self, _users: &[UserId], _frame: Bytes) -> Result<(), Problem> {
        refused()
    }

    fn may_reach(&self, _users: &[UserId]) -> bool {
        true
    }

    async fn close(&self, _user: UserId, _code: CloseCode) -> Result<(), Problem> {
        refused()
    }
}

impl Connections for Absent {
    /// Sockets are opened at the WebSocket API.
    fn attach(&self, _user: UserId) -> Result<Mailbox, Problem> {
        Err(Problem::new(Code::NotFound, "Sockets are not opened here."))
    }
}

/// Every read is elsewhere.
impl Peers for Absent {}
