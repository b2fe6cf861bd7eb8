//! The flows of the architecture document (R3.1 to R3.4) through the deployed doors, and stacks
//! that come and go by themselves.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::leave::a_roles_leave_opens_the_functions_that_it_names;
use crate::person::{PATIENCE, Person, read, refused};
use crate::world::{SERVICES, World};

/// One deployment for all of it: it is most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flows_work_through_the_deployed_doors() {
    let world = World::deploy("staging").await;
    everything_is_there_by_name(&world).await;
    let author = Person::register(&world, "hanako").await;
    let reader = Person::register(&world, "taro").await;
    the_doors_are_closed_to_strangers(&world, &author).await;
    let person = author.id.parse().unwrap();
    a_roles_leave_opens_the_functions_that_it_names(&world, person).await;
    a_follow_brings_the_newest_posts(&author, &reader).await;
    a_post_reaches_timelines_and_sockets(&author, &reader).await;
    nothing_is_left_on_the_way(&world).await;
    services_are_removed_one_by_one(&world, &author).await;
}

/// What the code looks for by name is what the templates made.
async fn everything_is_there_by_name(world: &World) {
    let mut tables = world.tables().await;
    tables.sort();
    let mut expected = SERVICES.map(|it| format!("mini-sns-{}-{it}-ddb", world.env));
    expected.sort();
    assert_eq!(tables, expected);
    let queues = world.queues().await;
    let specs = [users::QUEUES, posts::QUEUES, social::QUEUES, timeline::QUEUES].concat();
    for spec in &specs {
        for end in ["", "-dlq"] {
            let name = format!("mini-sns-{}-{}{end}", world.env, spec.name);
            assert!(queues.contains_key(&name), "{name}");
        }
        let question = json!({
            "Name": format!("mini-sns-{}-{}", world.env, spec.name),
            "EventBusName": format!("mini-sns-{}-event-bus", world.env),
        });
        let rule = world.region.call("events", "AWSEvents.DescribeRule", &question).await;
        let pattern: Value = serde_json::from_str(rule["EventPattern"].as_str().unwrap()).unwrap();
        let kinds: Vec<_> = spec.kinds.iter().map(|kind| kind.short_name()).collect();
        assert_eq!(pattern, json!({"detail-type": kinds}), "{}", spec.name);
    }
    // Two for each, three relays', and the bus's own.
    assert_eq!(queues.len(), 2 * specs.len() + 3 + 1);
}

/// R2.5, R5.1: without a token the gateway answers by itself, and what is between the services is
/// not there.
async fn the_doors_are_closed_to_strangers(world: &World, person: &Person<'_>) {
    let http = reqwest::Client::new();
    let rest = &world.outputs["RestApiUrl"];
    let status = async |path: &str| {
        http.get(format!("{rest}{path}")).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("/health").await, 200);
    assert_eq!(status("/.well-known/jwks.json").await, 200);
    assert_eq!(status("/timeline").await, 401);
    assert_eq!(status("/users/me").await, 401);
    // On AWS 404, by the templates' own answers, which the emulator does not read.
    let between = person.ask(Method::POST, "/internal/profiles", Some(json!({"ids": []}))).await;
    assert_eq!(between.status(), 403);
    let sockets = &world.outputs["WebSocketUrl"];
    // Of the function's refusal AWS makes a 401, the emulator a 500.
    assert_eq!(refused(sockets).await, 500);
    assert_eq!(refused(&format!("{sockets}?token=no-token")).await, 500);
    // R3.1: whom the service has registered is in the pool, and whom somebody else adds is not.
    let pool = &world.outputs["UserPoolId"];
    let question = json!({"UserPoolId": pool});
    let target = "AWSCognitoIdentityProviderService.ListUsers";
    let known = world.region.call("cognito-idp", target, &question).await;
    let names: Vec<_> = known["Users"].as_array().unwrap().iter().collect();
    assert!(
        names
            .iter()
            .any(|user| user["Username"] == person.id.to_lowercase()
                || user["Username"] == person.id)
    );
}

/// R3.4, R3.2
async fn a_follow_brings_the_newest_posts(author: &Person<'_>, reader: &Person<'_>) {
    let before = author.post("before anybody followed").await;
    author.sees(&[&before]).await;
    assert_eq!(reader.timeline().await, Vec::<String>::new());
    let follow = format!("/users/{}/follow", author.id);
    let followed = reader.told(Method::POST, &follow, None).await;
    assert_eq!(followed, json!({"following": true}));
    reader.sees(&[&before]).await;
    // The second reading comes out of Redis.
    let again = reader.ask(Method::GET, "/timeline", None).await;
    assert_eq!(again.headers()["x-cache"], "hit");
    let (_, page) = read(again).await;
    assert_eq!(page["items"][0]["author"]["handle"], "hanako");
    assert_eq!(page["items"][0]["post"]["text"], "before anybody followed");
}

/// R3.3
async fn a_post_reaches_timelines_and_sockets(author: &Person<'_>, reader: &Person<'_>) {
    let mut socket = reader.open().await;
    socket.say(&json!({"type": "ping"})).await;
    assert_eq!(socket.frame().await["type"], "hello");
    assert_eq!(socket.frame().await, json!({"type": "pong"}));
    let post = author.post("おはよう 🌅").await;
    let entry = socket.frame().await;
    assert_eq!(entry["type"], "timeline.entry");
    assert_eq!(entry["data"]["post"]["postId"], post);
    assert_eq!(entry["data"]["post"]["text"], "おはよう 🌅");
    assert_eq!(reader.timeline().await[0], post);
    let liked = reader.told(Method::POST, &format!("/posts/{post}/likes"), None).await;
    assert_eq!(liked, json!({"liked": true, "likeCount": 1}));
    let gone = author.ask(Method::DELETE, &format!("/posts/{post}"), None).await;
    assert_eq!(gone.status(), 204);
    assert_eq!(
        socket.frame().await,
        json!({
            "type": "timeline.removed", "data": {"postId": post},
        })
    );
    let likes = format!("/posts/{post}/likes");
    assert_eq!(reader.ask(Method::GET, &likes, None).await.status(), 404);
}

/// R4.2: every message was taken, and none of them for dead.
async fn nothing_is_left_on_the_way(world: &World) {
    let mut left = world.queues().await;
    let emptied = async {
        while left.values().any(|count| *count > 0) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            left = world.queues().await;
        }
    };
    if tokio::time::timeout(PATIENCE, emptied).await.is_err() {
        left.retain(|_, count| *count > 0);
        panic!("{left:?}");
    }
}

/// R1.1: each service goes by itself, and the others serve on; what is shared goes last.
async fn services_are_removed_one_by_one(world: &World, person: &Person<'_>) {
    assert!(world.region.is_needed(&world.stack("shared")).await);
    world.region.remove(&world.stack("timeline")).await;
    assert!(!world.tables().await.contains(&format!("mini-sns-{}-timeline-ddb", world.env)));
    let timeline = person.ask(Method::GET, "/timeline", None).await.status();
    assert!(timeline.is_server_error(), "{timeline}");
    assert_eq!(person.ask(Method::GET, "/posts", None).await.status(), 200);
    for service in ["social", "post", "user", "shared"] {
        world.region.remove(&world.stack(service)).await;
    }
    assert_eq!(world.tables().await, Vec::<String>::new());
    assert!(world.queues().await.is_empty());
}
