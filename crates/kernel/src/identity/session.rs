//! Sessions: families of refresh tokens of which only the newest is good. A row knows digests only:
//! one of the secret that all tokens of the family share, which tells a used token from a made-up
//! one, and one of what is the newest token's own.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::rows;
use crate::table::{Item, QUERY_ITEMS_MAX, Query, Scatter, Table, TableError};
use crate::{Problem, Time, UserId};

/// Which session is meant.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SessionName {
    /// Whose.
    pub user: UserId,
    /// Which of theirs.
    pub session: String,
}

/// Whether sessions are open. The user service asks its table; the others ask the user service.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Which of up to 100 different sessions are open.
    async fn are_open(&self, sessions: &[SessionName]) -> Result<Vec<bool>, Problem>;

    /// Whether the session of that user is open.
    async fn is_open(&self, user: UserId, session: &str) -> Result<bool, Problem> {
        let one = SessionName { user, session: session.to_owned() };
        Ok(self.are_open(&[one]).await? == [true])
    }
}

/// What is kept of a session.
#[derive(Serialize, Deserialize)]
pub struct Session {
    family: String,
    newest: String,
    started_at: Time,
}

/// What is kept of a secret, which may have several parts.
fn digest(secret: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    secret.iter().for_each(|part| digest.update(part));
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

fn is_digest_of(kept: &str, secret: &[&[u8]]) -> bool {
    kept.as_bytes().ct_eq(digest(secret).as_bytes()).into()
}

impl Session {
    /// A session by its family's secret and by what is the newest token's own.
    pub fn new(family: &[u8; 32], newest: &[&[u8]], started_at: Time) -> Self {
        Self { family: digest(&[family]), newest: digest(newest), started_at }
    }

    /// Whether a token with this family's secret was given out in this session, be it used or not.
    pub fn has(&self, family: &[u8; 32]) -> bool {
        is_digest_of(&self.family, &[family])
    }

    /// Whether this is the newest token's own.
    pub fn newest_is(&self, own: &[&[u8]]) -> bool {
        is_digest_of(&self.newest, own)
    }

    /// When the sign-in was.
    pub fn started_at(&self) -> Time {
        self.started_at
    }
}

/// Ends all sessions of a user but `kept`. Of each, `ended` is told before its row goes: should the
/// row stay because the table fails, the error is on the safe side.
pub async fn end_all_but(
    table: &dyn Table,
    user: UserId,
    kept: Option<&str>,
    ended: impl Fn(&str) + Send + Sync,
) -> Result<(), TableError> {
    loop {
        let rows = table.query(Query::all(rows::sessions(user), QUERY_ITEMS_MAX)).await?.items;
        let more = rows.len() == QUERY_ITEMS_MAX;
        let ending: Vec<Item> =
            rows.into_iter().filter(|row| Some(row.key.sort.as_str()) != kept).collect();
        ending.iter().for_each(|row| ended(&row.key.sort));
        if !ending.is_empty() {
            let rows = ending.into_iter().map(|row| Scatter::Delete(row.key)).collect();
            table.scatter(rows).await?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Sessions that this process has ended, each until its last access token has expired.
#[derive(Debug, Default)]
pub struct Ended(RwLock<Until>);

#[derive(Debug, Default)]
struct Until {
    sessions: HashMap<String, Time>,
    sweep_at: usize,
}

impl Ended {
    /// Whether a session has been ended here.
    pub fn has(&self, session: &str) -> bool {
        let ended = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ended.sessions.contains_key(session)
    }

    /// Ends a session, whose access tokens will all have expired at `until`.
    pub fn end(&self, session: &str, now: Time, until: Time) {
        let mut ended = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ended.sessions.insert(session.to_owned(), until);
        if ended.sessions.len() >= ended.sweep_at {
            ended.sessions.retain(|_, until| *until > now);
            // Twice what is left, so that sweeping costs each session a constant.
            ended.sweep_at = (ended.sessions.len() * 2).max(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_token_is_told_from_a_made_up_one() {
        let (at, family) = (Time::from_millis(7), [3; 32]);
        let session = Session::new(&family, &[&[5; 32], b"theirs"], at);
        assert!(session.has(&family) && session.newest_is(&[&[5; 32], b"theirs"]));
        assert!(!session.newest_is(&[&[4; 32], b"theirs"]));
        assert!(!session.newest_is(&[&[5; 32]]) && !session.has(&[9; 32]));
        assert_eq!(session.started_at(), at);
    }

    #[test]
    fn ended_sessions_are_known_while_their_tokens_could_live() {
        let (ended, at) = (Ended::default(), Time::from_millis);
        for n in 0..5_000 {
            ended.end(&format!("s{n}"), at(n), at(n + 100));
            assert!(ended.has(&format!("s{n}")) && !ended.has("another"));
        }
        let kept = ended.0.read().unwrap().sessions.len();
        assert!((100..=1_100).contains(&kept), "{kept}");
        assert!(ended.has("s4900") && !ended.has("s0"));
    }
}
