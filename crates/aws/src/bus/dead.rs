//! Dead letters, for the operator: look at them, queue them again, or drop them.
//!
//! SQS finds no message by its id, so looking means receiving: every letter is hidden for as long
//! as it takes, and shown again at once. Two operators who look at the same moment see parts.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use kernel::queues::{DeadLetter, DeadPage, PAGE_MAX, QueueStats, Queues, Which};
use kernel::{Code, Problem, Time};

use super::message::read;
use super::receive::{RECEIVE_MAX, Receive, Received};
use super::retry::Remote;
use super::send::Parcel;
use super::{AwsBus, Side};

/// Letters that a look takes in, at most; and their bytes. Others are beyond its reach until some
/// of these are gone.
const LETTERS_MAX: usize = 2_000;
const BYTES_MAX: usize = 16 << 20;
/// How long letters are hidden while they are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// A receive that waits asks all of SQS's servers, so that an empty answer means an empty queue.
const WAIT: Duration = Duration::from_secs(1);

const TAKE: Receive = Receive { most: RECEIVE_MAX, wait: WAIT, hidden: Some(LOOK) };

#[async_trait]
impl Queues for AwsBus {
    async fn stats(&self) -> Result<Vec<QueueStats>, Problem> {
        self.all_stats().await
    }

    async fn dead_list(
        &self,
        queue: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DeadPage, Problem> {
        let index = self.index(queue)?;
        let mut letters = self.look(index).await?;
        if let Some(after) = after {
            let found = letters.iter().position(|letter| letter.id == after);
            let found = found.ok_or_else(|| Problem::invalid("after", "An id of this queue."))?;
            letters.drain(..=found);
        }
        let limit = limit.clamp(1, PAGE_MAX);
        let more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().filter(|_| more).map(|last| last.id.clone());
        Ok(DeadPage { items: letters, next })
    }

    async fn dead_show(&self, id: &str) -> Result<DeadLetter, Problem> {
        let (index, _) = self.place(id)?;
        let found = self.look(index).await?.into_iter().find(|letter| letter.id == id);
        found.ok_or_else(unknown)
    }

    async fn dead_redrive(&self, which: Which<'_>) -> Result<u64, Problem> {
        match which {
            Which::Queue(queue) => self.empty(self.index(queue)?, true).await,
            Which::One(id) => self.one(id, true).await,
        }
    }

    async fn dead_purge(&self, which: Which<'_>) -> Result<u64, Problem> {
        match which {
            Which::Queue(queue) => self.empty(self.index(queue)?, false).await,
            Which::One(id) => self.one(id, false).await,
        }
    }
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "There is no such dead letter.")
}

