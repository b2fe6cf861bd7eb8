//! Load shedding: above so many requests at work the next ones are refused, at once and cheaply, so
//! that those at work are answered in time. A request counts from when its body is there: a slow
//! client takes no place.

use kernel::{Code, Problem};
use metrics::{Counter, counter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::routes::Class;

/// Places of signing in, as a share of the others. They are apart, so that people still get in while
/// everything else is refused.
const AUTH_SHARE: usize = 4;
/// When a client may come again.
const RETRY_AFTER_SECS: u64 = 1;

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
    pub(crate) fn look(&self, class: Class) -> Result<(), Problem> {
        match self.kind(class) {
            Some(kind) if kind.free.available_permits() == 0 => Err(kind.refuse()),
            _ => Ok(()),
        }
    }

    /// Takes a place until the permit is dropped.
    pub(crate) fn take(&self, class: Class) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let Some(kind) = self.kind(class) else { return Ok(None) };
        kind.free.try_acquire().map(Some).map_err(|_| kind.refuse())
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

    fn refuse(&self) -> Problem {
        self.shed.increment(1);
        Problem::new(Code::Overloaded, "The server is busy. Nothing was done; try again.")
            .retry_after_secs(RETRY_AFTER_SECS)
    }
}
