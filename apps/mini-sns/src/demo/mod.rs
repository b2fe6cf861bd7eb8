//! A small world for `mini-sns serve --demo`: 30 people who follow one another, post in Japanese
//! and English, like, and go on doing so. It is a client of the running server's own API, bound by
//! the same limits as anybody. On a data directory that has the demo world already, it signs in.

mod member;
mod people;
mod people_en;
mod people_ja;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use member::{Door, Expired, Member, PASSWORD, Post};
use people::{COUNT, POPULAR, Profile, everybody};

/// Everything that looks like chance comes from here, so that every demo world is the same.
const SEED: u64 = 20_261_124;
/// Of three people two come at once, as many as may sign in from one address; the third waits.
const LATE_OF: usize = 3;
/// Neighbours on either side in the circle of everybody whom each person follows.
const NEIGHBOURS: usize = 3;
/// Of a hundred such follows, those that go to somebody anywhere instead.
const FAR_PERCENT: u32 = 25;
/// Of a hundred posts, those that a person likes.
const LIKED_PERCENT: u32 = 12;
/// Of a hundred things that happen later, those that are posts; the others are likes.
const POST_PERCENT: u32 = 55;
/// Posts that can still be liked.
const REMEMBERED: usize = 60;
/// Time between two things that happen, in milliseconds.
const PAUSE_MILLIS: std::ops::Range<u64> = 1_500..5_500;
/// Wait after something failed.
const FAILED_WAIT: Duration = Duration::from_secs(5);

/// Fills the world of the server at `base` (such as `http://127.0.0.1:8080`) and keeps it alive
/// until it is cancelled. A world that cannot be made is logged: the server goes on without it.
pub(crate) async fn run(base: String, cancel: CancellationToken) {
    let alive = async {
        match World::make(&base).await {
            Ok(mut world) => world.live().await,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the demo world cannot be made");
            }
        }
    };
    // Cancelled or at its end: either way there is nothing left to do.
    let _ = cancel.run_until_cancelled(alive).await;
}

/// How a visitor signs in as somebody who lives here.
fn invitation() -> String {
    let somebody = everybody().next().map(Profile::email).unwrap_or_default();
    format!("demo world: sign in as {somebody}, password {PASSWORD} (the same for everybody)")
}

struct World {
    door: Door,
    /// Whether the data had this world already.
    known: bool,
    /// Everybody by number; none before they came.
    members: Vec<Option<Member>>,
    dice: fastrand::Rng,
    /// The newest posts, the newest last, with the number of who wrote them.
    recent: VecDeque<(usize, Post)>,
}

impl World {
    /// Lets everybody come and do what they did before the visitor came.
    async fn make(base: &str) -> Result<Self> {
        let door = Door::new(base)?;
        let first = everybody().next().context("nobody lives here")?;
        let known = Member::sign_in(&door, first).await?.is_some();
        let mut world = Self {
            door,
            known,
            members: (0..COUNT).map(|_| None).collect(),
            dice: fastrand::Rng::with_seed(SEED),
            recent: VecDeque::new(),
        };
        let mut written = Vec::new();
        for late in [false, true] {
            let coming: Vec<usize> =
                (0..COUNT).filter(|number| (number % LATE_OF == LATE_OF - 1) == late).collect();
            world.enter(&coming).await?;
            world.meet().await?;
            written.extend(world.write(&coming).await?);
            if !late {
                // The world lives on whether or not anybody reads this.
                let _ = crate::output::line(&invitation());
            }
        }
        world.admire(&written).await?;
        world.remember(written);
        Ok(world)
    }

    async fn enter(&mut self, coming: &[usize]) -> Result<()> {
        let (door, known) = (&self.door, self.known);
        let entering = everybody().enumerate().filter(|(number, _)| coming.contains(number));
        let entered = try_join_all(entering.map(|(number, profile)| async move {
            // The other way is tried too: the program may have been stopped when half had come.
            let member = if known {
                match Member::sign_in(door, profile).await? {
                    None => Member::register(door, profile).await?,
                    member => member,
                }
            } else {
                match Member::register(door, profile).await? {
                    None => Member::sign_in(door, profile).await?,
                    member => member,
                }
            };
            let member = member.with_context(|| format!("{} is a stranger", profile.email()))?;
            anyhow::Ok((number, member))
        }))
        .await?;
        for (number, member) in entered {
            self.members[number] = Some(member);
        }
        Ok(())
    }

