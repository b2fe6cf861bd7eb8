//! One socket: a task between a peer and its mailbox.
//!
//! The task enters the hub before it says from where on it will tell everything live, so that
//! nothing falls between a page (or a resume) and the first frame: what had arrived by the hello's
//! cursor is left to resume, what arrives later comes live, and no frame is in both. Live frames
//! wait for the peer's first message, or for a moment, so that a resume goes before them: a peer
//! that keeps the cursor of each frame never steps over a gap that it has not been given.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;

use kernel::sockets::{CloseCode, Mailbox};
use kernel::{Code, Limit, Principal, Problem, UserId};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Timeline;
use crate::live::{self, FromPeer};
use crate::model::Place;
use crate::turn::arrival_at;

/// The one subprotocol, for clients that must name one.
const PROTOCOL: &str = "mini-sns.v1";
const READ_BUFFER_BYTES: usize = 4 * 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// A resume reads a whole feed, so of a second's messages only so many may be one.
const RESUMES_PER_SEC: u32 = 10;
/// One frame at a time waits here: the largest is two JSON objects of bounded text.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// A peer that sends more at once is not one of ours.
const FRAME_BYTES_MAX: usize = 64 * 1024;
const TOO_BIG: u16 = 1009;

/// Why a connection ends.
enum End {
    /// We close it.
    Close(CloseCode),
    /// The peer sent what cannot be read.
    Unreadable,
    /// The peer has closed it.
    Closed,
    /// Nobody is there any more.
    Lost,
}

struct Session {
    timeline: Arc<Timeline>,
    socket: WebSocket,
    mailbox: Mailbox,
    viewer: UserId,
    /// Asked about before every frame: its session may end before it expires.
    token: Box<str>,
    /// What arrived later comes live; what arrived by then only comes when asked for.
    joined: u64,
    /// From when on live frames go out; at once when the peer's first message has been answered.
    live_at: Instant,
    live: bool,
    expires: Instant,
    heard: Instant,
    ping: Instant,
    window: Instant,
    messages: u32,
}

impl Timeline {
    /// Answers the upgrade and lets a task serve the socket.
    pub(crate) async fn open(
        self: &Arc<Self>,
        upgrade: WebSocketUpgrade,
        principal: Arc<Principal>,
        token: &str,
    ) -> Result<Response, Problem> {
        if self.closing.is_cancelled() {
            let stopping = "This server is stopping. Connect again.";
            return Err(Problem::new(Code::Unavailable, stopping).retry_after_secs(1));
        }
        let mailbox = self.parts.connections.attach(principal.user_id)?;
        // Asked after the mailbox is in the hub: what arrives later comes live.
        let joined = self.turns.visible().await?;
        let upgrade = upgrade
            .protocols([PROTOCOL])
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(FRAME_BYTES_MAX)
            .max_frame_size(FRAME_BYTES_MAX);
        let timeline = Arc::clone(self);
        let left = principal.expires_at.since(self.parts.clock.now());
        // Counted from before the upgrade, so that no socket is missed at shutdown.
        let counted = self.open.token();
        let token = Box::from(token);
        Ok(upgrade.on_upgrade(move |socket| {
            // Boxed: the upgrade's task keeps room for the future twice.
            Box::pin(async move {
                let viewer = principal.user_id;
                let session = Session::new(timeline, socket, mailbox, viewer, token, joined, left);
                session.serve().await;
                drop(counted);
            })
        }))
    }
}

impl Session {
    fn new(
        timeline: Arc<Timeline>,
        socket: WebSocket,
        mailbox: Mailbox,
        viewer: UserId,
        token: Box<str>,
        joined: u64,
        left: Duration,
    ) -> Self {
        let now = Instant::now();
        let far = now + Duration::from_hours(24 * 365);
        Self {
            joined,
            live_at: now + timeline.config.resume_grace,
            live: false,
            expires: now.checked_add(left).unwrap_or(far),
            heard: now,
            ping: now + timeline.config.heartbeat,
            window: now,
            messages: 0,
            timeline,
            socket,
            mailbox,
            viewer,
            token,
        }
    }

