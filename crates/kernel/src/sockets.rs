//! Live connections: sending a rendered frame to a person's sockets, and the bounded mailbox
//! between a sender and one socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::spans::Handed;
use crate::{Problem, UserId};

/// Why the server closes a socket: WebSocket close codes of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseCode {
    /// The server stops (1001).
    GoingAway,
    /// The access token is no longer good (4401).
    TokenExpired,
    /// The peer was silent for too long (4408).
    Idle,
    /// The reader was too slow (4413); it resumes by cursor.
    TooSlow,
    /// The peer sent too many messages (4429).
    TooManyMessages,
}

impl CloseCode {
    const ALL: [Self; 5] =
        [Self::GoingAway, Self::TokenExpired, Self::Idle, Self::TooSlow, Self::TooManyMessages];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::TokenExpired => 4401,
            Self::Idle => 4408,
            Self::TooSlow => 4413,
            Self::TooManyMessages => 4429,
        }
    }

    /// The reason on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "going away",
            Self::TokenExpired => "token expired",
            Self::Idle => "idle",
            Self::TooSlow => "too slow: resume by cursor",
            Self::TooManyMessages => "too many messages",
        }
    }
}

/// Counts sockets that ended, in `websocket_disconnects_total`: `expected` as sockets end every day
/// (the client closed it, its time was over), or `lost`, which many at once must not be.
pub fn count_ends(is_expected: bool, sockets: u64) {
    let kind = if is_expected { "expected" } else { "lost" };
    metrics::counter!("websocket_disconnects_total", "kind" => kind).increment(sockets);
}

/// Sends frames to people.
#[async_trait]
pub trait Sockets: Send + Sync {
    /// Sends one rendered frame (JSON text) to every open connection of `users`. Connections that
    /// are gone are forgotten; whoever has none is passed over.
    async fn send(&self, users: &[UserId], frame: Bytes) -> Result<(), Problem>;

    /// Whether one of `users` may have an open connection; if not, no frame need be rendered for
    /// them. Where nobody can tell without asking elsewhere, they may.
    fn may_reach(&self, users: &[UserId]) -> bool;

    /// Closes a person's connections.
    async fn close(&self, user: UserId, code: CloseCode) -> Result<(), Problem>;
}

/// Where sockets that live in this process are entered.
pub trait Connections: Send + Sync {
    /// Enters a new connection of `user`; 429 `too_many_sockets` at the limit. It is forgotten when
    /// the mailbox is dropped.
    fn attach(&self, user: UserId) -> Result<Mailbox, Problem>;
}

/// How much may wait for one slow reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MailboxLimits {
    /// Frames.
    pub frames_max: usize,
    /// Bytes.
    pub bytes_max: usize,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self { frames_max: 256, bytes_max: 512 * 1024 }
    }
}

/// A rendered frame on its way to a socket.
#[derive(Clone, Debug)]
pub struct Frame {
    /// JSON text.
    pub text: Bytes,
    /// Whoever has written it tells so here, where what it is sent for is recorded.
    pub on_its_way: Option<Arc<Handed>>,
}

impl Frame {
    /// A frame of the present work.
    pub fn new(text: Bytes) -> Self {
        Self { text, on_its_way: Handed::on() }
    }
}

struct Shared {
    waiting_bytes: AtomicUsize,
    /// Index into [`CloseCode::ALL`] plus one; zero while open.
    closed: AtomicU8,
    closing: Notify,
}

/// The sending end of a mailbox.
#[derive(Clone)]
pub struct Sender {
    frames: mpsc::Sender<Frame>,
    bytes_max: usize,
    shared: Arc<Shared>,
}

/// The receiving end of a mailbox, held by the socket's task.
pub struct Mailbox {
    frames: mpsc::Receiver<Frame>,
    shared: Arc<Shared>,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// A mailbox with its two ends.
pub fn mailbox(limits: MailboxLimits) -> (Sender, Mailbox) {
    let (sender, receiver) = mpsc::channel(limits.frames_max);
    let shared = Arc::new(Shared {
        waiting_bytes: AtomicUsize::new(0),
        closed: AtomicU8::new(0),
        closing: Notify::new(),
    });
    let sender =
        Sender { frames: sender, bytes_max: limits.bytes_max, shared: Arc::clone(&shared) };
    (sender, Mailbox { frames: receiver, shared, on_drop: None })
}

impl Sender {
    /// Leaves a frame; false when the reader is gone or has just been closed as too slow.
    pub fn send(&self, frame: Frame) -> bool {
        let len = frame.text.len();
        let waiting = self.shared.waiting_bytes.fetch_add(len, Ordering::Relaxed);
        if waiting + len <= self.bytes_max {
            match self.frames.try_send(frame) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
        self.close(CloseCode::TooSlow);
        false
    }

    /// Tells the socket to close; the first reason stands.
    pub fn close(&self, code: CloseCode) {
        let index = CloseCode::ALL.iter().position(|other| *other == code).unwrap_or(0);
        let mark = u8::try_from(index + 1).unwrap_or(1);
        let _ = self.shared.closed.compare_exchange(0, mark, Ordering::AcqRel, Ordering::Acquire);
        self.shared.closing.notify_one();
    }
}

impl Mailbox {
    /// The same mailbox, running `forget` when it is dropped.
    #[must_use]
    pub fn on_drop(mut self, forget: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_drop = Some(Box::new(forget));
        self
    }

    /// The next frame, or why to close. Closing goes ahead of waiting frames. Cancel-safe.
    pub async fn receive(&mut self) -> Result<Frame, CloseCode> {
        loop {
            if let Some(code) = self.close_code() {
                return Err(code);
            }
            tokio::select! {
                frame = self.frames.recv() => {
                    let Some(frame) = frame else { return Err(CloseCode::GoingAway) };
                    self.shared.waiting_bytes.fetch_sub(frame.text.len(), Ordering::Relaxed);
                    return Ok(frame);
                }
                () = self.shared.closing.notified() => {}
            }
        }
    }

    /// Waits until the socket is told to close: what a task that is busy writing watches.
    /// Cancel-safe.
    pub async fn closed(&self) -> CloseCode {
        loop {
            if let Some(code) = self.close_code() {
                return code;
            }
            self.shared.closing.notified().await;
        }
    }

    fn close_code(&self) -> Option<CloseCode> {
        let mark = self.shared.closed.load(Ordering::Acquire);
        usize::from(mark).checked_sub(1).and_then(|index| CloseCode::ALL.get(index)).copied()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some(forget) = self.on_drop.take() {
            forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Frame {
        Frame::new(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_to_close() {
        let (sender, mut mailbox) = mailbox(MailboxLimits { frames_max: 2, bytes_max: 100 });
        assert!(sender.send(frame("one")));
        assert_eq!(mailbox.receive().await.unwrap().text, "one");
        assert!(sender.send(frame("two")));
        assert!(sender.send(frame("three")));
        assert!(!sender.send(frame("four")));
        assert_eq!(mailbox.receive().await.unwrap_err(), CloseCode::TooSlow);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let (sender, mut mailbox) = mailbox(MailboxLimits { frames_max: 9, bytes_max: 5 });
        assert!(!sender.send(frame("sixsix")));
        assert_eq!(mailbox.receive().await.unwrap_err(), CloseCode::TooSlow);
    }
}
