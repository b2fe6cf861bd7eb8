//! Rows in memory, present or known to be absent, as they are after the last durable batch.
//!
//! Readers fill it through guards, the committer changes it after each batch. A guard whose key was
//! inserted or removed meanwhile no longer stores its value, so a reader that loaded an old row
//! cannot leave it behind. One case needs care: quick_cache refuses an entry that is too heavy
//! *without* ending a guard, so such an entry is removed instead, which does.

use kernel::table::Key;
use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

use super::codec::Row;

/// What the allocator and the cache's own lists cost for one entry, about.
const ENTRY_OVERHEAD_BYTES: usize = 160;
const ENTRY_BYTES_ASSUMED: u64 = 512;

/// A row, or the knowledge that there is none.
type Known = Option<Row>;

/// What the cache holds of a key.
#[derive(Clone)]
enum Entry {
    Settled(Known),
    /// A batch is being written: readers ask the engine, which changes over in one step, so that
    /// nobody sees the new row and then, from here, the old one.
    Changing,
}

impl Entry {
    fn settled(self) -> Option<Known> {
        match self {
            Self::Settled(known) => Some(known),
            Self::Changing => None,
        }
    }
}

#[derive(Clone)]
pub(super) struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        let body_len = match entry {
            Entry::Settled(Some(row)) => row.body.len(),
            Entry::Settled(None) | Entry::Changing => 0,
        };
        let bytes = ENTRY_OVERHEAD_BYTES + key.partition.len() + key.sort.len() + body_len;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

type Placeholder<'a> =
    PlaceholderGuard<'a, Key, Entry, Bytes, DefaultHashBuilder, DefaultLifecycle<Key, Entry>>;

/// The right to remember a row that is being loaded.
pub(super) struct Guard<'a>(Placeholder<'a>);

impl Guard<'_> {
    /// Remembers what was loaded, unless a batch changed it meanwhile. Says whether it did.
    pub(super) fn remember(self, known: Known) -> bool {
        self.0.insert(Entry::Settled(known)).is_ok()
    }
}

/// What a reader has to do.
pub(super) enum Lookup<'a> {
    /// Nothing: this is the row.
    Known(Known),
    /// Load the row and remember it.
    Load(Guard<'a>),
    /// Load the row; another reader is about to remember it, or a batch is about to change it.
    LoadOnly,
}

pub(super) struct RowCache {
    cache: Cache<Key, Entry, Bytes>,
    entry_bytes_max: u64,
}

impl RowCache {
    pub(super) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / ENTRY_BYTES_ASSUMED).unwrap_or(usize::MAX).max(1);
        let cache = Cache::with_weighter(items, bytes, Bytes);
        let entry_bytes_max = cache.shard_capacity() / 4;
        Self { cache, entry_bytes_max }
    }

    /// The row without waiting for anybody.
    pub(super) fn get(&self, key: &Key) -> Option<Known> {
        self.cache.get(key)?.settled()
    }

    /// The row as the committer looks for it, which says nothing about its use.
    pub(super) fn peek(&self, key: &Key) -> Option<Known> {
        self.cache.peek(key)?.settled()
    }

    /// The row, or the right to remember it. Never waits: readers run on the async workers.
    pub(super) fn look_up(&self, key: &Key) -> Lookup<'_> {
        match self.cache.get_value_or_guard(key, Some(std::time::Duration::ZERO)) {
            GuardResult::Value(Entry::Settled(known)) => Lookup::Known(known),
            GuardResult::Guard(guard) => Lookup::Load(Guard(guard)),
            GuardResult::Value(Entry::Changing) | GuardResult::Timeout => Lookup::LoadOnly,
        }
    }

    /// A batch is about to change `key`. Says whether it is cached, for only what somebody has
    /// read is kept up to date: most rows are written once and read in queries. A row that nobody
    /// is likely to ask for is not `marked`, and takes no place meanwhile.
    pub(super) fn begin(&self, key: &Key, marked: bool) -> bool {
        let cached = self.cache.contains_key(key);
        if marked || cached {
            self.insert(key.clone(), Entry::Changing);
        } else {
            self.cache.remove(key);
        }
        cached
    }

    /// Takes over what a batch left at `key`.
    pub(super) fn put(&self, key: Key, known: Known) {
        self.insert(key, Entry::Settled(known));
    }

    fn insert(&self, key: Key, entry: Entry) {
        if Bytes.weight(&key, &entry) > self.entry_bytes_max {
            self.cache.remove(&key);
        } else {
            self.cache.insert(key, entry);
        }
    }

    /// Forgets `key`: the next reader loads it.
    pub(super) fn forget(&self, key: &Key) {
        self.cache.remove(key);
    }

    /// Forgets everything. No guard may be out.
    pub(super) fn clear(&self) {
        self.cache.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(body: &'static [u8]) -> Known {
        Some(Row { body: body.into(), count: 0, version: 1, expires_at: None })
    }

    fn guard<'a>(cache: &'a RowCache, key: &Key) -> Guard<'a> {
        match cache.look_up(key) {
            Lookup::Load(guard) => guard,
            Lookup::Known(_) | Lookup::LoadOnly => panic!("no guard for {key:?}"),
        }
    }

    #[test]
    fn a_guard_taken_before_a_change_leaves_no_old_row() {
        static HEAVY: [u8; 100_000] = [7; 100_000];
        let cache = RowCache::new(64 * 1024);
        let key = Key::new("p", "s");
        for change in [row(b"new"), None, row(&HEAVY)] {
            let old = guard(&cache, &key);
            cache.put(key.clone(), change.clone());
            assert!(!old.remember(row(b"old")), "the guard still stored after {change:?}");
            assert_ne!(cache.get(&key), Some(row(b"old")));
            cache.forget(&key);
        }
        let old = guard(&cache, &key);
        cache.forget(&key);
        assert!(!old.remember(row(b"old")));
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn a_second_reader_does_not_wait() {
        let cache = RowCache::new(64 * 1024);
        let key = Key::new("p", "s");
        let first = guard(&cache, &key);
        assert!(matches!(cache.look_up(&key), Lookup::LoadOnly));
        assert!(first.remember(row(b"value")));
        assert_eq!(cache.get(&key), Some(row(b"value")));
    }

    #[test]
    fn while_a_batch_is_written_readers_ask_the_engine() {
        let cache = RowCache::new(64 * 1024);
        let key = Key::new("p", "s");
        cache.put(key.clone(), row(b"old"));
        assert!(cache.begin(&key, false));
        assert_eq!(cache.get(&key), None);
        assert_eq!(cache.peek(&key), None);
        assert!(matches!(cache.look_up(&key), Lookup::LoadOnly));
        cache.put(key.clone(), row(b"new"));
        assert_eq!(cache.get(&key), Some(row(b"new")));
        let other = Key::new("p", "other");
        assert!(!cache.begin(&other, true));
        assert!(matches!(cache.look_up(&other), Lookup::LoadOnly));
        cache.forget(&other);
        assert!(!cache.begin(&other, false));
        assert!(matches!(cache.look_up(&other), Lookup::Load(_)));
    }
}
