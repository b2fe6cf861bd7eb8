//! Opening a storage engine, and refusing what it made of its files.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use tracing::subscriber::{NoSubscriber, with_default};

use crate::directory::{Directory, OpenError, damaged};

/// Opens (or makes) the engine of `directory` with `start` and checks that it reaches the
/// directory's position. Also gives the number of its last batch, which `position` reads.
pub(crate) fn open<E>(
    directory: &Directory,
    start: impl FnOnce(&Path) -> fjall::Result<E>,
    position: impl FnOnce(&E) -> fjall::Result<u64>,
) -> Result<(E, u64), OpenError> {
    let path = &directory.path;
    directory.check_whole()?;
    directory.trust().map_err(|source| {
        let what = "writing its journals again";
        OpenError::Io { dir: path.clone(), what, source }
    })?;
    let started = quietly(|| {
        let engine = start(directory.engine())?;
        let stored = position(&engine)?;
        Ok((engine, stored))
    });
    let (engine, stored) = match started {
        Some(started) => started.map_err(|error| refusal(path, error))?,
        None => return Err(damaged(path, "the storage engine cannot make sense of it")),
    };
    let answered = directory.last_position()?;
    if stored < answered {
        let what = format!("its data ends at batch {stored}, but {answered} were answered");
        return Err(damaged(path, what));
    }
    Ok((engine, stored))
}

/// How long to wait between two times of opening an engine that failed, at first and at most.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// When a failed engine may be opened again: at once, and then ever less often, for opening reads
/// all journals and readers are refused meanwhile.
#[derive(Default)]
pub(crate) struct Backoff {
    wait: Duration,
    not_before: Option<Instant>,
}

impl Backoff {
    /// Whether it may be opened at `now`; then the next time is counted from here.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        let was_well = self.not_before.is_none_or(|at| now > at + WAIT_MAX);
        self.wait = if was_well { WAIT_MIN } else { (2 * self.wait).min(WAIT_MAX) };
        self.not_before = Some(now + self.wait);
        true
    }
}

thread_local! {
    /// Whether a panic of this thread is expected, so that nothing is printed of it.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs what has assertions about what it finds on disk; none when one of them did not hold.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
    QUIET.set(true);
    // What the engine logs of what it finds comes back as its error, in one line.
    let silent = || with_default(NoSubscriber::default(), work);
    let outcome = catch_unwind(AssertUnwindSafe(silent));
    QUIET.set(false);
    outcome.ok()
}

fn refusal(path: &Path, error: fjall::Error) -> OpenError {
    let source = match error {
        fjall::Error::Locked => return OpenError::InUse { dir: path.to_owned() },
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => source,
        other => return damaged(path, format!("the storage engine refuses it: {other:?}")),
    };
    match source.kind() {
        // The last one is a seek to before the beginning, by a length that makes no sense.
        io::ErrorKind::NotFound
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput => {
            damaged(path, format!("the storage engine refuses it: {source}"))
        }
        _ => OpenError::Io { dir: path.to_owned(), what: "opening the storage engine", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_again_is_tried_ever_less_often_until_all_was_well_for_long() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        let allowed =
            (0..600_000_u64).filter(|ms| backoff.allows(start + Duration::from_millis(*ms)));
        let allowed: Vec<u64> = allowed.collect();
        assert_eq!(allowed[..5], [0, 100, 300, 700, 1500]);
        assert!(allowed.windows(2).all(|pair| pair[1] - pair[0] <= 30_000));
        assert!(allowed.len() < 30, "{allowed:?}");
        let rested = start + Duration::from_secs(700);
        assert!(backoff.allows(rested));
        assert!(backoff.allows(rested + WAIT_MIN), "it begins anew");
    }
}
