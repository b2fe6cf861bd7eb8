//! Reports: who may make them, what they keep, and how operators close them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kernel::acts::Order;
use kernel::table::{Key, Write};
use kernel::{Time, UserId};
use posts::{Config, Copied, Report, ReportId, Verdict};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{Answer, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn about(post: &str) -> Value {
    json!({"postId": post, "reason": "spam"})
}

fn about_user(user: UserId) -> Value {
    json!({"userId": user.to_string(), "reason": "abuse", "text": " He says \n so. "})
}

fn id(answer: &Answer) -> ReportId {
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    answer.body["reportId"].as_str().unwrap().parse().unwrap()
}

fn order(dry_run: bool) -> Order {
    Order { operator: "olga".to_owned(), reason: " it is fine ".to_owned(), dry_run }
}

async fn open(world: &World) -> Vec<Report> {
    world.posts.open_reports(None, 100).await.unwrap()
}

#[tokio::test]
async fn a_report_keeps_what_it_is_about() {
    let world = World::new();
    let (author, reporter, other) = (world.user(), world.user(), world.user());
    let post = world.written(author, "buy this").await;
    let answer = world.report(reporter, about(&post)).await;
    assert_eq!(answer.status, 201);
    let report = id(&answer);
    let body = json!({
        "reportId": report.to_string(), "state": "open", "createdAt": "2026-01-01T00:00:00.000Z",
    });
    assert_eq!(answer.body, body);
    assert_eq!(world.delete(author, &post).await.status, 204);
    let again = world.report(reporter, json!({"postId": post, "reason": "other"})).await;
    assert_eq!((again.status, again.body), (200, body));
    assert_eq!(world.report(other, about(&post)).await.code(), "not_found");

    let kept = world.posts.report(report).await.unwrap();
    assert_eq!(kept.reporter_id, Some(reporter));
    let Copied::Post(copy) = &kept.subject else { panic!("{kept:?}") };
    assert_eq!((copy.text.as_str(), copy.author_id), ("buy this", author));
    assert_eq!(open(&world).await, [kept]);
    world.audit();
}

#[tokio::test]
async fn a_person_is_reported_by_their_profile_whoever_blocks_whom() {
    let world = World::new();
    let (person, reporter, other) = (world.person("loud"), world.user(), world.user());
    let post = world.written(person, "noise").await;
    world.others.apart.lock().unwrap().as_mut().unwrap().push([person, reporter]);
    let first = id(&world.report(reporter, about_user(person)).await);
    let second = id(&world.report(other, about_user(person)).await);
    let third = id(&world.report(reporter, about(&post)).await);
    let reports = open(&world).await;
    assert_eq!(
        reports.iter().map(|report| report.report_id).collect::<Vec<_>>(),
        [first, second, third]
    );
    assert_eq!(reports[0].text.as_deref(), Some("He says \n so."));
    let Copied::User(copy) = &reports[0].subject else { panic!("{reports:?}") };
    assert_eq!((copy.handle.as_str(), copy.bio.as_str()), ("loud", "of no account"));
    assert_eq!(world.posts.open_reports(Some(first), 1).await.unwrap(), [reports[1].clone()]);
    assert_eq!(world.posts.reports(Some(third), 1).await.unwrap(), [reports[1].clone()]);
    world.audit();
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_leaves_nothing() {
    let world = World::with(Config { reports_per_day: 1, ..Config::default() });
    let (author, reporter) = (world.user(), world.person("me"));
    let (post, own) = (world.written(author, "a").await, world.written(reporter, "b").await);
    let hidden = world.user();
    let of_hidden = world.written(hidden, "c").await;
    world.suspended(hidden, 1, true).await;
    let (nobody, me) = (world.user().to_string(), reporter.to_string());
    let long = "a".repeat(1001);
    for (body, status, code, field) in [
        (json!({"reason": "spam"}), 422, "validation_failed", "postId"),
        (
            json!({"postId": post, "userId": nobody, "reason": "spam"}),
            422,
            "validation_failed",
            "postId",
        ),
        (json!({"postId": post}), 422, "validation_failed", "reason"),
        (json!({"postId": post, "reason": "dull"}), 422, "validation_failed", "reason"),
        (json!({"postId": "x", "reason": "spam"}), 422, "validation_failed", "postId"),
        (json!({"postId": post, "reason": "spam", "text": long}), 422, "validation_failed", "text"),
        (
            json!({"postId": post, "reason": "spam", "text": "a\u{0}"}),
            422,
            "validation_failed",
            "text",
        ),
        (json!({"postId": own, "reason": "spam"}), 422, "self_report", "postId"),
        (json!({"userId": me, "reason": "spam"}), 422, "self_report", "userId"),
        (json!({"userId": nobody, "reason": "spam"}), 404, "not_found", ""),
        (json!({"postId": nobody, "reason": "spam"}), 404, "not_found", ""),
        (json!({"postId": of_hidden, "reason": "spam"}), 404, "not_found", ""),
    ] {
        let answer = world.report(reporter, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body}");
        let errors = answer.problem.unwrap().errors;
        assert_eq!(errors.first().map_or("", |error| error.field.as_str()), field, "{body}");
    }
    assert_eq!(open(&world).await, []);
    assert_eq!(world.posts.reports_waiting().await.unwrap(), (0, None));
    // None of them was counted.
    assert_eq!(world.report(reporter, about(&post)).await.status, 201);
    world.audit();
}

#[tokio::test]
async fn so_many_a_day_and_repetitions_do_not_count() {
    let world = World::with(Config { reports_per_day: 2, ..Config::default() });
    let (author, reporter) = (world.user(), world.user());
    let mut posts = Vec::new();
    for text in ["a", "b", "c"] {
        posts.push(world.written(author, text).await);
    }
    world.clock.advance(Duration::from_secs(60 * 60));
    for post in [&posts[0], &posts[0], &posts[1]] {
        id(&world.report(reporter, about(post)).await);
    }
    let answer = world.report(reporter, about(&posts[2])).await;
    assert_eq!((answer.status, answer.code()), (429, "report_rate_limited"));
    assert_eq!(answer.problem.unwrap().retry_after_secs, Some(23 * 60 * 60));
    assert_eq!(world.report(reporter, about(&posts[1])).await.status, 200);
    assert_eq!(world.report(author, about_user(world.person("x"))).await.status, 201);
    // Writing a post keeps the count.
    world.written(reporter, "mine").await;
    assert_eq!(world.report(reporter, about(&posts[2])).await.status, 429);
    world.clock.advance(Duration::from_secs(23 * 60 * 60));
    assert_eq!(world.report(reporter, about(&posts[2])).await.status, 201);
    world.audit();
}

#[tokio::test]
async fn who_is_suspended_or_gone_reports_nothing() {
    let world = World::new();
    let (author, reporter) = (world.user(), world.user());
    let post = world.written(author, "a").await;
    world.suspended(reporter, 1, true).await;
    let answer = world.report(reporter, about(&post)).await;
    assert_eq!((answer.status, answer.code()), (403, "account_suspended"));
    world.suspended(reporter, 2, false).await;
    assert_eq!(world.report(reporter, about(&post)).await.status, 201);
    world.user_deleted(reporter).await;
    let answer = world.report(reporter, about(&post)).await;
    assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
    assert_eq!(open(&world).await.len(), 1);
    world.audit();
}

#[tokio::test]
async fn a_report_is_closed_once_noted_and_kept_for_90_days() {
    let world = World::new();
    let (author, reporter) = (world.user(), world.user());
    let post = world.written(author, "a").await;
    let since = world.posts.reports_waiting().await.unwrap();
    assert_eq!(since, (0, None));
    let report = id(&world.report(reporter, about(&post)).await);
    let start = Time::from_millis(i64::try_from(report.timestamp_ms()).unwrap());
    assert_eq!(world.posts.reports_waiting().await.unwrap(), (1, Some(start)));

    let close = |verdict, dry| world.posts.close_report(report, verdict, order(dry));
    let (told, changed) = close(Verdict::Kept, true).await.unwrap();
    assert!(changed && told.closed.is_none());
    assert_eq!((open(&world).await.len(), world.posts.acts(None, 9).await.unwrap().len()), (1, 0));
    let (closed, changed) = close(Verdict::Kept, false).await.unwrap();
    assert!(changed);
    let closing = closed.closed.clone().unwrap();
    assert_eq!((closing.verdict, closing.note.as_str()), (Verdict::Kept, "it is fine"));
    let (again, changed) = close(Verdict::Removed, false).await.unwrap();
    assert_eq!((again, changed), (closed.clone(), false));
    assert_eq!(open(&world).await, []);
    assert_eq!(world.posts.reports_waiting().await.unwrap(), (0, None));
    assert_eq!(world.posts.reports(None, 9).await.unwrap(), [closed]);
    let acts = world.posts.acts(None, 9).await.unwrap();
    let [act] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((act.act.as_str(), &act.subject), ("close-report-kept", &report.to_string()));
    assert_eq!((act.operator.as_str(), act.reason.as_str()), ("olga", "it is fine"));
    world.audit();

    world.clock.advance(DAY * 90 - Duration::from_secs(1));
    assert!(world.posts.report(report).await.unwrap().closed.is_some());
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.posts.report(report).await.unwrap_err().code.as_str(), "not_found");
    assert_eq!(world.report(reporter, about(&post)).await.status, 201);
    world.audit();
}

#[tokio::test]
async fn what_was_closed_is_reported_anew() {
    let world = World::new();
    let (person, reporter) = (world.person("loud"), world.person("me"));
    let mut made = Vec::new();
    for verdict in [Verdict::Kept, Verdict::Suspended] {
        let answer = world.report(reporter, about_user(person)).await;
        assert_eq!((answer.status, &answer.body["state"]), (201, &json!("open")));
        made.push(id(&answer));
        let again = world.report(reporter, about_user(person)).await;
        assert_eq!((again.status, id(&again)), (200, id(&answer)));
        world.posts.close_report(id(&answer), verdict, order(false)).await.unwrap();
        world.clock.advance(DAY);
    }
    made.push(id(&world.report(reporter, about_user(person)).await));
    let listed = world.posts.reports(None, 9).await.unwrap();
    let ids: Vec<_> = listed.iter().rev().map(|report| report.report_id).collect();
    assert_eq!(ids, made, "what was closed is kept beside what is open");
    assert_eq!(open(&world).await, listed[..1]);
    world.audit();
    // The reporter's name leaves them all, and none is kept longer for it.
    world.user_deleted(reporter).await;
    let listed = world.posts.reports(None, 9).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|report| report.reporter_id.is_none()), "{listed:?}");
    world.clock.advance(DAY * 91);
    assert_eq!(world.posts.reports(None, 9).await.unwrap(), listed[..1]);
    world.audit();
}

