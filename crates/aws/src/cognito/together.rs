//! Questions about sessions that come at the same moment go together: a frame may go to thousands
//! of sockets, and each of them asks.
//!
//! Whoever comes while nobody is asking asks at once, so that nobody waits for company. Who comes
//! while others are asking waits for the next question, never for an answer that is older than
//! themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::Problem;
use kernel::identity::session::{SessionName, Sessions};
use kernel::table::GET_KEYS_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Questions under way at once.
const AT_ONCE: usize = 4;

/// Who waits for the answer about a session.
type Askers = Vec<oneshot::Sender<Result<bool, Problem>>>;

/// Those who ask, gathered.
pub(super) struct Together(Arc<Shared>);

struct Shared {
    sessions: Arc<dyn Sessions>,
    waiting: Mutex<HashMap<SessionName, Askers>>,
    turns: Arc<Semaphore>,
}

impl Together {
    /// Asks `sessions`.
    pub(super) fn new(sessions: Arc<dyn Sessions>) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self(Arc::new(Shared { sessions, waiting: Mutex::default(), turns }))
    }

    /// Whether a session is open.
    pub(super) async fn is_open(&self, name: SessionName) -> Result<bool, Problem> {
        let (tell, told) = oneshot::channel();
        self.0.waiting().entry(name).or_default().push(tell);
        self.0.go();
        // Nobody tells only where the runtime ends.
        told.await.unwrap_or_else(|gone| Err(Problem::unavailable(gone)))
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<SessionName, Askers>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for those who wait, unless so many are asking already: they go on with the rest. A task
    /// of its own, since no asker's hurry or departure may be another's.
    fn go(self: &Arc<Self>) {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            tokio::spawn(Arc::clone(self).work(turn));
        }
    }

    async fn work(self: Arc<Self>, turn: OwnedSemaphorePermit) {
        while let Some((names, askers)) = self.next() {
            match self.sessions.are_open(&names).await {
                Ok(open) => {
                    for (askers, open) in askers.into_iter().zip(open) {
                        askers.into_iter().for_each(|asker| drop(asker.send(Ok(open))));
                    }
                }
                Err(problem) => {
                    let askers = askers.into_iter().flatten();
                    askers.for_each(|asker| drop(asker.send(Err(problem.clone()))));
                }
            }
        }
        drop(turn);
        // Somebody may have come between the last look and the end of the turn.
        if !self.waiting().is_empty() {
            self.go();
        }
    }

    fn next(&self) -> Option<(Vec<SessionName>, Vec<Askers>)> {
        let mut waiting = self.waiting();
        let names: Vec<_> = waiting.keys().take(GET_KEYS_MAX).cloned().collect();
        let askers = names.iter().filter_map(|name| waiting.remove(name)).collect();
        (!names.is_empty()).then_some((names, askers))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures_util::future::join_all;
    use kernel::{Code, UserId};
    use tokio::sync::Notify;

    use super::*;

    /// Answers only when told; sessions of even number are open.
    struct Slow {
        asked: Mutex<Vec<usize>>,
        arrived: Notify,
        go: Semaphore,
    }

    impl Slow {
        fn new() -> Arc<Self> {
            let go = Semaphore::new(0);
            Arc::new(Self { asked: Mutex::default(), arrived: Notify::new(), go })
        }
    }

    #[async_trait]
    impl Sessions for Slow {
        async fn are_open(&self, sessions: &[SessionName]) -> Result<Vec<bool>, Problem> {
            self.asked.lock().unwrap().push(sessions.len());
            self.arrived.notify_one();
            self.go.acquire().await.unwrap().forget();
            if sessions.iter().any(|name| name.session == "broken") {
                return Err(Problem::unavailable(std::io::Error::other("down")));
            }
            Ok(sessions.iter().map(|name| name.user.0.0 % 2 == 0).collect())
        }
    }

    fn name(number: u128) -> SessionName {
        SessionName { user: UserId(number.into()), session: "s".to_owned() }
    }

    #[tokio::test]
    async fn who_asks_alone_asks_at_once_and_the_others_together() {
        let slow = Slow::new();
        let together = Arc::new(Together::new(Arc::clone(&slow) as _));
        let mut alone = Vec::new();
        for number in 0..4 {
            let together = Arc::clone(&together);
            alone.push(tokio::spawn(async move { together.is_open(name(number)).await.unwrap() }));
            slow.arrived.notified().await;
        }
        // Each of them twice.
        let asked = (0..300).map(|number| together.is_open(name(number % 150)));
        let crowd = async { join_all(asked).await };
        let answering = async {
            tokio::task::yield_now().await;
            slow.go.add_permits(100);
        };
        let (crowd, ()) = tokio::join!(crowd, answering);
        for (number, open) in (0_u128..).zip(crowd) {
            assert_eq!(open.unwrap(), number % 150 % 2 == 0);
        }
        for (number, asked) in alone.into_iter().enumerate() {
            assert_eq!(asked.await.unwrap(), number % 2 == 0);
        }
        let asked = slow.asked.lock().unwrap().clone();
        assert_eq!(asked[..4], [1, 1, 1, 1]);
        assert_eq!(asked[4..], [100, 50]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_asked_and_to_nobody_after_them() {
        let slow = Slow::new();
        slow.go.add_permits(10);
        let together = Together::new(Arc::clone(&slow) as _);
        let broken = SessionName { session: "broken".to_owned(), ..name(2) };
        let (one, two) = tokio::join!(together.is_open(broken.clone()), together.is_open(broken));
        assert_eq!(one.unwrap_err().code, Code::Unavailable);
        assert_eq!(two.unwrap_err().code, Code::Unavailable);
        assert!(together.is_open(name(2)).await.unwrap());
    }

    #[tokio::test]
    async fn one_who_goes_away_takes_nobody_along() {
        let slow = Slow::new();
        let together = Arc::new(Together::new(Arc::clone(&slow) as _));
        let leaver = tokio::spawn({
            let together = Arc::clone(&together);
            async move { together.is_open(name(2)).await }
        });
        slow.arrived.notified().await;
        leaver.abort();
        assert!(leaver.await.unwrap_err().is_cancelled());
        slow.go.add_permits(10);
        assert!(!together.is_open(name(3)).await.unwrap());
    }
}
