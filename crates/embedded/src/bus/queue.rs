//! A queue in memory: the window of messages that are ready, in hand or hidden. Everything behind
//! the window is on disk alone, so a backlog of any length costs the same memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::bus::Message;
use kernel::{EventKind, Time};
use tokio::sync::Notify;

use super::chaos::Dice;
use super::committer::Done;
use super::store::{Stored, Tally};

/// A queue: its name, what it takes, and its window.
pub(super) struct Queue {
    pub name: &'static str,
    pub kinds: &'static [EventKind],
    /// Wakes one worker; each that leaves something behind wakes the next.
    pub wake: Notify,
    state: Mutex<State>,
}

/// Where a message of the window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Ready,
    InHand,
    Hidden(Time),
}

struct Entry {
    place: Place,
    queued: Time,
    /// Dropped once handed out: a message that comes again is read from disk again.
    message: Option<Arc<Message>>,
    bytes: usize,
    receives: u32,
    alone: bool,
    /// It has been delivered once already on purpose (chaos).
    doubled: bool,
}

/// The window and the numbers.
pub(super) struct State {
    open: BTreeMap<u64, Entry>,
    ready: BTreeSet<u64>,
    hidden: BTreeSet<(Time, u64)>,
    in_hand: usize,
    /// Bytes of the bodies held.
    bytes: usize,
    /// The first position not yet in the window.
    read: u64,
    loading: bool,
    /// Counts the times the window was made anew; what was taken in an earlier one is not settled.
    epoch: u64,
    /// As last committed.
    pub tally: Tally,
}

/// What bounds a window.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub messages: usize,
    pub bytes: usize,
    pub in_flight: usize,
}

/// A message handed to a worker.
pub(super) struct Taken {
    pub pos: u64,
    /// This receive included.
    pub receives: u32,
    pub alone: bool,
    /// None where it must be read from disk again.
    pub message: Option<Arc<Message>>,
}

/// What a worker can do now.
pub(super) enum Take {
    /// Handle these; and drop those, whose time is over.
    Batch { epoch: u64, taken: Vec<Taken>, expired: Vec<Done> },
    /// Read these positions into the window.
    Load { epoch: u64, from: u64, to: u64 },
    /// Wait to be woken, or until the first hidden message shows again.
    Wait(Option<Time>),
}

/// How many of a queue's messages are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Count {
    pub tally: Tally,
    pub in_flight: usize,
    pub oldest: Option<Time>,
    /// Where the oldest one is when it is not in the window.
    pub unread: Option<u64>,
    /// Nothing is ready, in hand, unread, or hidden for a time that is over.
    pub idle: bool,
}

/// What a take needs to know.
pub(super) struct Ask<'a> {
    pub now: Time,
    pub batch_max: usize,
    /// Messages queued at this moment or before are too old.
    pub expired: Time,
    pub bounds: Bounds,
    /// Held while a message that may have ended the process is in hand, anywhere on the bus.
    pub suspect: &'a AtomicBool,
    pub dice: Option<&'a Dice>,
}

