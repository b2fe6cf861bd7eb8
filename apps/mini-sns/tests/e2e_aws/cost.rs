//! What calls of the API cost in DynamoDB, by the processes' own metrics. `docs/cost.md` is held to
//! it; with `MINI_SNS_TEST_WRITE` set, the test writes its table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use conformance::document;
use reqwest::Method;
use serde_json::json;

use crate::person::{PASSWORD, Person};
use crate::server::{SERVICES, Server, Service};

/// How often a call is measured. Whatever happens beside it only adds, so the least counts.
const ROUNDS: usize = 3;
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cost.md");
const FOLLOWERS: u32 = 10;
/// Queries of one look at an outbox: by the relays, which sweep, and by [`Server::settled`].
const LOOK: f64 = 16.0;

/// Requests and units by table and operation.
type Used = BTreeMap<(&'static str, String), (f64, f64)>;

/// All that was used since the processes started.
async fn used(server: &Server) -> Used {
    let mut used = Used::new();
    for service in [Service::User, Service::Post, Service::Social, Service::Timeline] {
        let url = format!("{}/metrics", server.process(service).admin);
        let text = server.http.get(url).send().await.unwrap().text().await.unwrap();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('{') else { continue };
            let Some((labels, value)) = rest.split_once("} ") else { continue };
            let value = value.parse::<f64>().unwrap();
            let label = |key: &str| {
                let (_, rest) = labels.split_once(&format!("{key}=\"")).unwrap();
                rest.split_once('"').unwrap().0.to_owned()
            };
            let add = match name {
                "dynamodb_requests_total" => (value, 0.0),
                "dynamodb_capacity_units_sum" => (0.0, value),
                _ => continue,
            };
            let sum = used.entry((SERVICES[service as usize], label("operation"))).or_default();
            *sum = (sum.0 + add.0, sum.1 + add.1);
        }
    }
    used
}

/// What one call used, with everything that it set off, its events included.
async fn used_by(server: &Server, call: impl AsyncFnOnce()) -> Used {
    server.settled().await;
    let earlier = used(server).await;
    let before = used(server).await;
    call().await;
    server.settled().await;
    let mut after = used(server).await;
    for (place, sum) in &mut after {
        let at = |found: &Used| found.get(place).copied().unwrap_or_default();
        let (earlier, before) = (at(&earlier), at(&before));
        // To tell the metrics costs something as well, as much each time.
        let told = (before.0 - earlier.0, before.1 - earlier.1);
        *sum = (sum.0 - before.0 - told.0, sum.1 - before.1 - told.1);
        if place.1 == "Query" {
            // Looks are not the call's, which makes far fewer queries. Each costs a unit.
            let looks = (sum.0 / LOOK).floor() * LOOK;
            *sum = (sum.0 - looks, sum.1 - looks);
        }
    }
    after.retain(|_, sum| sum.0 > 0.0);
    after
}

fn is_a_read(operation: &str) -> bool {
    matches!(operation, "GetItem" | "BatchGetItem" | "Query")
}

/// Read and write units.
fn units(used: &Used) -> (f64, f64) {
    let sum = |reads: bool| {
        let some = used.iter().filter(|((_, operation), _)| is_a_read(operation) == reads);
        some.map(|(_, (_, units))| units).sum::<f64>() + 0.0
    };
    (sum(true), sum(false))
}

/// The least of some rounds of the same call.
async fn least(server: &Server, calls: impl AsyncFn(usize)) -> Used {
    let mut least: Option<Used> = None;
    for round in 0..ROUNDS {
        let used = used_by(server, async || calls(round).await).await;
        let cost = |used: &Used| {
            let requests: f64 = used.values().map(|(requests, _)| requests).sum();
            let (reads, writes) = units(used);
            requests + reads + writes
        };
        if least.as_ref().is_none_or(|least| cost(&used) < cost(least)) {
            least = Some(used);
        }
    }
    least.unwrap()
}