    /// Everybody who is there, with their numbers.
    fn present(&self) -> impl Iterator<Item = (usize, &Member)> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(number, member)| Some((number, member.as_ref()?)))
    }

    /// Lets everybody who is there follow whom they follow. Following twice changes nothing.
    async fn meet(&self) -> Result<()> {
        let follows = follows();
        try_join_all(self.present().map(|(number, member)| {
            let followed = &follows[number];
            let followed = self.present().filter(|(other, _)| followed.contains(other));
            let ids: Vec<&str> = followed.map(|(_, other)| other.user_id.as_str()).collect();
            async move {
                for id in ids {
                    member.follow(id).await?;
                }
                anyhow::Ok(())
            }
        }))
        .await
        .map(|_| ())
    }

    /// Lets them post what they had to say at first, unless they have said it already.
    async fn write(&self, writing: &[usize]) -> Result<Vec<(usize, Post)>> {
        let writers = self.present().filter(|(number, _)| writing.contains(number));
        let written = try_join_all(writers.map(|(number, member)| async move {
            let before = member.posts().await?;
            if before.next_cursor.is_some() {
                return anyhow::Ok(before.items.into_iter().map(|post| (number, post)).collect());
            }
            let mut posts: Vec<(usize, Post)> = Vec::new();
            for text in member.profile.posts {
                let post = match before.items.iter().find(|post| post.text == text) {
                    Some(post) => post.clone(),
                    None => member.post(text).await?,
                };
                posts.push((number, post));
            }
            Ok(posts)
        }))
        .await?;
        Ok(written.into_iter().flatten().collect())
    }

    /// Lets everybody like some of what was written. Liking twice changes nothing.
    async fn admire(&mut self, written: &[(usize, Post)]) -> Result<()> {
        let mut dice = self.dice.clone();
        let liking: Vec<_> = self
            .present()
            .map(|(number, member)| {
                let liked: Vec<&Post> = written
                    .iter()
                    .filter(|(author, _)| *author != number)
                    .filter(|_| dice.u32(..100) < LIKED_PERCENT)
                    .map(|(_, post)| post)
                    .collect();
                async move {
                    for post in liked {
                        member.like(&post.post_id).await?;
                    }
                    anyhow::Ok(())
                }
            })
            .collect();
        try_join_all(liking).await.map(|_| ())
    }

    /// Keeps the newest posts; what happens from here on depends on them, so that a world that is
    /// entered again does not repeat itself.
    fn remember(&mut self, written: Vec<(usize, Post)>) {
        self.recent.extend(written);
        let posts = self.recent.make_contiguous();
        posts.sort_by(|(_, one), (_, other)| one.post_id.cmp(&other.post_id));
        if let Some((_, newest)) = self.recent.back() {
            let seed = newest
                .post_id
                .bytes()
                .fold(SEED, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
            self.dice = fastrand::Rng::with_seed(seed);
        }
    }

    /// Goes on until it is dropped.
    async fn live(&mut self) {
        loop {
            let pause = self.dice.u64(PAUSE_MILLIS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let number = self.dice.usize(..COUNT);
            let Err(error) = self.act(number).await else { continue };
            let Some(member) = &mut self.members[number] else { continue };
            let renewed = if error.is::<Expired>() { member.renew().await } else { Err(error) };
            if let Err(error) = renewed {
                tracing::warn!(error = format!("{error:#}"), "the demo world stumbles");
                tokio::time::sleep(FAILED_WAIT).await;
            }
        }
    }

    /// One person posts, or likes a few of the newest posts.
    async fn act(&mut self, number: usize) -> Result<()> {
        let Some(member) = &self.members[number] else { return Ok(()) };
        if self.dice.u32(..100) < POST_PERCENT {
            let other = (number + self.dice.usize(1..COUNT)) % COUNT;
            let handle = everybody().nth(other).map_or("", |profile| profile.handle);
            let text = words::say(number, handle, &mut self.dice);
            let post = member.post(&text).await?;
            self.recent.push_back((number, post));
            while self.recent.len() > REMEMBERED {
                self.recent.pop_front();
            }
            return Ok(());
        }
        for _ in 0..self.dice.u32(1..4) {
            let Some((author, post)) = self.dice.choice(&self.recent) else { break };
            if *author != number {
                member.like(&post.post_id).await?;
            }
        }
        Ok(())
    }
}

/// Whom each person follows: a small world, of neighbours, a few people from anywhere, and those
/// whom nearly everybody follows.
fn follows() -> Vec<BTreeSet<usize>> {
    let mut dice = fastrand::Rng::with_seed(SEED);
    let mut follows = vec![BTreeSet::from(POPULAR); COUNT];
    for (number, followed) in follows.iter_mut().enumerate() {
        for step in (1..=NEIGHBOURS).flat_map(|step| [step, COUNT - step]) {
            let far = dice.u32(..100) < FAR_PERCENT;
            followed.insert((number + if far { dice.usize(1..COUNT) } else { step }) % COUNT);
        }
        followed.remove(&number);
    }
    follows
}
