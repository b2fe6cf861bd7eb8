//! Readers that walk a feed both ways while it changes: nothing lost, nothing given twice.

mod world;

use std::collections::{BTreeSet, HashSet};

use kernel::{PostId, UserId};
use proptest::prelude::*;
use timeline::Config;
use world::{World, ids};

#[derive(Clone, Debug)]
enum Act {
    /// An author writes.
    Post(usize),
    /// One of the posts so far is deleted.
    Delete(usize),
    /// The reader follows or no longer follows one of the fickle authors.
    Turn(usize),
    /// Some of what waits is delivered.
    Deliver(usize),
    /// Some of what waits is delivered here and there at the same time.
    Together(usize, usize),
    /// A process dies so far into a delivery, and its lease runs out.
    Crash(usize, usize),
    /// The reader asks for what is newer.
    Newer(usize),
    /// The reader asks for what is older.
    Older(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6_usize).prop_map(Act::Post),
        1 => (0..100_usize).prop_map(Act::Delete),
        1 => (0..2_usize).prop_map(Act::Turn),
        5 => (1..9_usize).prop_map(Act::Deliver),
        3 => (1..5_usize, 1..5_usize).prop_map(|(here, there)| Act::Together(here, there)),
        1 => (1..5_usize, 1..60_usize).prop_map(|(most, polls)| Act::Crash(most, polls)),
        2 => (1..6_usize).prop_map(Act::Newer),
        1 => (1..6_usize).prop_map(Act::Older),
    ]
}

/// A client that keeps both cursors and everything it was given.
struct Reader {
    user: UserId,
    older: Option<String>,
    newer: Option<String>,
    given: Vec<PostId>,
}

impl Reader {
    async fn start(world: &World, user: UserId, limit: usize) -> Self {
        let (page, _) = world.read(user, &format!("?limit={limit}")).await;
        let cursor = |name: &str| page[name].as_str().map(str::to_owned);
        Self { user, older: cursor("nextCursor"), newer: cursor("prevCursor"), given: ids(&page) }
    }

    async fn step(&mut self, world: &World, limit: usize, newer: bool) -> usize {
        let cursor = if newer { &self.newer } else { &self.older };
        let Some(cursor) = cursor.clone() else { return 0 };
        let (page, _) = world.read(self.user, &format!("?limit={limit}&cursor={cursor}")).await;
        let found = ids(&page);
        assert!(found.is_sorted_by(|a, b| a > b), "newest first");
        let cursor = |name: &str| page[name].as_str().map(str::to_owned);
        if newer {
            self.newer = cursor("prevCursor");
            assert!(self.newer.is_some());
        } else {
            self.older = cursor("nextCursor");
        }
        self.given.extend(&found);
        found.len()
    }
}

