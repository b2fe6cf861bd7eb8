//! A restore of the tables, as docs/operate/restore.md says. What only AWS has is the restore to a
//! point in time itself; the copies that it would make are made here item by item.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::person::Person;
use crate::server::{SERVICES, Server, VISIBILITY};

/// Posts that are written after the moment to which all is restored.
const LATER: usize = 30;

/// The bed's DynamoDB, by its own interface.
struct Tables {
    url: String,
    env_name: String,
    http: reqwest::Client,
}

impl Tables {
    fn name(&self, service: &str) -> String {
        format!("mini-sns-{}-{service}-ddb", self.env_name)
    }

    async fn call(&self, action: &str, body: Value) -> Value {
        let scope = "test/20260101/us-east-1/dynamodb/aws4_request";
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=unchecked");
        let request = self.http.post(&self.url).header("authorization", signature);
        let request = request.header("x-amz-target", format!("DynamoDB_20120810.{action}"));
        let request = request.header("x-amz-date", "20260101T000000Z");
        let request = request.header("content-type", "application/x-amz-json-1.0");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{action}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn items(&self, table: &str) -> Vec<Value> {
        let (mut all, mut scan) = (Vec::new(), json!({"TableName": table}));
        loop {
            let mut page = self.call("Scan", scan.clone()).await;
            all.append(page["Items"].as_array_mut().unwrap());
            match page["LastEvaluatedKey"].take() {
                Value::Null => return all,
                start => scan["ExclusiveStartKey"] = start,
            }
        }
    }

    async fn write(&self, table: &str, writes: Vec<Value>) {
        for batch in writes.chunks(25) {
            let answer = self.call("BatchWriteItem", json!({"RequestItems": {table: batch}})).await;
            assert!(answer["UnprocessedItems"].as_object().is_none_or(serde_json::Map::is_empty));
        }
    }

    /// What `aws dynamodb restore-table-to-point-in-time` makes: a new table that holds the same.
    async fn copy(&self, service: &str) {
        let (table, copy) = (self.name(service), self.name(service) + "-restored");
        let create = json!({
            "TableName": copy, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        });
        self.call("CreateTable", create).await;
        let items = self.items(&table).await.into_iter();
        self.write(&copy, items.map(|item| json!({"PutRequest": {"Item": item}})).collect()).await;
    }

    /// Loses all that a table holds.
    async fn empty(&self, service: &str) {
        let table = self.name(service);
        let keys =
            self.items(&table).await.into_iter().map(
                |item| json!({"DeleteRequest": {"Key": {"pk": item["pk"], "sk": item["sk"]}}}),
            );
        self.write(&table, keys.collect()).await;
    }

    async fn sorted(&self, table: &str) -> Vec<String> {
        let mut all: Vec<_> = self.items(table).await.iter().map(Value::to_string).collect();
        all.sort();
        all
    }
}

fn said(mut restore: Command, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = restore.args(args).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_what_they_were_and_timelines_are_made_anew() {
    let bed = Bed::provision(VISIBILITY);
    let (url, env_name) = (bed.dynamodb_url.clone(), bed.env_name.clone());
    let tables = Tables { url, env_name, http: reqwest::Client::new() };
    let mut server = Server::start_on(bed, &["--posts-per-minute", "100"]).await;
    let (author, reader) = (Person::register(&server).await, Person::register(&server).await);
    let other = Person::register(&server).await;
    reader.follow(&author).await;
    let kept = vec![author.post("from before").await];
    server.settled().await;
    for service in SERVICES {
        tables.copy(service).await;
    }

    // What is to be undone: a post is gone, others were written, follows are not what they were.
    author.delete(&format!("/posts/{}", kept[0])).await.expect(204);
    let mut later = Vec::new();
    for number in 0..LATER {
        later.push(author.post(&format!("from after, {number}")).await);
    }
    reader.unfollow(&author).await;
    other.follow(&author).await;
    let newcomer = Person::register(&server).await;
    newcomer.follow(&author).await;
    server.settled().await;
    server.kill();
    // And the timeline's table is lost altogether.
    tables.empty("timeline").await;

    let lost = tables.sorted(&tables.name("post")).await;
    let would = said(server.restore(), &["--dry-run"]);
    assert!(would.ends_with("3 timelines would be made anew\n"), "{would}");
    assert_eq!(tables.sorted(&tables.name("post")).await, lost, "nothing is written");
    let told = said(server.restore(), &[]);
    assert_eq!(would.replace("would be ", ""), told);
    for service in ["user", "post", "social"] {
        let table = tables.name(service);
        assert!(told.contains(&format!("{table}: ")), "{told}");
        let copy = tables.sorted(&format!("{table}-restored")).await;
        assert_eq!(tables.sorted(&table).await, copy, "{service}");
    }
    assert!(told.ends_with("3 timelines made anew\n"), "{told}");
    // Again: it goes on where it was broken off, and here there is nothing left to do.
    let again = said(server.restore(), &[]);
    assert_eq!(again.matches(": 0 items written, 0 deleted").count(), 3, "{again}");

    // People and sessions are there, and nobody sees what came later.
    server.restart().await;
    let [author, reader, other] = [author, reader, other].map(|person| person.at(&server));
    reader.sees(&kept).await;
    author.sees(&kept).await;
    other.sees(&[]).await;
    author.get(&format!("/posts/{}", later[0])).await.expect(404);
    // Events find whom they must.
    let next = author.post("from afterwards").await;
    reader.sees(&[next, kept[0].clone()]).await;
    server.verified().await;
}