impl AwsBus {
    /// The queue and SQS's id that an id names.
    fn place<'a>(&self, id: &'a str) -> Result<(usize, &'a str), Problem> {
        let (queue, id) = id.rsplit_once(':').ok_or_else(unknown)?;
        Ok((self.index(queue)?, id))
    }

    /// All letters within reach, oldest first.
    async fn look(&self, index: usize) -> Result<Vec<DeadLetter>, Problem> {
        let url = self.url(index, Side::Dead).await?;
        let taken = self.take(url).await?;
        self.show_again(url, &taken).await;
        let mut letters: Vec<DeadLetter> =
            taken.into_iter().map(|message| self.letter(index, message)).collect();
        letters.sort_by(|a, b| (a.queued_at, &a.id).cmp(&(b.queued_at, &b.id)));
        Ok(letters)
    }

    /// Receives letters until there are no more, or too many to hold.
    async fn take(&self, url: &str) -> Result<Vec<Received>, Remote> {
        let mut taken = HashMap::new();
        let mut bytes = 0;
        while taken.len() < LETTERS_MAX && bytes < BYTES_MAX {
            let some = match self.receive(url, TAKE).await {
                Ok(some) => some,
                Err(error) => {
                    self.show_again(url, taken.values()).await;
                    return Err(error);
                }
            };
            if some.is_empty() {
                break;
            }
            bytes += some.iter().map(|message| message.body.len()).sum::<usize>();
            taken.extend(some.into_iter().map(|message| (message.id.clone(), message)));
        }
        Ok(taken.into_values().collect())
    }

    async fn show_again(&self, url: &str, letters: impl IntoIterator<Item = &Received>) {
        let receipts = letters.into_iter().map(|letter| letter.receipt.clone()).collect();
        self.hide(url, receipts, Duration::ZERO).await;
    }

    fn letter(&self, index: usize, message: Received) -> DeadLetter {
        let queue = self.queues[index].spec.name;
        let content = read(&message.body).ok();
        let receives_max = self.config.policy.receives_max;
        let (reason, receives, queued_at, died_at) = match message.note {
            Some(note) => (note.reason, note.receives, note.queued_at, Some(note.died_at)),
            None => {
                let reason = "SQS moved it and keeps no reason: its last receive was never \
                              answered, or see the consumer's log for its id";
                (reason.to_owned(), receives_max, message.sent, None)
            }
        };
        DeadLetter {
            id: format!("{queue}:{}", message.id),
            queue: queue.to_owned(),
            reason,
            receives,
            queued_at,
            died_at,
            traceparent: content.as_ref().and_then(|one| one.event.traceparent.clone()),
            message: content,
            body: message.body,
        }
    }

    /// Moves or drops one letter.
    async fn one(&self, id: &str, redrive: bool) -> Result<u64, Problem> {
        let (index, id) = self.place(id)?;
        let url = self.url(index, Side::Dead).await?;
        let (meant, others): (Vec<_>, Vec<_>) =
            self.take(url).await?.into_iter().partition(|letter| letter.id == id);
        self.show_again(url, &others).await;
        if meant.is_empty() {
            return Err(unknown());
        }
        let (count, left) = self.bury_for_good(index, meant, redrive).await?;
        self.show_again(url, &left).await;
        // It is there, but this release cannot read it.
        if count == 0 { Err(unknown()) } else { Ok(count) }
    }

    /// Moves or drops all letters of a queue. What dies from now on is not meant, or a redrive
    /// might never end: a message that fails again is hidden before it dies.
    async fn empty(&self, index: usize, redrive: bool) -> Result<u64, Problem> {
        let url = self.url(index, Side::Dead).await?;
        let end = self.clock.now() + self.config.policy.visibility / 2;
        let (mut count, mut left) = (0, Vec::new());
        let ended = loop {
            let some = match self.receive(url, TAKE).await {
                Ok(some) if some.is_empty() => break Ok(()),
                Ok(some) => some,
                Err(error) => break Err(error.into()),
            };
            let (meant, later): (Vec<_>, Vec<_>) =
                some.into_iter().partition(|letter| died(letter) <= end);
            left.extend(later);
            match self.bury_for_good(index, meant, redrive).await {
                Ok((gone, kept)) => {
                    count += gone;
                    left.extend(kept);
                }
                Err(problem) => break Err(problem),
            }
            if left.len() >= LETTERS_MAX {
                break Ok(());
            }
        };
        self.show_again(url, &left).await;
        ended.map(|()| count)
    }

    /// Sends letters to their queue where they are to be redriven, and deletes them; answers how
    /// many, and those that stay because this release cannot read them.
    async fn bury_for_good(
        &self,
        index: usize,
        letters: Vec<Received>,
        redrive: bool,
    ) -> Result<(u64, Vec<Received>), Problem> {
        let url = self.url(index, Side::Dead).await?;
        let (mut gone, mut left) = (letters, Vec::new());
        let mut failure = None;
        if redrive {
            (gone, left) = gone.into_iter().partition(|letter| read(&letter.body).is_ok());
            let live = self.url(index, Side::Live).await?;
            let parcels = gone.iter().enumerate().map(|(index, letter)| Parcel {
                index,
                body: letter.body.clone(),
                trace: read(&letter.body).ok().and_then(|one| one.event.trace()),
                note: None,
            });
            let refused = self.send(live, parcels.collect()).await;
            failure = refused.first().map(|(_, why)| Remote::refused("SendMessageBatch", why));
            let stay = |index: &usize| refused.iter().any(|(refused, _)| refused == index);
            let (stayed, sent): (Vec<_>, Vec<_>) =
                gone.into_iter().enumerate().partition(|(index, _)| stay(index));
            self.show_again(url, stayed.iter().map(|(_, letter)| letter)).await;
            gone = sent.into_iter().map(|(_, letter)| letter).collect();
        }
        let count = gone.len();
        let receipts = gone.into_iter().map(|letter| letter.receipt).collect();
        let kept = self.delete(url, receipts).await;
        let failure = failure
            .or_else(|| kept.first().map(|(_, why)| Remote::refused("DeleteMessageBatch", why)));
        match failure {
            Some(error) => Err(error.into()),
            None => Ok((u64::try_from(count).unwrap_or(u64::MAX), left)),
        }
    }
}

/// When a letter came here, as far as it is known.
fn died(letter: &Received) -> Time {
    letter.note.as_ref().map_or(letter.sent, |note| note.died_at)
}
