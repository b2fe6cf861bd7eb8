//! The open connections of this process: a map from people to their mailboxes.
//!
//! A frame goes to hundreds of followers of whom few are connected, so looking somebody up is one
//! read lock on one of many shards, and nothing is allocated for who is not there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use kernel::sockets::{
    CloseCode, Connections, Frame, Mailbox, MailboxLimits, Sender, Sockets, count_ends, mailbox,
};
use kernel::{Code, Problem, UserId};

const SHARDS: usize = 64;

/// How many connections a person may have, and how much may wait for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HubLimits {
    /// Connections of one person.
    pub sockets_max: usize,
    /// What may wait for one connection.
    pub mailbox: MailboxLimits,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self { sockets_max: 20, mailbox: MailboxLimits::default() }
    }
}

struct Connection {
    number: u64,
    sender: Sender,
}

type Shard = RwLock<HashMap<UserId, Vec<Connection>>>;

struct Registry {
    shards: Vec<Shard>,
    open: AtomicUsize,
    given: AtomicU64,
}

impl Registry {
    fn shard(&self, user: UserId) -> &Shard {
        let bits = user.0.0 ^ (user.0.0 >> 32) ^ (user.0.0 >> 64);
        let index = usize::try_from(bits % SHARDS as u128).unwrap_or(0);
        &self.shards[index]
    }

    fn knows(&self, user: UserId) -> bool {
        let people = self.shard(user).read().unwrap_or_else(PoisonError::into_inner);
        people.contains_key(&user)
    }

    fn count(&self, open: usize) {
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        metrics::gauge!("websocket_connections").set(f64::from(open));
    }

    fn forget(&self, user: UserId, number: u64) {
        let mut people = self.shard(user).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = people.get_mut(&user) {
            connections.retain(|connection| connection.number != number);
            if connections.is_empty() {
                people.remove(&user);
            }
        }
        drop(people);
        self.count(self.open.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

/// [`Sockets`] and [`Connections`] in one process.
pub struct Hub {
    registry: Arc<Registry>,
    limits: HubLimits,
}

impl Hub {
    /// A hub without connections.
    pub fn new(limits: HubLimits) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let registry = Registry { shards, open: AtomicUsize::new(0), given: AtomicU64::new(0) };
        registry.count(0);
        // Known from the start, so that the first is an increase.
        count_ends(true, 0);
        count_ends(false, 0);
        Arc::new(Self { registry: Arc::new(registry), limits })
    }

    /// Open connections of everybody.
    pub fn open(&self) -> usize {
        self.registry.open.load(Ordering::Relaxed)
    }

    /// Tells every connection to close, as at shutdown.
    pub fn close_all(&self, code: CloseCode) {
        for shard in &self.registry.shards {
            let people = shard.read().unwrap_or_else(PoisonError::into_inner);
            for connection in people.values().flatten() {
                connection.sender.close(code);
            }
        }
    }
}

#[async_trait]
impl Sockets for Hub {
    async fn send(&self, users: &[UserId], frame: Bytes) -> Result<(), Problem> {
        if self.open() == 0 {
            return Ok(());
        }
        let frame = Frame::new(frame);
        for user in users {
            let people = self.registry.shard(*user).read().unwrap_or_else(PoisonError::into_inner);
            for connection in people.get(user).into_iter().flatten() {
                // A full or vanished mailbox takes itself out: its task ends and drops it.
                connection.sender.send(frame.clone());
            }
        }
        Ok(())
    }

    fn may_reach(&self, users: &[UserId]) -> bool {
        self.open() > 0 && users.iter().any(|user| self.registry.knows(*user))
    }

    async fn close(&self, user: UserId, code: CloseCode) -> Result<(), Problem> {
        let people = self.registry.shard(user).read().unwrap_or_else(PoisonError::into_inner);
        for connection in people.get(&user).into_iter().flatten() {
            connection.sender.close(code);
        }
        Ok(())
    }
}

impl Connections for Hub {
    fn attach(&self, user: UserId) -> Result<Mailbox, Problem> {
        let mut people = self.registry.shard(user).write().unwrap_or_else(PoisonError::into_inner);
        let connections = people.entry(user).or_default();
        if connections.len() >= self.limits.sockets_max {
            let detail = format!("Close one of your {} open sockets.", connections.len());
            return Err(Problem::new(Code::TooManySockets, detail).retry_after_secs(1));
        }
        let number = self.registry.given.fetch_add(1, Ordering::Relaxed);
        let (sender, mailbox) = mailbox(self.limits.mailbox);
        connections.push(Connection { number, sender });
        drop(people);
        self.registry.count(self.registry.open.fetch_add(1, Ordering::Relaxed) + 1);
        let registry = Arc::clone(&self.registry);
        Ok(mailbox.on_drop(move || registry.forget(user, number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_a_hub_of_sockets() {
        conformance::sockets::suite(|limits| {
            let hub = Hub::new(HubLimits { mailbox: limits, ..HubLimits::default() });
            (hub.clone(), hub)
        })
        .await;
    }

    #[tokio::test]
    async fn everybody_is_told_at_shutdown_and_nobody_is_left() {
        let hub = Hub::new(HubLimits::default());
        let mut mailboxes: Vec<_> =
            (0..500_u128).map(|n| hub.attach(UserId((n << 3).into())).unwrap()).collect();
        assert_eq!(hub.open(), 500);
        assert!(hub.may_reach(&[UserId(1.into()), UserId(8.into())]));
        assert!(!hub.may_reach(&[UserId(1.into())]));
        hub.close_all(CloseCode::GoingAway);
        for mailbox in &mut mailboxes {
            assert_eq!(mailbox.receive().await.unwrap_err(), CloseCode::GoingAway);
        }
        drop(mailboxes);
        assert_eq!(hub.open(), 0);
        assert!(!hub.may_reach(&[UserId(8.into())]));
    }
}
