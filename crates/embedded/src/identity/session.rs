//! Refresh tokens, each of a session's family, and a user's sessions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::identity::rows;
use kernel::identity::session::Session;
use kernel::table::{Item, Key, Query, Table, TableError};
use kernel::{Time, UserId};
use ulid::Ulid;

/// Bytes of a refresh token: user, session, the family's secret, its own secret.
const TOKEN_BYTES: usize = 16 + 16 + 32 + 32;

/// A refresh token; secret, so not `Debug`.
pub(super) struct RefreshToken {
    pub(super) user: UserId,
    pub(super) session: Ulid,
    family: [u8; 32],
    own: [u8; 32],
}

impl RefreshToken {
    /// The first token of a new session.
    pub(super) fn first(user: UserId, session: Ulid, secrets: [[u8; 32]; 2]) -> Self {
        Self { user, session, family: secrets[0], own: secrets[1] }
    }

    /// The token that takes this one's place.
    pub(super) fn next(&self, own: [u8; 32]) -> Self {
        Self { own, ..*self }
    }

    /// The text that the client keeps.
    pub(super) fn render(&self) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(&self.user.0.0.to_be_bytes());
        bytes.extend_from_slice(&self.session.0.to_be_bytes());
        bytes.extend_from_slice(&self.family);
        bytes.extend_from_slice(&self.own);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a client's text; none when it cannot be a token.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != TOKEN_BYTES / 3 * 4 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (user, rest) = bytes.split_first_chunk::<16>()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (family, own) = rest.split_first_chunk::<32>()?;
        Some(Self {
            user: UserId(Ulid(u128::from_be_bytes(*user))),
            session: Ulid(u128::from_be_bytes(*session)),
            family: *family,
            own: own.try_into().ok()?,
        })
    }

    /// Where its session is kept.
    pub(super) fn key(&self) -> Key {
        rows::session_key(self.user, &self.session.to_string())
    }

    /// What to keep of the session while this is its newest token.
    pub(super) fn session(&self, started_at: Time) -> Session {
        Session::new(&self.family, &[&self.own], started_at)
    }

    /// Whether it was given out in that session, be it used or not.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        session.has(&self.family)
    }

    /// Whether it is that session's newest one.
    pub(super) fn is_newest_of(&self, session: &Session) -> bool {
        session.newest_is(&[&self.own])
    }
}

/// Up to `limit` of a user's sessions, the oldest sign-in first: they sort by its time.
pub(super) async fn oldest(
    table: &dyn Table,
    user: UserId,
    limit: usize,
) -> Result<Vec<Item>, TableError> {
    Ok(table.query(Query::all(rows::sessions(user), limit)).await?.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_token_is_told_from_a_made_up_one() {
        let first = RefreshToken::first(UserId(Ulid(1)), Ulid(2), [[3; 32], [4; 32]]);
        let next = first.next([5; 32]);
        let session = next.session(Time::from_millis(0));
        assert!(next.is_of(&session) && next.is_newest_of(&session));
        assert!(first.is_of(&session) && !first.is_newest_of(&session));
        let forged = RefreshToken::first(UserId(Ulid(1)), Ulid(2), [[9; 32], [5; 32]]);
        assert!(!forged.is_of(&session));
    }

    #[test]
    fn texts_come_back_and_others_are_refused() {
        let token = RefreshToken::first(UserId(Ulid(1)), Ulid(2), [[3; 32], [4; 32]]);
        let text = token.render();
        assert_eq!(RefreshToken::parse(&text).unwrap().render(), text);
        for bad in ["", "x", &text[1..], &format!("{text}A"), &text.replace('A', "=")] {
            assert!(RefreshToken::parse(bad).is_none());
        }
    }
}
