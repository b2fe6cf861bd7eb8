//! The one writer: a thread that takes everything asked of it meanwhile into one batch, so that
//! many publishers share one sync. What needs no sync of its own (a message is done, or failed)
//! rides along, or goes to the operating system at once: that outlives the process, if not a power
//! cut, and after a power cut it comes again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use fjall::{PersistMode, Slice};
use kernel::Time;
use kernel::bus::Message;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::queue::State;
use super::store::{
    DeadRow, Kind, POSITION_KEY, Store, Tally, Tries, dead_row, json, key, sealed, tally_key,
};
use crate::backup::Row as RawRow;
use crate::opening::Backoff;
use crate::pace;

/// Jobs in one batch, at most.
const GROUP_JOBS_MAX: usize = 1_000;
/// Rows after which a batch takes no further job.
const GROUP_ROWS_MAX: usize = 10_000;

/// A message for one queue.
pub(super) struct Row {
    pub queue: usize,
    pub queued: Time,
    pub message: Arc<Message>,
    pub body: Slice,
}

/// A message that is done with.
pub(super) struct Done {
    pub pos: u64,
    /// It was tried before, so there are tries to forget.
    pub tried: bool,
}

/// A message that failed and comes again, or does not.
pub(super) struct Failure {
    pub pos: u64,
    pub tries: Tries,
    /// When it shows again; none sends it to the dead letters.
    pub until: Option<Time>,
}

/// Something to write.
pub(super) enum Job {
    /// New messages; durable when answered.
    Append { rows: Vec<Row>, done: oneshot::Sender<Result<(), String>> },
    /// What became of messages in hand; nobody waits. With nothing to tell it makes the committer
    /// look after a failed engine.
    Settle { queue: usize, epoch: u64, done: Vec<Done>, failed: Vec<Failure> },
    /// Dead letters to remove, or to queue again; answers how many there were.
    Bury {
        queue: usize,
        positions: Vec<u64>,
        redrive: bool,
        done: oneshot::Sender<Result<u64, String>>,
    },
    /// Syncs all that came before.
    Flush { done: oneshot::Sender<Result<(), String>> },
}

enum Answer {
    Done(oneshot::Sender<Result<(), String>>),
    Count(oneshot::Sender<Result<u64, String>>, u64),
}

/// What a batch changes in one queue.
struct Change {
    tally: Tally,
    appended: Vec<(u64, Row)>,
    gone: Vec<u64>,
    /// Failed ones, when they show again, and the receives that count.
    hidden: Vec<(u64, Time, u32)>,
}

/// One batch in the making, and what to do once it is committed.
#[derive(Default)]
struct Group {
    writes: Vec<RawRow>,
    /// Rows that were written once, never will be again, and are removed.
    spent: Vec<Slice>,
    sync: bool,
    /// Why nothing can be queued at present, once it was asked.
    room: Option<Result<(), String>>,
    changes: BTreeMap<usize, Change>,
    buried: HashSet<(usize, u64)>,
    answers: Vec<Answer>,
}

/// The thread's state.
pub(super) struct Committer {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedReceiver<Job>,
    tallies: Vec<Tally>,
    /// Counts the times the engine was opened again: what was taken before is not settled.
    epoch: u64,
    /// The number of the last batch.
    position: u64,
    backoff: Backoff,
}