async fn run(seed: u64, big_followers: i64, processes: usize, acts: Vec<Act>) {
    // A small skeleton, so that readers come to what lies below it. The watermark stays away: a
    // pull below it may find a post before its fan-out brings it.
    let config = Config {
        big_followers,
        fanout_page: 2,
        trim_every: 1,
        skeleton_entries: 4,
        ..Config::default()
    };
    let world = match processes {
        1 => World::quick(config, seed),
        several => World::crowded(config.for_several_processes(), seed, several),
    };
    let reader = world.user();
    let authors = world.users(6);
    // Some followers more, so that fan-out takes several pages and authors may be big.
    for follower in world.users(3) {
        authors.iter().for_each(|author| world.follow(follower, *author));
    }
    authors[..4].iter().for_each(|author| world.follow(reader, *author));
    world.settle().await;
    // Some have arrived when the reader comes, in any order, and some are still on their way.
    let mut posts: Vec<_> = (0..12).map(|number| world.post(authors[number % 6])).collect();
    for _ in 0..8 {
        world.deliver_some(3).await;
    }
    let mut walk = Reader::start(&world, reader, 2).await;
    let mut deleted = HashSet::new();
    for act in acts {
        match act {
            Act::Post(author) => posts.push(world.post(authors[author])),
            Act::Delete(at) => {
                let post = posts[at % posts.len()];
                world.delete(post);
                deleted.insert(post);
            }
            Act::Turn(fickle) => {
                let author = authors[4 + fickle];
                if world.know().follows.contains(&(reader, author)) {
                    world.unfollow(reader, author);
                } else {
                    world.follow(reader, author);
                }
            }
            Act::Deliver(most) => drop(world.deliver_some(most).await),
            Act::Together(here, there) if processes > 1 => {
                tokio::join!(world.deliver_some(here), world.deliver_some(there));
            }
            Act::Crash(most, polls) if processes > 1 => world.crash(most, polls).await,
            Act::Together(most, _) | Act::Crash(most, _) => drop(world.deliver_some(most).await),
            Act::Newer(limit) => drop(walk.step(&world, limit, true).await),
            Act::Older(limit) => drop(walk.step(&world, limit, false).await),
        }
    }
    world.settle().await;
    while walk.step(&world, 4, true).await > 0 {}
    while walk.step(&world, 4, false).await > 0 {}
    let given: BTreeSet<_> = walk.given.iter().copied().collect();
    assert_eq!(given.len(), walk.given.len(), "given twice: {:?}", walk.given);
    let steady: HashSet<_> = authors[..4].iter().collect();
    let (known, follows) = {
        let others = world.know();
        (others.posts.clone(), others.follows.clone())
    };
    for post in known.values().filter(|post| steady.contains(&post.author_id)) {
        assert!(given.contains(&post.post_id), "lost: {:?}", post.post_id);
    }
    // And whoever starts now sees exactly what is there.
    let shown = |author: UserId| author == reader || follows.contains(&(reader, author));
    let there: Vec<_> = known.values().rev().filter(|post| shown(post.author_id)).collect();
    let there: Vec<_> = there.iter().map(|post| post.post_id).collect();
    assert_eq!(world.all(reader, 3).await, there);
    assert_eq!(world.audit().await, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_is_given_twice(
        seed: u64,
        big in prop_oneof![Just(2_i64), Just(1000)],
        processes in 1..4_usize,
        acts in proptest::collection::vec(act(), 1..90),
    ) {
        // Whoever waits for a lease waits on a clock that steps on when nobody has anything to do.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(seed, big, processes, acts));
    }
}

/// A reader that asks while posts are being fanned out, on the real table and several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_in_the_middle_of_turns_loses_nothing() {
    let config = Config { fanout_page: 100, ..Config::default() };
    let world = std::sync::Arc::new(World::new(config));
    let (reader, authors) = (world.user(), world.users(4));
    for follower in world.users(150).into_iter().chain([reader]) {
        authors.iter().for_each(|author| world.follow(follower, *author));
    }
    world.settle().await;
    let first = world.post(authors[0]);
    world.settle().await;
    let mut walk = Reader::start(&world, reader, 50).await;
    assert_eq!(walk.given, [first]);
    let mut posts: BTreeSet<_> =
        (0..80).map(|number| world.post(authors[number % authors.len()])).collect();
    posts.insert(first);
    let writer = {
        let world = world.clone();
        tokio::spawn(async move { world.settle().await })
    };
    // A page from the start must never lack what a page before it showed.
    let mut shown = HashSet::new();
    while !writer.is_finished() {
        walk.step(&world, 7, true).await;
        let now: HashSet<_> = world.ids(reader).await.into_iter().collect();
        let newest = now.iter().max().copied().unwrap_or(first);
        let oldest = now.iter().min().copied().unwrap_or(first);
        let lost = shown.iter().filter(|post| (oldest..=newest).contains(post));
        assert_eq!(lost.filter(|post| !now.contains(post)).count(), 0);
        shown.extend(now);
    }
    writer.await.unwrap();
    while walk.step(&world, 7, true).await > 0 {}
    assert_eq!(walk.given.len(), posts.len(), "none twice");
    assert_eq!(walk.given.iter().copied().collect::<BTreeSet<_>>(), posts);
}
