//! What people, and operators, can do about what they do not want to see.

use reqwest::Method;
use serde_json::json;

use crate::live::Socket;
use crate::person::Person;
use crate::server::Server;

async fn turn(who: &Person, method: Method, whom: &Person, how: &str) {
    who.send(method, &format!("/users/{}/{how}", whom.id)).await.expect(200);
}

async fn posts_by(who: &Person, author: &Person) -> Vec<String> {
    let path = format!("/posts?limit=100&authorId={}", author.id);
    who.walk(&path, |post| post["postId"].clone()).await
}

#[tokio::test]
async fn a_block_parts_two_people_at_once_and_both_ways() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (Person::register(&server).await, Person::register(&server).await);
    ann.follow(&bob).await;
    bob.follow(&ann).await;
    let (of_ann, of_bob) = (ann.post("from Ann").await, bob.post("from Bob").await);
    for person in [&ann, &bob] {
        person.sees(&[of_ann.clone(), of_bob.clone()]).await;
    }
    turn(&ann, Method::POST, &bob, "block").await;
    for (who, other, own, others) in
        [(&ann, &bob, &of_ann, &of_bob), (&bob, &ann, &of_bob, &of_ann)]
    {
        assert_eq!(
            who.timeline().await,
            [own.as_str()],
            "whatever is cached, and before any event"
        );
        assert_eq!(posts_by(who, other).await, [""; 0]);
        who.get(&format!("/posts/{others}")).await.problem(404, "not_found");
        let follow = format!("/users/{}/follow", other.id);
        who.send(Method::POST, &follow).await.problem(403, "blocked");
        let like = format!("/posts/{others}/likes");
        assert_ne!(who.send(Method::POST, &like).await.status, 200);
        let state = who.get(&follow).await.expect(200);
        assert_eq!((&state["following"], &state["followedBy"]), (&json!(false), &json!(false)));
        assert_eq!((&state["followerCount"], &state["followingCount"]), (&json!(0), &json!(0)));
    }
    server.settled().await;
    let mut socket = Socket::open(&server, &ann).await;
    bob.post("nobody hears it").await;
    let mine = ann.post("but this").await;
    assert_eq!(socket.next("timeline.entry").await["data"]["post"]["postId"], mine);
    let blocks = ann.get("/users/me/blocks").await.expect(200);
    assert_eq!(blocks["items"][0]["user"]["userId"], bob.id);
    assert_eq!(bob.get("/users/me/blocks").await.expect(200)["items"], json!([]));
    turn(&ann, Method::DELETE, &bob, "block").await;
    bob.follow(&ann).await;
    bob.get(&format!("/posts/{of_ann}")).await.expect(200);
    server.verified().await;
}

#[tokio::test]
async fn a_mute_hides_somebody_from_one_timeline_alone() {
    let server = Server::start(&[]).await;
    let (ann, loud) = (Person::register(&server).await, Person::register(&server).await);
    ann.follow(&loud).await;
    let first = loud.post("one").await;
    ann.sees(std::slice::from_ref(&first)).await;
    turn(&ann, Method::POST, &loud, "mute").await;
    assert_eq!(ann.timeline().await, [""; 0], "whatever is cached, and before any event");
    server.settled().await;
    let mut socket = Socket::open(&server, &ann).await;
    let second = loud.post("two").await;
    let mine = ann.post("mine").await;
    assert_eq!(socket.next("timeline.entry").await["data"]["post"]["postId"], mine);
    ann.sees(std::slice::from_ref(&mine)).await;
    assert_eq!(posts_by(&ann, &loud).await, [second.as_str(), first.as_str()]);
    let mutes = ann.get("/users/me/mutes").await.expect(200);
    assert_eq!(mutes["items"][0]["user"]["userId"], loud.id);
    server.settled().await;
    turn(&ann, Method::DELETE, &loud, "mute").await;
    ann.sees(&[first, second, mine]).await;
    server.verified().await;
}
