//! Dead letters, for the operator: look at them, queue them again, or drop them.

use async_trait::async_trait;
use kernel::bus::Message;
use kernel::queues::{DeadLetter, DeadPage, PAGE_MAX, QueueStats, Queues, Which};
use kernel::{Code, Problem, Time};
use tokio::sync::oneshot;

use super::committer::Job;
use super::store::{DeadRow, Kind};
use super::{Bus, engine};

#[async_trait]
impl Queues for Bus {
    async fn stats(&self) -> Result<Vec<QueueStats>, Problem> {
        Ok(Bus::stats(self))
    }

    async fn dead_list(
        &self,
        queue: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DeadPage, Problem> {
        let index = self.index(queue)?;
        let from = match after {
            None => 0,
            Some(id) => match self.place(id)? {
                (of, pos) if of == index => pos + 1,
                _ => return Err(Problem::invalid("after", "An id of this queue.")),
            },
        };
        let limit = limit.clamp(1, PAGE_MAX);
        // One more than asked for tells whether there is another page.
        let mut items = self.letters(index, from, limit + 1)?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| last.id.clone());
        Ok(DeadPage { items, next })
    }

    async fn dead_show(&self, id: &str) -> Result<DeadLetter, Problem> {
        let (queue, pos) = self.place(id)?;
        let found = self.letters(queue, pos, 1)?.pop();
        found.filter(|letter| letter.id == id).ok_or_else(|| Problem::not_found("dead letter"))
    }

    async fn dead_redrive(&self, which: Which<'_>) -> Result<u64, Problem> {
        self.bury(which, true).await
    }

    async fn dead_purge(&self, which: Which<'_>) -> Result<u64, Problem> {
        self.bury(which, false).await
    }
}

impl Bus {
    async fn bury(&self, which: Which<'_>, redrive: bool) -> Result<u64, Problem> {
        match which {
            Which::Queue(name) => {
                let queue = self.index(name)?;
                // What dies from now on is not meant, or a redrive might never end.
                let end = self.shared.queues[queue].state().tally.next;
                self.bury_range(queue, end, |_| true, redrive).await
            }
            Which::One(id) => {
                let (queue, pos) = self.place(id)?;
                match self.bury_some(queue, vec![pos], redrive).await? {
                    0 => Err(Problem::not_found("dead letter")),
                    count => Ok(count),
                }
            }
        }
    }

    /// Moves or drops, a page at a time, the dead letters below `end`, up to the first that is not
    /// `wanted`.
    async fn bury_range(
        &self,
        queue: usize,
        end: u64,
        wanted: impl Fn(&DeadRow) -> bool,
        redrive: bool,
    ) -> Result<u64, Problem> {
        let (mut count, mut from) = (0, 0);
        loop {
            let rows = self.rows(queue, (from, end), PAGE_MAX, |_| true)?;
            let meant = rows.iter().take_while(|(_, row)| wanted(row));
            let positions: Vec<u64> = meant.map(|(pos, _)| *pos).collect();
            let Some(last) = positions.last().copied() else { return Ok(count) };
            from = last + 1;
            count += self.bury_some(queue, positions, redrive).await?;
        }
    }

    async fn bury_some(
        &self,
        queue: usize,
        positions: Vec<u64>,
        redrive: bool,
    ) -> Result<u64, Problem> {
        let (done, answer) = oneshot::channel();
        self.ask(Job::Bury { queue, positions, redrive, done }, answer).await
    }

    /// Drops dead letters whose time is over. Positions ascend with time, so it stops at the first
    /// that is to stay.
    pub(super) async fn expire_dead(&self) -> Result<(), Problem> {
        let over = self.oldest_kept().millis();
        for (index, queue) in self.shared.queues.iter().enumerate() {
            if queue.state().tally.dead > 0 {
                self.bury_range(index, u64::MAX, |row| row.queued <= over, false).await?;
            }
        }
        Ok(())
    }

    fn oldest_kept(&self) -> Time {
        self.shared.clock.now() - self.shared.policy.retention
    }

    /// Up to `limit` rows of positions in `range` that are `wanted`.
    fn rows(
        &self,
        queue: usize,
        range: (u64, u64),
        limit: usize,
        wanted: impl Fn(&DeadRow) -> bool,
    ) -> Result<Vec<(u64, DeadRow)>, Problem> {
        let name = self.shared.queues[queue].name;
        let read = self.shared.read(|store| {
            let rows = store.walk(Kind::Dead, name, range).map(|(pos, row)| {
                let row = serde_json::from_slice(&row?).map_err(|error| error.to_string())?;
                Ok((pos, row))
            });
            let kept = rows.filter(|row| row.as_ref().map_or(true, |(_, row)| wanted(row)));
            kept.take(limit).collect()
        });
        read.map_err(engine)
    }

    /// Up to `limit` dead letters from position `from` on whose time is not over.
    fn letters(&self, queue: usize, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Problem> {
        let over = self.oldest_kept().millis();
        let rows = self.rows(queue, (from, u64::MAX), limit, |row| row.queued > over)?;
        Ok(rows.into_iter().map(|(pos, row)| self.letter(queue, pos, row)).collect())
    }

    fn letter(&self, queue: usize, pos: u64, row: DeadRow) -> DeadLetter {
        let message: Option<Message> = serde_json::from_str(row.message.get()).ok();
        DeadLetter {
            id: self.shared.id(queue, pos),
            queue: self.shared.queues[queue].name.to_owned(),
            reason: row.reason,
            receives: row.receives,
            queued_at: Time::from_millis(row.queued),
            died_at: Some(Time::from_millis(row.died)),
            traceparent: message.as_ref().and_then(|one| one.event.traceparent.clone()),
            message,
            body: row.message.get().to_owned(),
        }
    }

    /// The queue and position that an id names.
    fn place(&self, id: &str) -> Result<(usize, u64), Problem> {
        let unknown = || Problem::new(Code::NotFound, "There is no such dead letter.");
        let (queue, pos) = id.rsplit_once(':').ok_or_else(unknown)?;
        Ok((self.index(queue)?, pos.parse().map_err(|_| unknown())?))
    }
}