    async fn serve(mut self) {
        let end = match self.greet().await {
            Ok(()) => loop {
                if let Err(end) = self.step().await {
                    break end;
                }
            },
            Err(end) => end,
        };
        let wait = self.timeline.config.close_wait;
        // Out of the hub first: nothing more is meant for this socket.
        let Self { socket, mailbox, .. } = self;
        drop(mailbox);
        let _ = timeout(wait, finish(socket, end)).await;
    }

    async fn greet(&mut self) -> Result<(), End> {
        let connection = self.timeline.parts.ids.ulid();
        let heartbeat = self.timeline.config.heartbeat.as_secs();
        self.send(live::hello(connection, heartbeat, self.joined)).await
    }

    /// Waits for the next thing to happen and does it.
    async fn step(&mut self) -> Result<(), End> {
        let idle = self.heard + self.timeline.config.idle;
        let wake = self.ping.min(idle).min(self.expires);
        tokio::select! {
            biased;
            () = self.timeline.closing.cancelled() => Err(End::Close(CloseCode::GoingAway)),
            () = sleep_until(wake) => self.tick().await,
            () = sleep_until(self.live_at), if !self.live => {
                self.live = true;
                Ok(())
            }
            frame = next_frame(&mut self.mailbox, self.live) => self.tell(frame).await,
            message = self.socket.recv() => self.hear(message).await,
        }
    }

