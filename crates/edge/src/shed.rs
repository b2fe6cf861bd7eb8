//! Load shedding: above so many requests at work the next ones are refused before anything is done
//! for them, so that those at work are answered in time. A request counts from when its body is
//! there: a slow client takes no place.
//!
//! Most of what a refusal costs is the exchange itself, so a client that comes again at once,
//! whatever it is told, could still keep the server busy with refusals. That is why they are slow.

use std::time::Duration;

use kernel::{Code, Problem};
use metrics::{Counter, counter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::routes::Class;

/// Places of signing in: one for so many others. They are apart, so that people still get in while
/// everything else is refused.
const AUTH_SHARE: usize = 4;
/// When a client may come again.
const RETRY_AFTER_SECS: u64 = 1;
/// How long a refusal takes.
const PAUSE: Duration = Duration::from_millis(500);

/// The places there are.
pub(crate) struct Places {
    usual: Kind,
    auth: Kind,
}

struct Kind {
    free: Semaphore,
    shed: Counter,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { usual: Kind::new("usual", max), auth: Kind::new("auth", max.div_ceil(AUTH_SHARE)) }
    }

    /// Refuses where a request would find no place: asked before anything is done for it.
    pub(crate) async fn look(&self, class: Class) -> Result<(), Problem> {
        match self.kind(class) {
            Some(kind) if kind.free.available_permits() == 0 => Err(kind.refuse().await),
            _ => Ok(()),
        }
    }

    /// Takes a place until the permit is dropped.
    pub(crate) async fn take(&self, class: Class) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let Some(kind) = self.kind(class) else { return Ok(None) };
        match kind.free.try_acquire() {
            Ok(place) => Ok(Some(place)),
            Err(_) => Err(kind.refuse().await),
        }
    }

    /// What load balancers poll has no limit: it does little, and is the last thing to refuse.
    fn kind(&self, class: Class) -> Option<&Kind> {
        match class {
            Class::Usual => Some(&self.usual),
            Class::Auth => Some(&self.auth),
            Class::Exempt => None,
        }
    }
}

impl Kind {
    fn new(class: &'static str, max: usize) -> Self {
        let shed = counter!("http_requests_shed_total", "class" => class);
        Self { free: Semaphore::new(max.min(Semaphore::MAX_PERMITS)), shed }
    }

    async fn refuse(&self) -> Problem {
        self.shed.increment(1);
        tokio::time::sleep(PAUSE).await;
        Problem::new(Code::Overloaded, "The server is busy. Nothing was done; try again.")
            .retry_after_secs(RETRY_AFTER_SECS)
    }
}
