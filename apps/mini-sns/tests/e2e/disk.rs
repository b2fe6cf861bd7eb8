//! A full disk: reads go on, nothing is acknowledged that is not on disk, and when there is room
//! again writes go on without a restart.

use std::fs;
use std::io::Write;

use serde_json::json;

use crate::person::Person;
use crate::server::{Server, eventually};

#[tokio::test]
async fn a_full_disk_stops_writes_alone_and_only_until_there_is_room() {
    let options = ["--posts-per-minute", "1000000", "--free-space-floor", "8MiB"];
    let server = Server::start_on_small_disk("160m", &options).await;
    let (author, reader) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    let mut answered = vec![author.post("there was room").await];
    server.settled().await;

    // The server's own view of its file system, seen from outside its mount namespace.
    let data = server.data.strip_prefix("/").unwrap();
    let root = format!("/proc/{}/root", server.pid());
    let filler = std::path::Path::new(&root).join(data).join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let block = vec![7; 1 << 20];
    while file.write_all(&block).is_ok() {}
    drop(file);

    let refused = eventually("a write is refused", async || {
        let answer = author.post_to("/posts", &json!({"text": "no room"})).await;
        if answer.status == 201 {
            answered.push(answer.body["postId"].as_str().unwrap().to_owned());
        }
        (answer.status != 201).then_some(answer)
    })
    .await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.problem(503, "unavailable");
    author.get(&format!("/posts/{}", answered[0])).await.expect(200);
    assert!(!reader.timeline().await.is_empty(), "reads go on");
    author.get("/users/me").await.expect(200);
    let metrics = async || {
        let url = format!("{}/metrics", server.admin);
        server.http.get(url).send().await.unwrap().text().await.unwrap()
    };
    let told = metrics().await;
    for line in ["table_writable{table=\"post\"} 0", "table_spare_disk_bytes{table=\"post\"} 0"] {
        assert!(told.lines().any(|told| told == line), "{line}");
    }

    fs::remove_file(&filler).unwrap();
    let post = eventually("writes go on", async || {
        let answer = author.post_to("/posts", &json!({"text": "room again"})).await;
        (answer.status == 201).then_some(answer.body)
    })
    .await;
    assert!(metrics().await.contains("table_writable{table=\"post\"} 1"));
    answered.push(post["postId"].as_str().unwrap().to_owned());
    reader.sees(&answered).await;
    server.settled().await;
}