impl Queue {
    pub(super) fn new(name: &'static str, kinds: &'static [EventKind], tally: Tally) -> Self {
        Self { name, kinds, wake: Notify::new(), state: Mutex::new(State::new(tally, 0)) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing for a worker to do.
    pub(super) fn take(&self, ask: &Ask<'_>) -> Take {
        let mut state = self.state();
        let take = state.take(ask);
        if matches!(take, Take::Batch { .. }) && (!state.ready.is_empty() || state.unread()) {
            self.wake.notify_one();
        }
        take
    }
}

impl State {
    /// An empty window before the messages that `tally` counts.
    pub(super) const fn new(tally: Tally, epoch: u64) -> Self {
        Self {
            open: BTreeMap::new(),
            ready: BTreeSet::new(),
            hidden: BTreeSet::new(),
            in_hand: 0,
            bytes: 0,
            read: tally.head,
            loading: false,
            epoch,
            tally,
        }
    }

    const fn unread(&self) -> bool {
        !self.loading && self.read < self.tally.next
    }

    fn take(&mut self, ask: &Ask<'_>) -> Take {
        self.show_hidden(ask.now);
        let room = ask.bounds.in_flight.saturating_sub(self.in_hand + self.hidden.len());
        if self.ready.len() < ask.batch_max && room > self.ready.len() && self.unread() {
            self.loading = true;
            return Take::Load { epoch: self.epoch, from: self.read, to: self.tally.next };
        }
        let (mut taken, mut expired) = (Vec::new(), Vec::new());
        for pos in self.candidates(ask) {
            if taken.len() >= ask.batch_max.min(room) || expired.len() >= ask.bounds.messages {
                break;
            }
            let Some(entry) = self.open.get_mut(&pos) else { continue };
            let over = entry.queued <= ask.expired;
            if entry.alone && !over {
                // Its neighbours must not share its fate, wherever they are on the bus.
                if !taken.is_empty() || ask.suspect.swap(true, Ordering::AcqRel) {
                    continue;
                }
            }
            let message = entry.message.take();
            self.bytes -= message.as_ref().map_or(0, |_| entry.bytes);
            entry.place = Place::InHand;
            self.in_hand += 1;
            self.ready.remove(&pos);
            if over {
                expired.push(Done { pos, tried: entry.receives > 0 || entry.alone });
                continue;
            }
            entry.receives += 1;
            let (receives, alone) = (entry.receives, entry.alone);
            taken.push(Taken { pos, receives, alone, message });
            if alone {
                break;
            }
        }
        if taken.is_empty() && expired.is_empty() {
            return Take::Wait(self.hidden.first().map(|(until, _)| *until));
        }
        Take::Batch { epoch: self.epoch, taken, expired }
    }

    /// Ready positions in the order in which they are to be tried.
    fn candidates(&self, ask: &Ask<'_>) -> Vec<u64> {
        let mut ready: Vec<u64> = self.ready.iter().copied().take(ask.bounds.messages).collect();
        if let Some(dice) = ask.dice {
            dice.shuffle(&mut ready);
        }
        ready
    }

    fn show_hidden(&mut self, now: Time) {
        while let Some((until, pos)) = self.hidden.first().copied()
            && until <= now
        {
            self.hidden.pop_first();
            if let Some(entry) = self.open.get_mut(&pos) {
                entry.place = Place::Ready;
                self.ready.insert(pos);
            }
        }
    }

    /// Puts what was read from positions up to `to` into the window.
    pub(super) fn loaded(&mut self, epoch: u64, stored: Vec<Stored>, to: u64, full: bool) {
        if epoch != self.epoch {
            return;
        }
        self.loading = false;
        self.read = match stored.last() {
            Some(last) if full => last.pos + 1,
            _ => to,
        };
        for Stored { pos, bytes, queued, message, tries } in stored {
            // One that cannot be read is handed out without a body; the worker finds out why.
            let message = message.ok().map(Arc::new);
            self.bytes += message.as_ref().map_or(0, |_| bytes);
            let (receives, alone) = (tries.receives, tries.alone);
            let place = Place::Ready;
            let entry = Entry { place, queued, message, bytes, receives, alone, doubled: false };
            self.open.insert(pos, entry);
            self.ready.insert(pos);
        }
    }

    /// Reading failed; it will be tried again.
    pub(super) const fn not_loaded(&mut self, epoch: u64) {
        self.loading &= epoch != self.epoch;
    }

    /// Takes a message just committed into the window, where it follows directly and there is room.
    pub(super) fn appended(
        &mut self,
        pos: u64,
        queued: Time,
        message: Arc<Message>,
        bytes: usize,
        bounds: Bounds,
    ) {
        let room = self.ready.len() < bounds.messages && self.bytes < bounds.bytes;
        if self.loading || self.read != pos || !room {
            return;
        }
        self.read = pos + 1;
        self.bytes += bytes;
        let message = Some(message);
        let place = Place::Ready;
        let (receives, alone) = (0, false);
        let entry = Entry { place, queued, message, bytes, receives, alone, doubled: false };
        self.open.insert(pos, entry);
        self.ready.insert(pos);
    }

    /// A message in hand is done or dead, and off the disk.
    pub(super) fn gone(&mut self, pos: u64) {
        if self.open.remove(&pos).is_some() {
            self.in_hand -= 1;
        }
    }

    /// A message in hand failed: it shows again at `until`.
    pub(super) fn hide(&mut self, pos: u64, until: Time, receives: u32) {
        if let Some(entry) = self.open.get_mut(&pos) {
            entry.receives = receives;
            entry.place = Place::Hidden(until);
            self.in_hand -= 1;
            self.hidden.insert((until, pos));
        }
    }

    /// Whether a message that was handled is to come once more (chaos); then it is ready again.
    pub(super) fn doubled(&mut self, epoch: u64, pos: u64) -> bool {
        if epoch != self.epoch {
            return false;
        }
        let Some(entry) = self.open.get_mut(&pos) else { return false };
        if std::mem::replace(&mut entry.doubled, true) {
            return false;
        }
        entry.place = Place::Ready;
        entry.receives -= 1;
        self.in_hand -= 1;
        self.ready.insert(pos);
        true
    }

    /// No message of the queue is below this position.
    pub(super) fn head(&self) -> u64 {
        self.open.first_key_value().map_or(self.read, |(pos, _)| *pos).min(self.read)
    }

    /// The numbers at `now`.
    pub(super) fn count(&self, now: Time) -> Count {
        let oldest = self.open.first_key_value().map(|(_, entry)| entry.queued);
        let waiting = self.hidden.first().is_none_or(|(until, _)| *until > now);
        Count {
            tally: self.tally,
            in_flight: self.in_hand + self.hidden.len(),
            oldest,
            unread: (oldest.is_none() && self.tally.live > 0).then_some(self.read),
            idle: waiting
                && self.in_hand == 0
                && self.ready.is_empty()
                && self.read == self.tally.next,
        }
    }
}
