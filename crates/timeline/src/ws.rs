//! One socket: a task between a peer and its mailbox.
//!
//! The task enters the hub before it says from where on it will tell everything live, so that
//! nothing falls between a page (or a resume) and the first frame: what had arrived by the hello's
//! cursor is left to resume, what arrives later comes live, and no frame is in both. Live frames
//! wait in the mailbox for the peer's first message, or for a moment, so that a resume goes before
//! them: a peer that keeps the cursor of each frame never steps over a gap that it has not been
//! given.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use kernel::sockets::{CloseCode, Frame, Mailbox, count_ends};
use kernel::spans::Kind;
use kernel::{Code, Limit, Principal, Problem, UserId};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::Timeline;
use crate::gap::Gap;
use crate::live::{self, FromPeer};
use crate::model::Place;
use crate::upgrade::{Socket, Upgrade, finish, unreadable};

/// A resume reads a whole feed, so of a second's messages only so many may be one.
const RESUMES_PER_SEC: u32 = 10;

/// Why a connection ends.
enum End {
    /// We close it.
    Close(CloseCode),
    /// The peer sent what cannot be read: a close code and its reason.
    Unreadable(u16, &'static str),
    /// The peer has closed it.
    Closed,
    /// Nobody is there any more.
    Lost,
}

impl End {
    /// Whether sockets end so every day. Else something stood in the way, or somebody misbehaved.
    fn is_expected(&self) -> bool {
        matches!(self, Self::Closed | Self::Close(CloseCode::GoingAway | CloseCode::TokenExpired))
    }
}

struct Session {
    timeline: Arc<Timeline>,
    socket: Socket,
    mailbox: Mailbox,
    viewer: UserId,
    /// Asked about before every frame: its session may end before it expires.
    token: Box<str>,
    /// Whatever arrived after this has been told here, or will be; what is older only on request.
    from: u64,
    /// What arrived up to this is not told live: it has been told, or only comes on request.
    told: u64,
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
        upgrade: Upgrade,
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
        let timeline = Arc::clone(self);
        let left = principal.expires_at.since(self.parts.clock.now());
        // Counted from before the upgrade, so that no socket is missed at shutdown.
        let counted = self.open.token();
        let token = Box::from(token);
        Ok(upgrade.accept(move |socket| {
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
        socket: Socket,
        mailbox: Mailbox,
        viewer: UserId,
        token: Box<str>,
        joined: u64,
        left: Duration,
    ) -> Self {
        let now = Instant::now();
        let far = now + Duration::from_hours(24 * 365);
        Self {
            from: joined,
            told: joined,
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
        count_ends(end.is_expected(), 1);
        let wait = self.timeline.config.close_wait;
        // Out of the hub first: nothing more is meant for this socket.
        let Self { socket, mailbox, .. } = self;
        drop(mailbox);
        let close = match end {
            End::Close(code) => Some((code.number(), code.reason())),
            End::Unreadable(code, reason) => Some((code, reason)),
            End::Closed => None,
            End::Lost => return,
        };
        // Boxed: what it needs is not kept for as long as the socket is open.
        let _ = timeout(wait, Box::pin(finish(socket, close))).await;
    }

    async fn greet(&mut self) -> Result<(), End> {
        let connection = self.timeline.parts.ids.ulid();
        let heartbeat = self.timeline.config.heartbeat.as_secs();
        self.send(live::hello(&connection.to_string(), heartbeat, self.from)).await?;
        self.live_at = Instant::now() + self.timeline.config.resume_grace;
        Ok(())
    }

    /// Waits for the next thing to happen and does it.
    async fn step(&mut self) -> Result<(), End> {
        let idle = self.heard + self.timeline.config.idle;
        let wake = self.ping.min(idle).min(self.expires);
        tokio::select! {
            biased;
            () = self.timeline.closing.cancelled() => Err(End::Close(CloseCode::GoingAway)),
            () = sleep_until(wake) => self.tick().await,
            frame = next_frame(&mut self.mailbox, self.live) => self.tell(frame).await,
            message = self.socket.next() => self.hear(message).await,
            // Last: a first message that is here already goes before the frames.
            () = sleep_until(self.live_at), if !self.live => {
                self.live = true;
                Ok(())
            }
        }
    }

    /// Passes a live frame on, unless it has been told already.
    async fn tell(&mut self, frame: Result<Frame, CloseCode>) -> Result<(), End> {
        let Frame { text, on_its_way } = frame.map_err(End::Close)?;
        if let Some(arrival) = live::arrival(&text) {
            if arrival <= self.told {
                return Ok(());
            }
            self.told = arrival;
        }
        let sent = self.send(text).await;
        if let Some(on_its_way) = on_its_way {
            on_its_way.end("websocket frame", Kind::Producer, |span| {
                span.failed = sent.as_ref().err().map(|_| "closed".into());
            });
        }
        sent
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
        self.check_session().await?;
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

    async fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Lost),
            Some(Err(error)) => {
                let close = unreadable(&error);
                return Err(close.map_or(End::Lost, |(code, why)| End::Unreadable(code, why)));
            }
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
                match message {
                    Message::Text(text) => self.answer(&text).await,
                    // Answered by the protocol layer; a resume may still come.
                    Message::Ping(_) => return Ok(()),
                    _ => self.refuse(Code::MalformedRequest, "Send JSON text.").await,
                }?;
                self.live = true;
                Ok(())
            }
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), End> {
        if text.len() > self.timeline.config.message_bytes_max {
            return self.refuse(Code::BodyTooLarge, "The message is too long.").await;
        }
        match live::parse(text) {
            Ok(FromPeer::Ping) => {
                self.catch_up().await?;
                self.send(live::PONG).await
            }
            Ok(FromPeer::Resume { cursor }) => {
                self.messages += self.timeline.config.messages_per_sec / RESUMES_PER_SEC;
                // Boxed: seldom used, and larger than all the rest.
                Box::pin(self.resume(&cursor)).await
            }
            Err(problem) => self.send(live::error(&problem)).await,
        }
    }

    /// Sends what has waited for a resume, so that a pong comes after all that came before its
    /// ping.
    async fn catch_up(&mut self) -> Result<(), End> {
        while !self.live {
            // Unconstrained: a task that has done much is otherwise told that nothing is there.
            match unconstrained(self.mailbox.receive()).now_or_never() {
                Some(frame) => self.tell(frame).await?,
                None => self.live = true,
            }
        }
        Ok(())
    }

    async fn refuse(&mut self, code: Code, detail: &'static str) -> Result<(), End> {
        self.send(live::error(&Problem::new(code, detail))).await
    }

    /// Sees to it that everything which arrived after the cursor is told, in the order of arrival.
    async fn resume(&mut self, cursor: &str) -> Result<(), End> {
        let seen = match Place::parse(cursor) {
            Ok((_, place)) => place.seen,
            Err(problem) => return self.send(live::error(&problem)).await,
        };
        match self.replay(seen).await {
            Ok(ended) => ended,
            // Live frames would step over what could not be read.
            Err(problem) => {
                self.send(live::error(&problem)).await?;
                self.send(live::RESYNC).await
            }
        }
    }

    /// Tells everything from `seen` up to now, unless it has been told here; the frames that wait
    /// meanwhile and are newer follow live.
    async fn replay(&mut self, seen: u64) -> Result<Result<(), End>, Problem> {
        let (timeline, viewer) = (Arc::clone(&self.timeline), self.viewer);
        if timeline.is_too_old(seen) {
            return Ok(self.send(live::RESYNC).await);
        }
        let visible = timeline.turns.visible().await?;
        if seen >= self.from {
            // The peer may have been told on another socket; but nobody has seen the future.
            self.told = self.told.max(seen.min(visible));
            return Ok(Ok(()));
        }
        let Gap::Rows(rows) = timeline.gap(viewer, seen, visible).await? else {
            return Ok(self.send(live::RESYNC).await);
        };
        for chunk in rows.chunks(Limit::MAX) {
            for frame in timeline.frames(viewer, chunk).await? {
                if let Err(end) = self.send(frame).await {
                    return Ok(Err(end));
                }
            }
        }
        (self.from, self.told) = (seen, self.told.max(visible));
        Ok(Ok(()))
    }
}

/// The next live frame, or why to close; nothing but the latter before it is time for frames.
async fn next_frame(mailbox: &mut Mailbox, live: bool) -> Result<Frame, CloseCode> {
    if live { mailbox.receive().await } else { Err(mailbox.closed().await) }
}
