//! Letters to people.

use async_trait::async_trait;

use crate::Problem;

/// A letter in plain text; what it says may be secret, so not `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The address.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
}

/// Who brings letters.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands the letter on. Whether it arrives is told nobody.
    async fn send(&self, letter: Letter) -> Result<(), Problem>;
}