#[tokio::test]
async fn all_reports_about_one_thing_are_closed_together() {
    let world = World::with(Config { reports_per_day: 200, ..World::unlimited() });
    let (author, reporter) = (world.person("loud"), world.user());
    let post = world.written(author, "a").await;
    let mut about_post = Vec::new();
    // More than one page of open reports, and others among them.
    for index in 0..120 {
        let other = world.written(author, &index.to_string()).await;
        id(&world.report(reporter, about(&other)).await);
        about_post.extend((index % 40 == 0).then_some(world.user()));
    }
    for reporter in &about_post {
        id(&world.report(*reporter, about(&post)).await);
    }
    let profile = id(&world.report(reporter, about_user(author)).await);
    let close = |id: &str, dry| {
        world.posts.close_reports_about(id.parse().unwrap(), Verdict::Removed, order(dry))
    };
    let would = close(&post, true).await.unwrap();
    assert_eq!((would.len(), open(&world).await.len()), (3, 100));
    assert_eq!(world.posts.reports_waiting().await.unwrap().0, 124);
    let closed = close(&post, false).await.unwrap();
    let reporters: Vec<_> = closed.iter().filter_map(|report| report.reporter_id).collect();
    assert_eq!(reporters, about_post);
    let verdicts = closed.iter().map(|report| report.closed.as_ref().unwrap().verdict);
    assert!(verdicts.into_iter().all(|verdict| verdict == Verdict::Removed));
    assert_eq!(world.posts.acts(None, 9).await.unwrap().len(), 3, "each is noted");
    assert_eq!(close(&post, false).await.unwrap(), []);
    // A person's are those about the person.
    let closed = close(&author.to_string(), false).await.unwrap();
    assert_eq!(closed.iter().map(|report| report.report_id).collect::<Vec<_>>(), [profile]);
    assert_eq!(world.posts.reports_waiting().await.unwrap().0, 120);
    world.audit();
}

