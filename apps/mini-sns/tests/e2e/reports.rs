//! Reports, from the person who makes one to the operator who closes it.

use serde_json::json;

use crate::person::Person;
use crate::server::Server;
use crate::suspension::{operate, read};

async fn gauge(server: &Server, name: &str) -> f64 {
    let url = format!("{}/metrics", server.admin);
    let text = server.http.get(url).send().await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[tokio::test]
async fn a_report_reaches_the_operators_and_is_closed() {
    let server = Server::start(&[]).await;
    let author = Person::register_as(&server, "loud").await;
    let reader = Person::register(&server).await;
    let post = author.post("buy\nthis").await;
    let about_post = json!({"postId": post, "reason": "spam"});
    let about_user = json!({"userId": author.id, "reason": "abuse", "text": "again and again"});
    let first = reader.post_to("/reports", &about_post).await.expect(201);
    let second = reader.post_to("/reports", &about_user).await.expect(201);
    assert_eq!(reader.post_to("/reports", &about_post).await.expect(200), first);
    author.post_to("/reports", &about_user).await.problem(422, "self_report");
    let (first, second) =
        (first["reportId"].as_str().unwrap(), second["reportId"].as_str().unwrap());
    assert!(gauge(&server, "reports_open").await == 2.0);
    assert!(gauge(&server, "reports_oldest_age_seconds").await > 0.0);

    let remove = ["posts", "remove", &post, "--reason", "advertising"];
    assert_eq!(operate(&server, &remove).unwrap(), format!("{post}: removed"));
    let table = operate(&server, &["reports", "list"]).unwrap();
    for text in [first, second, &format!("post {post} by {}: buy this", author.id), "(loud)"] {
        assert!(table.contains(text), "{text} in {table}");
    }
    let shown = read(&server, &["reports", "show", second]);
    assert_eq!(
        (&shown["text"], &shown["reporterId"]),
        (&json!("again and again"), &json!(reader.id))
    );

    let close =
        ["reports", "close", first, "--as", "removed", "--note", "advertising", "--by", "otto"];
    let dry = operate(&server, &[&close[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(dry, format!("{first}: would be closed as removed"));
    assert_eq!(operate(&server, &close).unwrap(), format!("{first}: closed as removed"));
    assert_eq!(operate(&server, &close).unwrap(), format!("{first}: nothing to do"));
    // What goes on after the first was closed is reported anew; what is of one kind closes at once.
    let anew = reader.post_to("/reports", &json!({"userId": author.id, "reason": "spam"})).await;
    assert_eq!(anew.expect(200)["reportId"], second, "it is open");
    let witness = Person::register(&server).await;
    let third = witness.post_to("/reports", &about_user).await.expect(201);
    let third = third["reportId"].as_str().unwrap();
    let close_all =
        ["reports", "close", "--about", &author.id, "--as", "suspended", "--note", "noise"];
    let lines = |told: &str| format!("{second}: {told}\n{third}: {told}");
    let dry = operate(&server, &[&close_all[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(dry, lines("would be closed as suspended"));
    assert_eq!(operate(&server, &close_all).unwrap(), lines("closed as suspended"));
    assert_eq!(operate(&server, &close_all).unwrap(), format!("{}: nothing to do", author.id));
    let fourth = reader.post_to("/reports", &about_user).await.expect(201);
    let fourth = fourth["reportId"].as_str().unwrap();
    let unknown = operate(&server, &["reports", "show", &post]).unwrap_err();
    assert_eq!(unknown.lines().count(), 1, "{unknown}");
    let open = read(&server, &["reports", "list", "--open"]);
    assert_eq!(open["items"].as_array().unwrap().len(), 1);
    assert_eq!(open["items"][0]["reportId"], fourth);
    let all = read(&server, &["reports", "list", "--all", "--limit", "1", "--after", second]);
    assert_eq!(all["items"][0]["closed"]["as"], "removed");
    assert_eq!(all["items"][0]["subject"]["text"], "buy\nthis");
    assert!(gauge(&server, "reports_open").await == 1.0);
    let acts = read(&server, &["audit"]);
    assert_eq!(acts["items"][2]["act"], "close-report-removed");
    assert_eq!(
        (&acts["items"][2]["subject"], &acts["items"][2]["operator"]),
        (&json!(first), &json!("otto"))
    );
    server.verified().await;
}