impl Group {
    fn put(&mut self, key: Vec<u8>, value: Slice) {
        self.writes.push((key.into(), Some(value)));
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.writes.push((key.into(), None));
    }
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: mpsc::UnboundedReceiver<Job>,
        tallies: Vec<Tally>,
        position: u64,
    ) -> Self {
        Self { shared, jobs, tallies, epoch: 0, position, backoff: Backoff::default() }
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut group = Group::default();
            let mut next = Some(first);
            let mut jobs = 0;
            while let Some(job) = next {
                self.add(&mut group, job);
                jobs += 1;
                let room = jobs < GROUP_JOBS_MAX && group.writes.len() < GROUP_ROWS_MAX;
                next = room.then(|| self.jobs.try_recv().ok()).flatten();
            }
            self.commit(group);
        }
        match self.shared.read(sync) {
            Ok(()) => self.tell_position(),
            Err(error) => tracing::error!(error, "the queues could not be synced at the end"),
        }
    }

    /// Writes down how far the data reaches, once that much of it is synced: a power cut may keep
    /// this and lose what is not.
    fn tell_position(&self) {
        if let Err(error) = self.shared.directory.position.write(self.position) {
            // The data is safe; only a later loss of its tail might go unnoticed.
            tracing::error!(%error, "POSITION was not written");
        }
    }

    /// Whether the disk has room for more.
    fn room(&self, group: &mut Group) -> Result<(), String> {
        let ask = || {
            let spare = self.shared.read(|store| {
                store.spare_bytes(&self.shared.directory).map_err(|error| error.to_string())
            })?;
            let floor = self.shared.options.free_space_floor_bytes;
            if spare < floor {
                return Err(format!("{spare} bytes of disk space are left, {floor} are needed"));
            }
            Ok(())
        };
        group.room.get_or_insert_with(ask).clone()
    }

    fn add(&self, group: &mut Group, job: Job) {
        match job {
            Job::Append { rows, done } => {
                if let Err(full) = self.room(group) {
                    return drop(done.send(Err(full)));
                }
                group.sync = true;
                rows.into_iter().for_each(|row| self.append(group, row));
                group.answers.push(Answer::Done(done));
            }
            Job::Settle { epoch, .. } if epoch != self.epoch => {}
            Job::Settle { queue, done, failed, .. } => {
                for Done { pos, tried } in done {
                    self.forget(group, queue, pos, tried);
                }
                for failure in failed {
                    self.fail(group, queue, failure);
                }
            }
            Job::Bury { queue, positions, redrive, done } => {
                group.sync = true;
                let room = if redrive { self.room(group) } else { Ok(()) };
                match room.and_then(|()| self.bury(group, queue, &positions, redrive)) {
                    Ok(count) => group.answers.push(Answer::Count(done, count)),
                    Err(error) => drop(done.send(Err(error))),
                }
            }
            Job::Flush { done } => {
                group.sync = true;
                group.answers.push(Answer::Done(done));
            }
        }
    }

    fn change<'a>(&self, group: &'a mut Group, queue: usize) -> &'a mut Change {
        group.changes.entry(queue).or_insert_with(|| Change {
            tally: self.tallies[queue],
            appended: Vec::new(),
            gone: Vec::new(),
            hidden: Vec::new(),
        })
    }

    fn name(&self, queue: usize) -> &'static str {
        self.shared.queues[queue].name
    }

    fn append(&self, group: &mut Group, row: Row) {
        let (name, body) = (self.name(row.queue), row.body.clone());
        let change = self.change(group, row.queue);
        let pos = change.tally.next;
        change.tally.next += 1;
        change.tally.live += 1;
        change.appended.push((pos, row));
        group.put(key(Kind::Message, name, pos), body);
    }

    /// Takes a message off the queue.
    fn forget(&self, group: &mut Group, queue: usize, pos: u64, tried: bool) {
        let change = self.change(group, queue);
        change.tally.live -= 1;
        change.gone.push(pos);
        let name = self.name(queue);
        group.spent.push(key(Kind::Message, name, pos).into());
        if tried {
            group.remove(key(Kind::Tries, name, pos));
        }
    }

    fn fail(&self, group: &mut Group, queue: usize, failure: Failure) {
        let name = self.name(queue);
        let Failure { pos, tries, until } = failure;
        if let Some(until) = until {
            group.put(key(Kind::Tries, name, pos), json(&tries));
            self.change(group, queue).hidden.push((pos, until, tries.receives));
            return;
        }
        match self.shared.read(|store| store.get(Kind::Message, name, pos)) {
            Ok(Some(row)) => {
                let now = self.shared.clock.now();
                let dead = dead_row(&row, now, tries.receives, &tries.reason);
                group.put(key(Kind::Dead, name, pos), json(&dead));
                self.change(group, queue).tally.dead += 1;
                self.forget(group, queue, pos, true);
            }
            Ok(None) => self.forget(group, queue, pos, true),
            Err(error) => {
                // It stays; the next receive tries again to lay it aside.
                tracing::error!(queue = name, pos, error, "a message cannot be read");
                let until = self.shared.hidden_until();
                self.change(group, queue).hidden.push((pos, until, tries.receives));
            }
        }
    }

    fn bury(
        &self,
        group: &mut Group,
        queue: usize,
        positions: &[u64],
        redrive: bool,
    ) -> Result<u64, String> {
        let name = self.name(queue);
        let mut count = 0;
        for pos in positions.iter().copied() {
            let found = self.shared.read(|store| store.get(Kind::Dead, name, pos))?;
            let Some(bytes) = found else { continue };
            if !group.buried.insert((queue, pos)) {
                continue;
            }
            if redrive {
                let Some(message) = revived(&bytes) else {
                    // It stays where it can be looked at.
                    tracing::warn!(queue = name, pos, "a dead letter cannot be read");
                    continue;
                };
                // As with SQS, a message queued again is a new one: its time begins anew.
                let queued = self.shared.clock.now();
                let body = super::store::row(&message, queued);
                self.append(group, Row { queue, queued, message: Arc::new(message), body });
            }
            group.remove(key(Kind::Dead, name, pos));
            self.change(group, queue).tally.dead -= 1;
            count += 1;
        }
        Ok(count)
    }

    fn commit(&mut self, mut group: Group) {
        let writes = &mut group.writes;
        for (queue, Change { tally, .. }) in &mut group.changes {
            // The window still holds what this batch removes, so the head may lag; never lead.
            let head = self.shared.queues[*queue].state().head();
            tally.head = if tally.live == 0 { tally.next } else { head };
            writes.push((tally_key(self.name(*queue)).into(), Some(json(tally))));
        }
        let (mut writes, spent) = (std::mem::take(writes), std::mem::take(&mut group.spent));
        let mut position = self.position;
        if !writes.is_empty() {
            position += 1;
            for (key, value) in &mut writes {
                *value = value.take().map(|it| sealed(&self.shared.cipher, position, key, it));
            }
            writes.push((POSITION_KEY.into(), Some(Slice::from(position.to_le_bytes()))));
        }
        let tap = self.shared.tap().filter(|_| !writes.is_empty());
        let tapped = tap.map(|tap| {
            let gone = spent.iter().map(|key| (key.clone(), None));
            (tap.begin(), writes.iter().cloned().chain(gone).collect(), tap)
        });
        match self.shared.read(|store| write(store, writes, spent, group.sync)) {
            Ok(()) => {
                if let Some((at, rows, tap)) = tapped {
                    tap.written(position, at, rows);
                }
                self.position = position;
                if group.sync {
                    self.tell_position();
                }
                self.committed(group);
            }
            Err(error) => self.refused(group, &error),
        }
        self.shared.changes.send_modify(|change| *change += 1);
    }

    fn committed(&mut self, group: Group) {
        let bounds = self.shared.options.bounds();
        for (index, change) in group.changes {
            self.tallies[index] = change.tally;
            let queue = &self.shared.queues[index];
            let mut state = queue.state();
            state.tally = change.tally;
            for (pos, row) in change.appended {
                state.appended(pos, row.queued, row.message, row.body.len(), bounds);
            }
            change.gone.into_iter().for_each(|pos| state.gone(pos));
            for (pos, until, receives) in change.hidden {
                state.hide(pos, until, receives);
            }
            drop(state);
            queue.wake.notify_one();
        }
        for answer in group.answers {
            // Whoever asked may have gone away; what was asked is done all the same.
            match answer {
                Answer::Done(done) => drop(done.send(Ok(()))),
                Answer::Count(done, count) => drop(done.send(Ok(count))),
            }
        }
    }

    /// The engine failed, and is opened again. The batch may be on disk or not, so the windows are
    /// made anew from what is; what was in hand comes again, as after a crash.
    fn refused(&mut self, group: Group, error: &str) {
        tracing::error!(error, "the queues could not be written");
        self.shared.directory.doubt();
        self.shared.tap().into_iter().for_each(|tap| tap.failed());
        let allowed = self.backoff.allows(Instant::now());
        match allowed.then(|| self.shared.reopen()) {
            Some(Ok((tallies, position))) => {
                tracing::warn!("the queues are open again");
                (self.tallies, self.position) = (tallies, position);
            }
            Some(Err(error)) => tracing::error!(%error, "the queues do not open again"),
            // Until then nothing is handed out that could not be settled.
            None => self.shared.close(),
        }
        self.epoch += 1;
        for (queue, tally) in self.shared.queues.iter().zip(&self.tallies) {
            *queue.state() = State::new(*tally, self.epoch);
            queue.wake.notify_one();
        }
        for answer in group.answers {
            match answer {
                Answer::Done(done) => drop(done.send(Err(error.to_owned()))),
                Answer::Count(done, _) => drop(done.send(Err(error.to_owned()))),
            }
        }
    }
}

/// The message of a dead letter, where this release can read it.
fn revived(row: &[u8]) -> Option<Message> {
    let dead: DeadRow = serde_json::from_slice(row).ok()?;
    serde_json::from_str(dead.message.get()).ok()
}

fn sync(store: &Store) -> Result<(), String> {
    store.db.persist(PersistMode::SyncData).map_err(|error| error.to_string())
}

fn write(
    store: &Store,
    writes: Vec<RawRow>,
    spent: Vec<Slice>,
    synced: bool,
) -> Result<(), String> {
    let mode = if synced { PersistMode::SyncData } else { PersistMode::Buffer };
    if writes.is_empty() {
        // This also notices an engine that failed in the background.
        return store.db.persist(mode).map_err(|error| error.to_string());
    }
    pace::keep(&store.db, &store.rows).map_err(|error| error.to_string())?;
    let mut batch = store.db.batch().durability(Some(mode));
    for (key, value) in writes {
        match value {
            Some(value) => batch.insert(&store.rows, key, value),
            None => batch.remove(&store.rows, key),
        }
    }
    spent.into_iter().for_each(|key| batch.remove_weak(&store.rows, key));
    batch.commit().map_err(|error| error.to_string())
}