#[tokio::test]
async fn a_deleted_account_leaves_its_name_out_of_what_it_reported() {
    let config = Config { reports_per_day: 200, commits_per_delivery: 1, ..World::unlimited() };
    let world = World::with(config);
    let (author, reporter) = (world.user(), world.person("me"));
    let closed = world.report(reporter, about(&world.written(author, "first").await)).await;
    world.posts.close_report(id(&closed), Verdict::Other, order(false)).await.unwrap();
    for index in 0..120 {
        let post = world.written(author, &index.to_string()).await;
        id(&world.report(reporter, about(&post)).await);
    }
    id(&world.report(author, about_user(reporter)).await);
    world.user_deleted(reporter).await;
    let reports = world.posts.reports(None, 1000).await.unwrap();
    assert_eq!(reports.len(), 122);
    assert_eq!(reports[0].reporter_id, Some(author));
    assert!(matches!(&reports[0].subject, Copied::User(copy) if copy.user_id == reporter));
    assert!(reports[1..].iter().all(|report| report.reporter_id.is_none()));
    // Their time is not longer for it.
    world.clock.advance(DAY * 91);
    assert_eq!(world.posts.reports(None, 1000).await.unwrap().len(), 121);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_at_once_is_one_report() {
    let world = World::new();
    let (author, reporter) = (world.user(), world.user());
    let post = world.written(author, "a").await;
    let mut reporters = JoinSet::new();
    for _ in 0..8 {
        let (world, body) = (Arc::clone(&world), about(&post));
        reporters.spawn(async move { world.report(reporter, body).await });
    }
    let answers = reporters.join_all().await;
    let ids: HashSet<_> = answers.iter().map(id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(world.posts.reports_waiting().await.unwrap().0, 1);
    world.audit();
}

#[tokio::test]
async fn the_audit_finds_reports_that_no_list_shows() {
    let world = World::new();
    let (author, reporter) = (world.user(), world.user());
    let post = world.written(author, "a").await;
    let report = id(&world.report(reporter, about(&post)).await);
    world.audit();
    let row = Key::new("open-reports", report.to_string());
    world.table.commit(vec![Write::delete(row)]).await.unwrap();
    let rules: Vec<_> = world.findings().into_iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["open reports are listed", "open reports are counted"]);
}