    /// Passes a live frame on, unless a resume gives it.
    async fn tell(&mut self, frame: Result<Bytes, CloseCode>) -> Result<(), End> {
        let frame = frame.map_err(End::Close)?;
        if live::arrival(&frame).is_some_and(|arrival| arrival <= self.joined) {
            return Ok(());
        }
        self.check_session().await?;
        self.send(frame).await
    }

    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.expires {
            return Err(End::Close(CloseCode::TokenExpired));
        }
        if now >= self.heard + self.timeline.config.idle {
            return Err(End::Close(CloseCode::Idle));
        }
        self.ping = now + self.timeline.config.heartbeat;
        self.check_session().await?;
        self.write(Message::Ping(Bytes::new())).await
    }

    /// Ends with the session: signed out elsewhere, or the password was changed. Asked before each
    /// frame and at each heartbeat; doubt is no reason to close.
    async fn check_session(&mut self) -> Result<(), End> {
        let verified = self.timeline.parts.identity.verify(&self.token).await;
        if verified.is_err_and(|problem| problem.code == Code::Unauthenticated) {
            return Err(End::Close(CloseCode::TokenExpired));
        }
        Ok(())
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), End> {
        // Frames are JSON that this server wrote, so they are always text.
        let text = Utf8Bytes::try_from(frame).map_err(|_| End::Lost)?;
        self.write(Message::Text(text)).await
    }

    /// Writes a message; gives up when the socket is told to close meanwhile, or the peer has not
    /// taken a byte for as long as it may be silent.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        let last = (self.heard + self.timeline.config.idle).min(self.expires);
        let late = if last == self.expires { CloseCode::TokenExpired } else { CloseCode::Idle };
        tokio::select! {
            biased;
            sent = self.socket.send(message) => sent.map_err(|_| End::Lost),
            code = self.mailbox.closed() => Err(End::Close(code)),
            () = self.timeline.closing.cancelled() => Err(End::Close(CloseCode::GoingAway)),
            () = sleep_until(last) => Err(End::Close(late)),
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Lost),
            Some(Err(_)) => return Err(End::Unreadable),
            Some(Ok(message)) => message,
        };
        let now = Instant::now();
        self.heard = now;
        match message {
            Message::Close(_) => Err(End::Closed),
            // The protocol's own answers to our pings; they are not messages.
            Message::Pong(_) => Ok(()),
            message => {
                if now.duration_since(self.window) >= Duration::from_secs(1) {
                    (self.window, self.messages) = (now, 0);
                }
                self.messages += 1;
                if self.messages > self.timeline.config.messages_per_sec {
                    return Err(End::Close(CloseCode::TooManyMessages));
                }
                let answered = match message {
                    Message::Text(text) => self.answer(&text).await,
                    // Pings are answered by the protocol layer.
                    Message::Ping(_) => Ok(()),
                    _ => self.refuse(Code::MalformedRequest, "Send JSON text.").await,
                };
                self.live = true;
                answered
            }
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), End> {
        if text.len() > self.timeline.config.message_bytes_max {
            return self.refuse(Code::BodyTooLarge, "The message is too long.").await;
        }
        match serde_json::from_str(text) {
            Ok(FromPeer::Ping) => {
                self.catch_up().await?;
                self.send(live::PONG).await
            }
            Ok(FromPeer::Resume { cursor }) => {
                self.messages += self.timeline.config.messages_per_sec / RESUMES_PER_SEC;
                // Boxed: seldom used, and larger than all the rest.
                match Box::pin(self.gap(&cursor)).await {
                    Ok(sent) => sent,
                    Err(problem) => self.send(live::error(&problem)).await,
                }
            }
            Err(error) if error.is_data() => {
                let detail = "Known types are `ping` and `resume` with a `cursor`.";
                self.refuse(Code::ValidationFailed, detail).await
            }
            Err(_) => self.refuse(Code::MalformedRequest, "The message is not JSON.").await,
        }
    }

    /// Sends what has waited for a resume, so that a pong comes after all that came before its
    /// ping.
    async fn catch_up(&mut self) -> Result<(), End> {
        self.live = true;
        while let Some(frame) = self.mailbox.receive().now_or_never() {
            self.tell(frame).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, code: Code, detail: &'static str) -> Result<(), End> {
        self.send(live::error(&Problem::new(code, detail))).await
    }

    /// Sends everything that arrived after the cursor and before this socket's live frames.
    async fn gap(&mut self, cursor: &str) -> Result<Result<(), End>, Problem> {
        let (_, Place { seen, .. }) = Place::parse(cursor)?;
        let timeline = Arc::clone(&self.timeline);
        let (config, parts) = (&timeline.config, &timeline.parts);
        if seen < arrival_at(parts.clock.now() - config.resume) {
            return Ok(self.send(live::RESYNC).await);
        }
        let mut rows = crate::store::scan(&*parts.table, self.viewer).await?.rows;
        rows.retain(|row| row.arrival > seen && row.arrival <= self.joined);
        // A feed holds no more than its cap: a gap as wide as that may have lost its beginning.
        let most = config.resume_entries_max.min(config.feed_rows_max.saturating_sub(1));
        if rows.len() > most {
            return Ok(self.send(live::RESYNC).await);
        }
        rows.sort_by_key(|row| row.arrival);
        for chunk in rows.chunks(Limit::MAX) {
            let live = chunk.iter().filter(|row| !row.gone).map(crate::model::Row::entry);
            let items = timeline.items(self.viewer, &live.collect::<Vec<_>>()).await?;
            let items: HashMap<_, _> =
                items.into_iter().map(|item| (item.entry.post_id, item)).collect();
            for row in chunk {
                let frame = match items.get(&row.post_id) {
                    Some(item) => live::entry(row.arrival, item),
                    None if row.gone => live::removed(row.post_id),
                    // Not to be shown: deleted a moment ago.
                    None => continue,
                };
                if let Err(end) = self.send(frame).await {
                    return Ok(Err(end));
                }
            }
        }
        Ok(Ok(()))
    }
}

/// The next live frame, or why to close; nothing but the latter before it is time for frames.
async fn next_frame(mailbox: &mut Mailbox, live: bool) -> Result<Bytes, CloseCode> {
    if live { mailbox.receive().await } else { Err(mailbox.closed().await) }
}

/// Says why, and waits for the peer to agree.
async fn finish(mut socket: WebSocket, end: End) {
    let close = match end {
        End::Close(code) => Some((code.number(), code.reason())),
        End::Unreadable => Some((TOO_BIG, "too big or not readable")),
        End::Closed => None,
        End::Lost => return,
    };
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
    }
    // Reading on sends the protocol's own answer and sees the peer's.
    while let Some(Ok(_)) = socket.recv().await {}
}
