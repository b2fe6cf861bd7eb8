//! Every number of the timeline that an operator may set.

use std::time::Duration;

use kernel::Limits;

/// The timeline's limits, lifetimes and intervals; the defaults are the contract's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// How much a client may ask for at once.
    pub limits: Limits,
    /// Followers whose feeds are written in one step of a fan-out.
    pub fanout_page: usize,
    /// Posts taken together in one turn of a fan-out.
    pub fanout_posts: usize,
    /// Followers above which an author is merged at reading time.
    pub big_followers: i64,
    /// Live rows that a feed keeps; older pages are pulled. Some more than a resume brings, since
    /// the oldest by id, which are cut, need not be the first that arrived.
    pub feed_rows_max: usize,
    /// Newest entries that are cached.
    pub skeleton_entries: usize,
    /// One load in this many also trims the feed.
    pub trim_every: u64,
    /// Posts that a follow brings into the feed.
    pub backfill_posts: usize,
    /// Authors asked at the same time when a page is pulled.
    pub pull_width: usize,
    /// How long a removed entry is remembered, and how far back a socket may resume.
    pub resume: Duration,
    /// Rows that a resume brings at most, removals among them; more is a resync.
    pub resume_entries_max: usize,
    /// How long tombstones stay; longer than any event may be late.
    pub tombstones: Duration,
    /// Bytes of encoded posts kept in memory, each with its like count.
    pub post_bytes_max: u64,
    /// Bytes of encoded authors kept in memory.
    pub author_bytes_max: u64,
    /// Bytes of pages kept in memory for those who read them again.
    pub page_bytes_max: u64,
    /// How long an encoded author is good without an event.
    pub author_kept: Duration,
    /// How long a like count is good.
    pub like_count_kept: Duration,
    /// How long a frame waits for details of other services, before it goes without them.
    pub details_wait: Duration,
    /// How long a new socket's live frames wait for a resume that is to go before them.
    pub resume_grace: Duration,
    /// Origins of web pages, beside our own, that may open a socket: `https://example.com`.
    pub origins: Vec<String>,
    /// Between two protocol pings.
    pub heartbeat: Duration,
    /// A peer that sends nothing for this long is closed with 4408.
    pub idle: Duration,
    /// Messages that a peer may send in a second.
    pub messages_per_sec: u32,
    /// Bytes of a message from a peer that are looked at.
    pub message_bytes_max: usize,
    /// How long a closing socket may take.
    pub close_wait: Duration,
    /// Set where several processes serve the timeline on one table: turns go by a lease in the
    /// table, taken for this long at a time. None where this process is the only one.
    pub turn_lease: Option<Duration>,
}

impl Config {
    /// The same where other processes serve the timeline on the same table.
    #[must_use]
    pub fn for_several_processes(self) -> Self {
        Self {
            turn_lease: Some(Duration::from_secs(3)),
            // An event about an author reaches one process; the others ask again after this.
            author_kept: self.author_kept.min(Duration::from_secs(5)),
            ..self
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            fanout_page: 500,
            fanout_posts: 50,
            big_followers: 2000,
            feed_rows_max: 832,
            skeleton_entries: 100,
            trim_every: 16,
            backfill_posts: 20,
            pull_width: 16,
            resume: Duration::from_hours(24),
            resume_entries_max: 800,
            tombstones: Duration::from_hours(30 * 24),
            post_bytes_max: 50 * 1024 * 1024,
            author_bytes_max: 20 * 1024 * 1024,
            page_bytes_max: 10 * 1024 * 1024,
            author_kept: Duration::from_mins(1),
            like_count_kept: Duration::from_secs(2),
            details_wait: Duration::from_secs(1),
            resume_grace: Duration::from_millis(250),
            origins: Vec::new(),
            heartbeat: Duration::from_secs(30),
            idle: Duration::from_mins(10),
            messages_per_sec: 100,
            message_bytes_max: 4096,
            close_wait: Duration::from_secs(2),
            turn_lease: None,
        }
    }
}
