//! How long a post takes to the open sockets of its author's followers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures_util::StreamExt;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::mix::{Operation, text};
use super::people::Person;
use super::report::Tally;
use super::sockets::{Socket, open_many};
use super::target::Target;
use super::wire::{Connection, render};

/// Stands before a post's number in its text, so that a frame tells which post it brings.
const MARK: &str = "fan-out no. ";
/// Time that a frame may take before it counts as lost.
const FRAME_MAX: Duration = Duration::from_secs(10);
/// Posts tried until all follows have taken effect.
const FIRST_POSTS_MAX: u32 = 20;

/// A frame that came: the post's number and when.
type Arrival = (u64, Instant);

/// Posts one after the other as the first of `people`; all others follow them and have a socket
/// open. Ends after `duration`, or after `posts_max` posts.
pub(super) async fn run(
    target: &Target,
    people: &[Person],
    duration: Duration,
    posts_max: Option<u64>,
    bar: &ProgressBar,
) -> Result<(Tally, Duration)> {
    let (author, followers) = match people {
        [author, followers @ ..] if !followers.is_empty() => (author, followers),
        _ => bail!("a follower is wanted: raise --connections"),
    };
    let mut tally = Tally::default();
    let sockets = open_many(target, followers, followers.len(), &mut tally, bar).await?;
    ensure!(sockets.len() == followers.len(), "not every follower's socket could be opened");
    let (arrived, arrivals) = mpsc::channel(followers.len() * 2);
    let mut listening = JoinSet::new();
    for socket in sockets {
        listening.spawn(listen(socket, arrived.clone()));
    }
    drop(arrived);
    let connection = Connection::new(target);
    let (target, author) = (target.clone(), author.clone());
    let mut poster =
        Poster { target, author, followers: followers.len(), connection, arrivals, number: 0 };
    poster.until_all_follow(bar).await?;

    bar.set_message("posting");
    bar.set_position(0);
    bar.set_length(posts_max.unwrap_or(u64::try_from(duration.as_millis())?));
    let started = Instant::now();
    let mut posts = 0;
    while started.elapsed() < duration && posts < posts_max.unwrap_or(u64::MAX) {
        poster.post(&mut tally, FRAME_MAX).await?;
        posts += 1;
        let elapsed = u64::try_from(started.elapsed().as_millis())?;
        bar.set_position(if posts_max.is_some() { posts } else { elapsed });
    }
    Ok((tally, started.elapsed()))
}

/// Tells of every entry that comes, once.
async fn listen(mut socket: Socket, arrived: mpsc::Sender<Arrival>) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(frame) = message else { continue };
        let came = Instant::now();
        let Some(number) = number_in(&frame) else { continue };
        if arrived.send((number, came)).await.is_err() {
            return;
        }
    }
}

/// The number of the post that a `timeline.entry` frame brings.
fn number_in(frame: &str) -> Option<u64> {
    let (_, rest) = frame.split_once(MARK)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

struct Poster {
    target: Target,
    author: Person,
    followers: usize,
    connection: Connection,
    arrivals: mpsc::Receiver<Arrival>,
    number: u64,
}

impl Poster {
    /// A follow reaches the timelines a moment after it was answered: posts until every follower's
    /// socket brings one.
    async fn until_all_follow(&mut self, bar: &ProgressBar) -> Result<()> {
        bar.set_message("waiting for the follows");
        for _ in 0..FIRST_POSTS_MAX {
            let mut unmeasured = Tally::default();
            if self.post(&mut unmeasured, Duration::from_secs(3)).await? == self.followers {
                return Ok(());
            }
        }
        bail!("the posts do not reach all {} followers' sockets", self.followers)
    }

    /// Posts once and waits for its frames; says how many came.
    async fn post(&mut self, tally: &mut Tally, frame_max: Duration) -> Result<usize> {
        self.number += 1;
        let text = format!("{MARK}{}; {}", self.number, text(usize::try_from(self.number)?));
        let body = serde_json::json!({ "text": text }).to_string();
        let request = render(&self.target, "POST", "/posts", &self.author.token, &body);
        let sent = Instant::now();
        let answer = self.connection.exchange(&request).await?;
        if answer.status == 429 {
            tally.failed(Operation::Post, answer.error());
            let wait = answer.retry_after.unwrap_or(Duration::from_secs(1));
            tokio::time::sleep(wait).await;
            return Ok(0);
        }
        ensure!(answer.status == 201, "cannot post: {}", answer.error());
        tally.took(Operation::Post, sent.elapsed());
        let limit = tokio::time::Instant::from_std(sent + frame_max);
        let (mut came, mut last) = (0, Duration::ZERO);
        while came < self.followers {
            let Ok(arrival) = tokio::time::timeout_at(limit, self.arrivals.recv()).await else {
                break;
            };
            let Some((number, at)) = arrival else { bail!("every socket was closed") };
            // A late frame of an earlier post was counted as lost then.
            if number == self.number {
                let time = at.saturating_duration_since(sent);
                tally.took(Operation::Frame, time);
                (came, last) = (came + 1, last.max(time));
            }
        }
        if came == self.followers {
            tally.took(Operation::LastFrame, last);
        } else {
            tally.failed(Operation::LastFrame, "a frame did not come".into());
        }
        Ok(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_its_post() {
        let frame = format!(r#"{{"data":{{"post":{{"text":"{MARK}42; and more"}}}}}}"#);
        assert_eq!(number_in(&frame), Some(42));
        assert_eq!(number_in(r#"{"type":"pong"}"#), None);
    }
}
