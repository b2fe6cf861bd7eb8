//! What became of the entries of a batch request, and sending those again that failed for a passing
//! reason. The SDK repeats whole requests by itself; this is for answers that took only some.

use std::error::Error;
use std::fmt;
use std::iter;
use std::time::Duration;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::future::BoxFuture;
use kernel::problem::told;
use kernel::{Problem, request};

/// A call to AWS that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{call}: {why}")]
pub struct Remote {
    call: &'static str,
    why: String,
}

impl Remote {
    pub(super) fn new<E, R>(call: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug,
    {
        Self { call, why: why(error) }
    }

    /// An answer that lacks what was asked for.
    pub(super) fn silent(call: &'static str) -> Self {
        Self { call, why: "the answer lacks what was asked for".to_owned() }
    }

    /// Entries that were refused.
    pub(super) fn refused(call: &'static str, why: impl Into<String>) -> Self {
        Self { call, why: why.into() }
    }
}

impl From<Remote> for Problem {
    fn from(error: Remote) -> Self {
        Problem::unavailable(error)
    }
}

/// The service's own words, or else the chain of causes.
pub(super) fn why<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug,
{
    if let Some(code) = error.code() {
        return format!("{code}: {}", error.message().unwrap_or("no message"));
    }
    told(error)
}

/// What became of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is safe.
    Taken,
    /// It may be taken another time.
    Later(String),
    /// It will not be taken.
    Never(String),
}

impl Fate {
    /// That of an entry which the answer does not name.
    pub(super) fn untold() -> Self {
        Self::Later("the answer says nothing of it".to_owned())
    }
}

/// How often to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// Rounds, at most.
    pub(super) most: u32,
    /// The pause before the second; each further one is twice as long.
    pub(super) pause: Duration,
}

impl Rounds {
    /// Sends `items`, and again those that may be taken another time, until the rounds or the
    /// request's time are over. `send` tells each item's fate in their order. Answers what was
    /// refused, and why.
    pub(super) async fn send<'a, T: Clone>(
        self,
        items: Vec<T>,
        send: impl Fn(Vec<T>) -> BoxFuture<'a, Vec<Fate>>,
    ) -> Vec<(T, String)> {
        let (mut left, mut refused) = (items, Vec::new());
        let mut pause = self.pause;
        for round in 1.. {
            let fates = send(left.clone()).await.into_iter();
            let untold = iter::repeat_with(Fate::untold);
            let mut again = Vec::new();
            for (item, fate) in left.into_iter().zip(fates.chain(untold)) {
                match fate {
                    Fate::Taken => {}
                    Fate::Later(why) => again.push((item, why)),
                    Fate::Never(why) => refused.push((item, why)),
                }
            }
            let over = round >= self.most || request::time_left(Duration::MAX) <= pause * 2;
            if again.is_empty() || over {
                refused.extend(again);
                break;
            }
            // Half of it by chance: those who were throttled together must not come together again.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause *= 2;
            left = again.into_iter().map(|(item, _)| item).collect();
        }
        refused
    }
}

/// Cuts `items` into requests of at most ten, and of at most `bytes_max` in all; an item that is
/// larger by itself goes alone.
pub(super) fn tens<T>(items: Vec<T>, bytes_max: usize, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut requests, mut sum) = (Vec::<Vec<T>>::new(), 0);
    for item in items {
        let size = bytes(&item);
        match requests.last_mut() {
            Some(last) if last.len() < 10 && sum + size <= bytes_max => {
                last.push(item);
                sum += size;
            }
            _ => {
                requests.push(vec![item]);
                sum = size;
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn rounds(most: u32) -> Rounds {
        Rounds { most, pause: Duration::from_millis(1) }
    }

    #[test]
    fn requests_hold_ten_at_most_and_no_more_bytes_than_allowed() {
        let cut = tens((0..25).collect(), 1000, |_| 1);
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        let cut = tens(vec![60, 50, 40, 10, 200, 1], 100, |size| *size);
        assert_eq!(cut, [vec![60], vec![50, 40, 10], vec![200], vec![1]]);
    }

    #[tokio::test]
    async fn only_what_may_be_taken_later_is_sent_again() {
        let sent = Mutex::new(Vec::new());
        let refused = rounds(3)
            .send(vec!["good", "slow", "bad"], |items| {
                let first = sent.lock().unwrap().is_empty();
                sent.lock().unwrap().push(items.clone());
                let fates = items.into_iter().map(|item| match item {
                    "bad" => Fate::Never("wrong".into()),
                    "slow" if first => Fate::Later("slow down".into()),
                    _ => Fate::Taken,
                });
                let fates = fates.collect();
                Box::pin(async { fates })
            })
            .await;
        assert_eq!(refused, [("bad", "wrong".to_owned())]);
        assert_eq!(*sent.lock().unwrap(), [vec!["good", "slow", "bad"], vec!["slow"]]);
    }

    #[tokio::test]
    async fn rounds_end() {
        let refused = rounds(2).send(vec![1, 2], |_| Box::pin(async { Vec::new() })).await;
        let untold = "the answer says nothing of it".to_owned();
        assert_eq!(refused, [(1, untold.clone()), (2, untold)]);
        let refused =
            rounds(2).send(vec![1], |_| Box::pin(async { vec![Fate::Later("no".into())] })).await;
        assert_eq!(refused, [(1, "no".to_owned())]);
    }
}
