//! Who is asking, as proved by an access token.

use crate::{Time, UserId};

/// The signed-in person behind a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The person.
    pub user_id: UserId,
    /// The sign-in (refresh-token family) that the token belongs to; revoking it ends the token.
    pub session: String,
    /// When the token stops being good.
    pub expires_at: Time,
}
