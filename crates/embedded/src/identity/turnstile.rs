//! Sign-ins of one account take turns, so that many at once cannot pass its limit together.

use kernel::Problem;
use kernel::identity::rows::slot;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

use super::password::{in_patience, too_busy};

/// Accounts share this many turnstiles.
const TURNSTILES: usize = 256;
/// Sign-ins at one of them, at most: at about 40 ms each the last is through within 2 s, of the
/// 2.5 s that a request has. That is two whole bursts of `/auth/*`, which are 20 for an address.
const WAITING_MAX: usize = 48;

struct Turnstile {
    waiting: Semaphore,
    turn: Mutex<()>,
}

/// All turnstiles.
pub(super) struct Turnstiles(Vec<Turnstile>);

/// An account's turn, which ends when this is dropped.
pub(super) struct Turn<'a> {
    _turn: MutexGuard<'a, ()>,
    _place: SemaphorePermit<'a>,
}

impl Default for Turnstiles {
    fn default() -> Self {
        let fresh = || Turnstile { waiting: Semaphore::new(WAITING_MAX), turn: Mutex::new(()) };
        Self(std::iter::repeat_with(fresh).take(TURNSTILES).collect())
    }
}

impl Turnstiles {
    /// Waits for the turn of `account`, the digest of an address; 429 when too many do.
    pub(super) async fn enter(&self, account: &str) -> Result<Turn<'_>, Problem> {
        let turnstile = &self.0[slot(account, TURNSTILES)];
        let place = turnstile.waiting.try_acquire().map_err(too_busy)?;
        Ok(Turn { _turn: in_patience(turnstile.turn.lock()).await?, _place: place })
    }
}
