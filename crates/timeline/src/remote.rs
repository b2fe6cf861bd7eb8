//! Sockets that somebody else keeps for us, such as a gateway: what is said on them comes message
//! by message, to whichever process, and what they are told goes out by
//! [`Sockets`](kernel::sockets::Sockets).

use std::time::Duration;

use bytes::Bytes;
use kernel::{Code, Limit, Problem, UserId};

use crate::gap::Gap;
use crate::live::{self, FromPeer};
use crate::model::Place;
use crate::{RESYNC, Timeline};

impl Timeline {
    /// The greeting of a socket, which its keeper calls `connection`. What arrives from now on
    /// is told live, if the socket is entered already.
    pub async fn hello(&self, connection: &str, heartbeat: Duration) -> Result<Bytes, Problem> {
        let seen = self.turns.visible().await?;
        Ok(live::hello(connection, heartbeat.as_secs(), seen))
    }

    /// The frames that answer a message. A resume brings everything that has arrived since its
    /// cursor, also what was told live meanwhile.
    pub async fn answer(&self, viewer: UserId, text: &str) -> Vec<Bytes> {
        if text.len() > self.config.message_bytes_max {
            let too_long = Problem::new(Code::BodyTooLarge, "The message is too long.");
            return vec![live::error(&too_long)];
        }
        match live::parse(text) {
            Ok(FromPeer::Ping) => vec![live::PONG],
            Ok(FromPeer::Resume { cursor }) => self.resumed(viewer, &cursor).await,
            Err(problem) => vec![live::error(&problem)],
        }
    }

    async fn resumed(&self, viewer: UserId, cursor: &str) -> Vec<Bytes> {
        match Place::parse(cursor) {
            Ok((_, place)) => match self.since(viewer, place.seen).await {
                Ok(frames) => frames,
                // Live frames would step over what could not be read.
                Err(problem) => vec![live::error(&problem), RESYNC],
            },
            Err(problem) => vec![live::error(&problem)],
        }
    }

    async fn since(&self, viewer: UserId, seen: u64) -> Result<Vec<Bytes>, Problem> {
        if self.is_too_old(seen) {
            return Ok(vec![RESYNC]);
        }
        let visible = self.turns.visible().await?;
        let Gap::Rows(rows) = self.gap(viewer, seen, visible).await? else {
            return Ok(vec![RESYNC]);
        };
        let mut frames = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(Limit::MAX) {
            frames.extend(self.frames(viewer, chunk).await?);
        }
        Ok(frames)
    }
}
