//! Sessions: a sign-in and the refresh tokens that descend from it, of which only the newest is
//! good. The row is the referee: it says who may refresh, and while it is there the session's
//! access tokens are good. It knows digests only.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::identity::rows;
use kernel::identity::session::{Session, SessionName, Sessions};
use kernel::table::{Item, Key, Query, Table, TableError};
use kernel::{Problem, Time, UserId};
use sha2::{Digest, Sha256};

/// Bytes of a refresh token's text, at most. Cognito's part has about 1,800.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the part that is ours: the family's secret, its own secret, a check sum.
const OWN_BYTES: usize = 32 + 32 + CHECK_BYTES;
const CHECK_BYTES: usize = 16;

/// Sessions as the user service's own table knows them.
pub struct TableSessions(pub Arc<dyn Table>);

#[async_trait]
impl Sessions for TableSessions {
    async fn are_open(&self, sessions: &[SessionName]) -> Result<Vec<bool>, Problem> {
        let key = |name: &SessionName| rows::session_key(name.user, &name.session);
        let keys: Vec<_> = sessions.iter().map(key).collect();
        let found = self.0.get(&keys).await?;
        Ok(found.iter().map(Option::is_some).collect())
    }
}

/// A refresh token; secret, so not `Debug`. Its text is `user.session.own.cognito`.
pub(super) struct RefreshToken {
    pub(super) user: UserId,
    pub(super) session: String,
    family: [u8; 32],
    own: [u8; 32],
    /// What Cognito gave.
    pub(super) cognito: String,
}

impl RefreshToken {
    /// The first token of a new session, with secrets for the family and for itself.
    pub(super) fn first(
        user: UserId,
        session: String,
        secrets: [[u8; 32]; 2],
        cognito: String,
    ) -> Self {
        Self { user, session, family: secrets[0], own: secrets[1], cognito }
    }

    /// The token that takes this one's place.
    pub(super) fn next(&self, own: [u8; 32], cognito: String) -> Self {
        Self { user: self.user, session: self.session.clone(), family: self.family, own, cognito }
    }

    /// Tells a damaged token, which is none, from a used one, which ends its family.
    fn check(&self) -> [u8; CHECK_BYTES] {
        let mut digest = Sha256::new();
        digest.update(self.user.0.0.to_be_bytes());
        for part in [self.session.as_bytes(), &self.family, &self.own, self.cognito.as_bytes()] {
            digest.update(part);
        }
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&digest.finalize()[..CHECK_BYTES]);
        check
    }

    /// The text that the client keeps.
    pub(super) fn render(&self) -> String {
        let mut own = Vec::with_capacity(OWN_BYTES);
        own.extend_from_slice(&self.family);
        own.extend_from_slice(&self.own);
        own.extend_from_slice(&self.check());
        let own = URL_SAFE_NO_PAD.encode(own);
        format!("{}.{}.{own}.{}", self.user, self.session, self.cognito)
    }

    /// Reads a client's text; none when it cannot be a token.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = text.splitn(4, '.');
        let (user, session) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let own = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let (family, rest) = own.split_first_chunk::<32>()?;
        let (own, check) = rest.split_first_chunk::<32>()?;
        let cognito = parts.next()?.to_owned();
        let token = Self { user, session, family: *family, own: *own, cognito };
        (token.check() == check).then_some(token)
    }

    /// Where its session is kept.
    pub(super) fn key(&self) -> Key {
        rows::session_key(self.user, &self.session)
    }

    /// What to keep of the session while this is its newest token.
    pub(super) fn session(&self, started_at: Time) -> Session {
        Session::new(&self.family, &self.newest(), started_at)
    }

    /// Whether it was given out in that session, be it used or not.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        session.has(&self.family)
    }

    /// Whether it is that session's newest one.
    pub(super) fn is_newest_of(&self, session: &Session) -> bool {
        session.newest_is(&self.newest())
    }

    /// What is this token's own.
    fn newest(&self) -> [&[u8]; 2] {
        [&self.own, self.cognito.as_bytes()]
    }
}

/// Up to `limit` of a user's sessions, the oldest sign-in first.
pub(super) async fn oldest(
    table: &dyn Table,
    user: UserId,
    limit: usize,
) -> Result<Vec<Item>, TableError> {
    let mut items = table.query(Query::all(rows::sessions(user), limit)).await?.items;
    let mut ages = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        ages.push((item.json::<Session>()?.started_at(), item));
    }
    ages.sort_by_key(|(started_at, _)| *started_at);
    Ok(ages.into_iter().map(|(_, item)| item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    fn token() -> RefreshToken {
        let secrets = [[3; 32], [4; 32]];
        RefreshToken::first(UserId(Ulid(1)), "s-1".into(), secrets, "eyJ.a.b.c.d".into())
    }

    #[test]
    fn a_used_token_is_told_from_a_made_up_one() {
        let first = token();
        let next = first.next([5; 32], "eyJ.e".into());
        let session = next.session(Time::from_millis(0));
        assert!(next.is_of(&session) && next.is_newest_of(&session));
        assert!(first.is_of(&session) && !first.is_newest_of(&session));
        let other = RefreshToken { family: [9; 32], ..first.next([5; 32], "eyJ.e".into()) };
        assert!(!other.is_of(&session));
    }

    #[test]
    fn texts_come_back_and_damaged_ones_are_refused() {
        let text = token().render();
        assert_eq!(RefreshToken::parse(&text).unwrap().render(), text);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
            assert!(RefreshToken::parse(&String::from_utf8(bytes).unwrap()).is_none(), "{at}");
        }
        for bad in ["", "x", "....", &text[1..], &text[..text.len() - 1], &format!("{text}A")] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