fn row(what: &str, used: &Used) -> String {
    let mut requests = String::new();
    for service in SERVICES {
        let of_service: Vec<_> = used
            .iter()
            .filter(|((whose, _), _)| *whose == service)
            .map(|((_, operation), (count, _))| format!("{count} {operation}"))
            .collect();
        if !of_service.is_empty() {
            let between = if requests.is_empty() { "" } else { "; " };
            write!(requests, "{between}{service}: {}", of_service.join(", ")).unwrap();
        }
    }
    let (reads, writes) = units(used);
    format!("| {what} | {requests} | {reads} | {writes} |\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cost_what_the_document_says() {
    let free = ["--posts-per-minute", "100000", "--auth-rate-burst", "1000"];
    // Counts that are too old are asked anew, and how long this test takes must not matter.
    let calm = ["--like-count-ttl", "1h"];
    let server = Server::start(&[&free[..], &calm].concat()).await;
    let author = Person::register(&server).await;
    let mut table =
        "| call | requests | read units | write units |\n|---|---|---|---|\n".to_owned();

    let register = least(&server, async |_| drop(Person::register(&server).await)).await;
    table += &row("`POST /auth/register`", &register);
    let login = json!({"email": author.email, "password": PASSWORD});
    let sign_in = async |_| drop(author.post_to("/auth/login", &login).await.expect(200));
    table += &row("`POST /auth/login`", &least(&server, sign_in).await);
    let me = async |_| drop(author.get("/users/me").await.expect(200));
    table += &row("`GET /users/me`", &least(&server, me).await);

    let post = async |_| drop(author.post("nobody follows me yet").await);
    let alone = least(&server, post).await;
    table += &row("`POST /posts`, without followers", &alone);
    let mut posts = Vec::new();
    for number in 0..20 {
        posts.push(author.post(&number.to_string()).await);
    }
    let one = async |_| drop(author.get(&format!("/posts/{}", posts[0])).await.expect(200));
    table += &row("`GET /posts/{postId}`", &least(&server, one).await);

    let path = |round: usize| format!("/posts/{}/likes", posts[round]);
    let like = async |round| drop(author.send(Method::POST, &path(round)).await.expect(200));
    table += &row("`POST /posts/{postId}/likes`", &least(&server, like).await);
    let unlike = async |round| drop(author.send(Method::DELETE, &path(round)).await.expect(200));
    table += &row("`DELETE /posts/{postId}/likes`", &least(&server, unlike).await);

    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let follower = Person::register(&server).await;
        // Whose token a process has never seen costs more.
        follower.get("/timeline").await.expect(200);
        follower.get(&format!("/users/{}/follow", author.id)).await.expect(200);
        followers.push(follower);
    }
    let follow = async |round: usize| followers[round].follow(&author).await;
    table += &row("`POST /users/{userId}/follow`, 20 posts", &least(&server, follow).await);
    for follower in &followers[ROUNDS..] {
        follower.follow(&author).await;
    }

    let followed = least(&server, async |_| drop(author.post("to ten").await)).await;
    let (reads, writes) = units(&followed);
    let (alone_reads, alone_writes) = units(&alone);
    let each = |with: f64, without: f64| (with - without) / f64::from(FOLLOWERS);
    let (reads, writes) = (each(reads, alone_reads), each(writes, alone_writes));
    table += &format!("| fan-out, each follower | | {reads} | {writes} |\n");

    let page = async || drop(followers[0].get("/timeline").await.expect(200));
    let miss = least(&server, async |_| {
        server.redis.forget_all();
        page().await;
    });
    table += &row("`GET /timeline`, 20 entries, not cached", &miss.await);
    table +=
        &row("`GET /timeline`, 20 entries, cached", &least(&server, async |_| page().await).await);
    document::compare(DOCUMENT, "measured", &table);
    server.verified().await;
}
