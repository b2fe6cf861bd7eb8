//! Lists and their cursors.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::person::Person;
use crate::server::Server;

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["post"]["postId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_away_fills_its_gap_page_by_page() {
    let server = Server::start(&["--posts-per-minute", "10000"]).await;
    let reader = Person::register(&server).await;
    let mut authors = Vec::new();
    for _ in 0..4 {
        let author = Person::register(&server).await;
        reader.follow(&author).await;
        authors.push(author);
    }
    let known = authors[0].post("already seen").await;
    reader.sees(std::slice::from_ref(&known)).await;
    let page = reader.get("/timeline?limit=5").await.expect(200);
    let mut cursor = page["prevCursor"].as_str().unwrap().to_owned();

    let mut writers = tokio::task::JoinSet::new();
    for author in authors {
        writers.spawn(async move {
            let mut posts = Vec::new();
            for number in 0..20 {
                posts.push(author.post(&format!("post {number}")).await);
            }
            posts
        });
    }
    // Reads while the posts are being written and fanned out, out of order.
    let mut filled = Vec::new();
    let mut written: Vec<String> = Vec::new();
    loop {
        let page = reader.get(&format!("/timeline?limit=7&cursor={cursor}")).await.expect(200);
        let page_ids = ids(&page);
        assert!(page_ids.is_sorted_by(|a, b| a > b), "newest first: {page_ids:?}");
        filled.extend(page_ids.iter().cloned());
        page["prevCursor"].as_str().unwrap().clone_into(&mut cursor);
        while let Some(posts) = writers.try_join_next() {
            written.extend(posts.unwrap());
        }
        if page_ids.is_empty() && writers.is_empty() {
            server.settled().await;
            let last = reader.get(&format!("/timeline?cursor={cursor}")).await.expect(200);
            filled.extend(ids(&last));
            if ids(&last).is_empty() {
                assert_eq!(last["prevCursor"], cursor.as_str(), "nothing newer: the same cursor");
                break;
            }
            last["prevCursor"].as_str().unwrap().clone_into(&mut cursor);
        }
    }
    let unique: BTreeSet<String> = filled.iter().cloned().collect();
    assert_eq!(unique.len(), filled.len(), "no post is given twice");
    assert_eq!(unique, written.iter().cloned().collect(), "no post is left out");
    written.push(known);
    reader.sees(&written).await;
    server.verified().await;
}

#[tokio::test]
async fn lists_hold_still_while_things_come_and_go() {
    let server = Server::start(&["--posts-per-minute", "1000"]).await;
    let author = Person::register(&server).await;
    let mut posts = Vec::new();
    for number in 0..30 {
        posts.push(author.post(&number.to_string()).await);
    }
    for list in [format!("/posts?authorId={}&limit=7", author.id), "/posts?limit=7".to_owned()] {
        let first = author.get(&list).await.expect(200);
        let cursor = first["nextCursor"].as_str().unwrap();
        let newer = author.post("in between").await;
        let removed = posts.remove(5);
        author.delete(&format!("/posts/{removed}")).await.expect(204);
        let rest =
            author.walk(&format!("{list}&cursor={cursor}"), |post| post["postId"].clone()).await;
        let mut whole: Vec<String> = first["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|post| post["postId"].as_str().unwrap().to_owned())
            .collect();
        whole.extend(rest);
        let expected: Vec<String> = posts.iter().rev().cloned().collect();
        assert_eq!(whole, expected, "{list}");
        let back = first["prevCursor"].as_str().unwrap();
        let page = author.get(&format!("{list}&cursor={back}")).await.expect(200);
        assert_eq!(page["items"][0]["postId"], newer.as_str());
        posts.push(newer);
    }
}

#[tokio::test]
async fn a_timeline_is_read_to_its_end_and_back() {
    let server = Server::start(&["--posts-per-minute", "1000", "--feed-entries-max", "40"]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    let mut posts = Vec::new();
    for number in 0..60 {
        posts.push(author.post(&number.to_string()).await);
    }
    reader.follow(&author).await;
    server.settled().await;
    for number in 60..70 {
        posts.push(author.post(&number.to_string()).await);
    }
    // Beyond the back-fill and the cap, the timeline is pulled from its authors.
    reader.sees(&posts).await;
    let first = reader.get("/timeline?limit=10").await.expect(200);
    let next = first["nextCursor"].as_str().unwrap();
    let second = reader.get(&format!("/timeline?limit=10&cursor={next}")).await.expect(200);
    let back = second["prevCursor"].as_str().unwrap();
    let again = reader.get(&format!("/timeline?limit=10&cursor={back}")).await.expect(200);
    assert_eq!(ids(&again), ids(&first));
}
