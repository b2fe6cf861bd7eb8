//! The people in whose names the load comes: registered or signed in once, and kept in a file so
//! that a second run starts at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use kernel::Clock;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::target::Target;
use super::wire::{Connection, render};

/// Password of everybody that the generator registers.
const PASSWORD: &str = "generate-load-1!";
/// Connections that set people up.
const HANDS: usize = 16;
/// A kept token is used only if it holds at least this much longer.
const TOKEN_REST_SECS: i64 = 300;

/// Somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Person {
    pub(super) user_id: String,
    pub(super) token: String,
}

/// What the tokens file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    pool: String,
    /// When the tokens end, in seconds since 1970.
    expires_at: i64,
    people: Vec<Person>,
}

/// Who is wanted.
pub(super) struct Wanted<'a> {
    pub(super) target: &'a Target,
    /// Start of their e-mail addresses: people of another pool are other people.
    pub(super) pool: &'a str,
    pub(super) count: usize,
    /// Where they are kept.
    pub(super) tokens: Option<&'a Path>,
}

/// Signs everybody in, from the file where it has them, and says whether they are new here.
pub(super) async fn sign_in(wanted: &Wanted<'_>, bar: &ProgressBar) -> Result<(Vec<Person>, bool)> {
    if let Some(people) = wanted.tokens.and_then(|file| kept(file, wanted)) {
        return Ok((people, false));
    }
    bar.set_message("signing in");
    bar.set_length(u64::try_from(wanted.count)?);
    let started = kernel::clock::SystemClock.now();
    let target = Arc::new(wanted.target.clone());
    let pool: Arc<str> = wanted.pool.into();
    let signed_in = in_parallel(wanted.count, bar, move |number, mut connection| {
        let (target, pool) = (Arc::clone(&target), Arc::clone(&pool));
        async move {
            let person = enter(&target, &mut connection, &pool, number).await?;
            Ok((person, connection))
        }
    });
    let people = signed_in.run(wanted.target).await?;
    let lifetime = people.iter().map(|(_, lifetime)| *lifetime).min().unwrap_or(0);
    let people: Vec<Person> = people.into_iter().map(|(person, _)| person).collect();
    if let Some(file) = wanted.tokens {
        let expires_at = started.secs() + lifetime;
        let kept = Kept { pool: wanted.pool.to_owned(), expires_at, people: people.clone() };
        std::fs::write(file, serde_json::to_vec(&kept)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok((people, true))
}

fn kept(file: &Path, wanted: &Wanted<'_>) -> Option<Vec<Person>> {
    let mut kept: Kept = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let holds = kept.expires_at > kernel::clock::SystemClock.now().secs() + TOKEN_REST_SECS;
    if !holds || kept.pool != wanted.pool || kept.people.len() < wanted.count {
        return None;
    }
    kept.people.truncate(wanted.count);
    Some(kept.people)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    user: User,
    access_token: String,
    expires_in: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: String,
}

/// Registers one person or, where the address is taken, signs in; with the token's seconds.
async fn enter(
    target: &Target,
    connection: &mut Connection,
    pool: &str,
    number: usize,
) -> Result<(Person, i64)> {
    let email = format!("{pool}-{number}@example.com");
    let body = serde_json::json!({
        "email": email, "password": PASSWORD, "displayName": format!("{pool} {number}"),
    });
    let request = render(target, "POST", "/auth/register", "", &body.to_string());
    let answer = connection.patiently(&request).await?;
    let session: Session = match answer.status {
        201 => answer.json()?,
        409 => {
            let body = serde_json::json!({ "email": email, "password": PASSWORD });
            let request = render(target, "POST", "/auth/login", "", &body.to_string());
            let answer = connection.patiently(&request).await?;
            ensure!(answer.status == 200, "{email} cannot sign in: {}", answer.error());
            answer.json()?
        }
        _ => bail!("{email} cannot register: {}", answer.error()),
    };
    let person = Person { user_id: session.user.user_id, token: session.access_token };
    Ok((person, session.expires_in))
}

/// Lets everybody follow the `each` people next to them in the circle.
pub(super) async fn follow_neighbours(
    target: &Target,
    people: &[Person],
    each: usize,
    bar: &ProgressBar,
) -> Result<()> {
    let each = each.min(people.len().saturating_sub(1));
    let pairs = (0..people.len() * each).map(|number| {
        let follower = number / each;
        (follower, (follower + 1 + number % each) % people.len())
    });
    follow(target, people, pairs.collect(), bar).await
}

/// Lets everybody but the first follow the first.
pub(super) async fn follow_first(
    target: &Target,
    people: &[Person],
    bar: &ProgressBar,
) -> Result<()> {
    follow(target, people, (1..people.len()).map(|follower| (follower, 0)).collect(), bar).await
}

async fn follow(
    target: &Target,
    people: &[Person],
    pairs: Vec<(usize, usize)>,
    bar: &ProgressBar,
) -> Result<()> {
    bar.set_message("following");
    bar.set_position(0);
    bar.set_length(u64::try_from(pairs.len())?);
    let requests: Vec<Vec<u8>> = pairs
        .into_iter()
        .map(|(follower, followee)| {
            let path = format!("/users/{}/follow", people[followee].user_id);
            render(target, "POST", &path, &people[follower].token, "")
        })
        .collect();
    let requests = Arc::new(requests);
    let following = in_parallel(requests.len(), bar, move |number, mut connection| {
        let requests = Arc::clone(&requests);
        async move {
            let answer = connection.patiently(&requests[number]).await?;
            ensure!(answer.status == 200, "cannot follow: {}", answer.error());
            Ok(((), connection))
        }
    });
    following.run(target).await.map(|_| ())
}

/// Work numbered from 0, done over a few connections.
struct InParallel<F> {
    count: usize,
    bar: ProgressBar,
    work: F,
}

fn in_parallel<F, R>(count: usize, bar: &ProgressBar, work: F) -> InParallel<F>
where
    F: Fn(usize, Connection) -> R,
{
    InParallel { count, bar: bar.clone(), work }
}

impl<F, R, T> InParallel<F>
where
    F: Fn(usize, Connection) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(T, Connection)>> + Send + 'static,
    T: Send + 'static,
{
    /// Does it all; results come back in the order of their numbers. The first error ends it.
    async fn run(self, target: &Target) -> Result<Vec<T>> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut hands = JoinSet::new();
        for _ in 0..HANDS.min(self.count) {
            let (next, work, bar) = (Arc::clone(&next), self.work.clone(), self.bar.clone());
            let mut connection = Connection::new(target);
            let count = self.count;
            hands.spawn(async move {
                let mut done = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(done);
                    }
                    let result;
                    (result, connection) = work(number, connection).await?;
                    done.push((number, result));
                    bar.inc(1);
                }
            });
        }
        let mut done = Vec::with_capacity(self.count);
        while let Some(hand) = hands.join_next().await {
            done.extend(hand??);
        }
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }
}
