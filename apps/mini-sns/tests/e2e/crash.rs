//! Killed at any moment, started again: everything that was answered is there, nothing is twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::sync::Mutex;

use crate::person::Person;
use crate::server::Server;

/// What the server has answered, and so owes.
#[derive(Default)]
struct Owed {
    posts: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// By post: how each fan's last answered wish left it. A fan whose last request was not
    /// answered may be either.
    likes: BTreeMap<(String, usize), Option<bool>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_and_nothing_is_twice() {
    let rounds: u64 = std::env::var("MINI_SNS_TEST_KILLS").map_or(4, |text| text.parse().unwrap());
    let open = ["--user-rate-per-sec", "100000", "--user-rate-burst", "100000"];
    let mut server = Server::start(&[&open[..], &["--posts-per-minute", "100000"]].concat()).await;
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(Person::register(&server).await);
    }
    for follower in &people[1..] {
        follower.follow(&people[0]).await;
    }
    let owed = Arc::new(Mutex::new(Owed::default()));
    for round in 0..rounds {
        let load = tokio::spawn(write_until_refused(people.clone(), Arc::clone(&owed), round));
        tokio::time::sleep(Duration::from_millis(150 + 130 * (round % 5))).await;
        server.kill();
        load.await.unwrap();
        server.restart().await;
        people = people.iter().map(|person| person.at(&server)).collect();
    }
    server.settled().await;
    let owed = owed.lock().await;
    assert!(owed.posts.len() > 10, "the load wrote something: {}", owed.posts.len());
    for reader in &people {
        let timeline = reader.timeline().await;
        let seen: BTreeSet<String> = timeline.iter().cloned().collect();
        assert_eq!(seen.len(), timeline.len(), "no post is twice in {}'s timeline", reader.handle);
        let kept: BTreeSet<_> = owed.posts.difference(&owed.deleted).cloned().collect();
        let lost: Vec<_> = kept.difference(&seen).collect();
        assert!(lost.is_empty(), "answered posts reach {}: {lost:?}", reader.handle);
        let back: Vec<_> = owed.deleted.intersection(&seen).collect();
        assert!(back.is_empty(), "no deleted post is back: {back:?}");
    }
    for ((post, fan), wish) in &owed.likes {
        let state = people[*fan].get(&format!("/likes?postIds={post}")).await.expect(200);
        if let Some(liked) = wish {
            assert_eq!(state["items"][0]["liked"], *liked, "an answered like stands: {state}");
        }
        let count = state["items"][0]["likeCount"].as_u64().unwrap();
        let list = format!("/posts/{post}/likes?limit=100");
        let fans = people[0].walk(&list, |like| like["user"]["userId"].clone()).await;
        assert_eq!(count, fans.len() as u64, "the count equals the likes");
    }
    drop(owed);
    server.verified().await;
}

/// Posts, deletes and likes in several tasks, until the server is gone.
async fn write_until_refused(people: Vec<Person>, owed: Arc<Mutex<Owed>>, round: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6_usize {
        let (people, owed) = (people.clone(), Arc::clone(&owed));
        tasks.spawn(async move {
            for number in 0.. {
                let text = json!({"text": format!("round {round}, task {task}, number {number}")});
                let author = people[0].clone();
                let Ok(answer) = author.request(Method::POST, "/posts").json(&text).send().await
                else {
                    return;
                };
                assert!(answer.status().is_success(), "{}", answer.status());
                let Ok(post) = answer.json::<serde_json::Value>().await else { return };
                let post = post["postId"].as_str().unwrap().to_owned();
                owed.lock().await.posts.insert(post.clone());
                let fan = 1 + task % (people.len() - 1);
                if wish(&people, &owed, &post, fan, number).await.is_none() {
                    return;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Likes, unlikes or deletes a post; none when the server is gone.
async fn wish(
    people: &[Person],
    owed: &Mutex<Owed>,
    post: &str,
    fan: usize,
    number: usize,
) -> Option<()> {
    if number.is_multiple_of(3) {
        // An unanswered delete may or may not have happened: such a post is owed to nobody.
        owed.lock().await.posts.remove(post);
        people[0].request(Method::DELETE, &format!("/posts/{post}")).send().await.ok()?;
        owed.lock().await.deleted.insert(post.to_owned());
        return Some(());
    }
    let path = format!("/posts/{post}/likes");
    let key = (post.to_owned(), fan);
    for (method, liked) in [(Method::POST, true), (Method::DELETE, false)] {
        owed.lock().await.likes.insert(key.clone(), None);
        people[fan].request(method, &path).send().await.ok()?;
        owed.lock().await.likes.insert(key.clone(), Some(liked));
        if number.is_multiple_of(2) {
            break;
        }
    }
    Some(())
}
