//! Feeds at the service's door: what is in them, and what is not.

mod world;

use std::time::Duration;

use kernel::{Code, EventData, PostId, Problem};
use timeline::Config;
use world::{World, ids};

fn newest_first(mut posts: Vec<PostId>) -> Vec<PostId> {
    posts.sort_by(|a, b| b.cmp(a));
    posts
}

#[tokio::test]
async fn a_post_reaches_its_author_and_every_follower_once() {
    let config = Config { fanout_page: 7, ..Config::default() };
    let world = World::new(config);
    let (author, stranger) = (world.user(), world.user());
    let followers = world.users(23);
    followers.iter().for_each(|follower| world.follow(*follower, author));
    world.settle().await;
    let posts = newest_first((0..5).map(|_| world.post(author)).collect());
    world.settle().await;
    for reader in followers.iter().chain([&author]) {
        assert_eq!(world.ids(*reader).await, posts);
    }
    assert!(world.ids(stranger).await.is_empty());
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn an_item_shows_the_post_its_author_and_the_viewers_likes() {
    let world = World::new(Config::default());
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    let post = world.post(author);
    world.settle().await;
    world.know().likes.extend([(post, author), (post, reader)]);
    let (page, _) = world.read(reader, "").await;
    let (known, profile) = {
        let others = world.know();
        (others.posts[&post].clone(), others.profiles[&author].clone())
    };
    let item = serde_json::json!({"post": known, "author": profile, "likeCount": 2, "liked": true});
    assert_eq!(page["items"], serde_json::json!([item]));
    assert_eq!(page["nextCursor"], serde_json::Value::Null);
    // `liked` never lags; the count may, by 3 s at most.
    world.know().likes.clear();
    assert_eq!(world.read(reader, "").await.0["items"][0]["liked"], false);
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(world.read(reader, "").await.0["items"][0]["likeCount"], 0);
}

#[tokio::test]
async fn the_second_reading_is_a_hit_that_asks_only_what_must_be_fresh() {
    let world = World::new(Config::default());
    let reader = world.user();
    for _ in 0..30 {
        world.post(reader);
    }
    world.settle().await;
    assert!(!world.read(reader, "").await.1);
    let before = world.know().calls.clone();
    let (page, hit) = world.read(reader, "").await;
    assert!(hit);
    let next = page["nextCursor"].as_str().unwrap().to_owned();
    for (name, calls) in world.know().calls.iter() {
        let more = calls - before.get(name).copied().unwrap_or(0);
        assert_eq!(more, usize::from(["viewed", "posts_exist"].contains(name)), "{name}");
    }
    assert!(world.read(reader, &format!("?cursor={next}")).await.1, "deeper, and still cached");
    world.post(reader);
    world.settle().await;
    assert!(!world.read(reader, "").await.1, "changed");
    world.clock.advance(Duration::from_secs(60));
    assert!(!world.read(reader, "").await.1, "too old");
}

#[tokio::test]
async fn a_deleted_post_is_gone_at_once_and_for_good() {
    let world = World::new(Config::default());
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    let posts: Vec<_> = (0..30).map(|_| world.post(author)).collect();
    world.settle().await;
    assert_eq!(world.ids(reader).await.len(), 30);
    for post in &posts[20..] {
        world.delete(*post);
    }
    // No event has been delivered yet, and the skeleton is cached; the page fills itself up.
    assert_eq!(world.all(reader, 15).await, newest_first(posts[..20].to_vec()));
    world.settle().await;
    assert_eq!(world.all(reader, 20).await, newest_first(posts[..20].to_vec()));
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn a_deletion_that_overtakes_its_post_leaves_nothing() {
    let world = World::new(Config::default());
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.settle().await;
    let post = world.write(author);
    world.delete(post.post_id);
    world.settle().await;
    world.say(EventData::PostCreated(post.clone()));
    world.settle().await;
    // Were a row there, it would show when the post service still knew the post.
    world.know().posts.insert(post.post_id, post);
    assert!(world.ids(reader).await.is_empty());
    assert!(world.ids(author).await.is_empty());
}

#[tokio::test]
async fn a_follow_brings_the_newest_20_and_deeper_pages_are_pulled() {
    let world = World::new(Config::default());
    let (author, other, reader) = (world.user(), world.user(), world.user());
    world.follow(reader, other);
    world.settle().await;
    let mut posts = Vec::new();
    for _ in 0..45 {
        posts.push(world.post(author));
        posts.push(world.post(other));
    }
    world.settle().await;
    assert_eq!(world.ids(reader).await.len(), 45);
    world.follow(reader, author);
    world.settle().await;
    let page = world.ids(reader).await;
    assert!(posts[50..].iter().all(|post| page.contains(post)), "20 of each are there");
    for limit in [1, 7, 20, 100] {
        assert_eq!(world.all(reader, limit).await, newest_first(posts.clone()), "limit {limit}");
    }
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn an_unfollow_takes_everything_out() {
    let world = World::new(Config::default());
    let (author, other, reader) = (world.user(), world.user(), world.user());
    for followed in [author, other] {
        world.follow(reader, followed);
    }
    let mut kept = Vec::new();
    for _ in 0..30 {
        world.post(author);
        kept.push(world.post(other));
    }
    world.settle().await;
    assert_eq!(world.all(reader, 20).await.len(), 60);
    world.unfollow(reader, author);
    world.settle().await;
    assert_eq!(world.all(reader, 20).await, newest_first(kept));
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn changes_of_one_follow_count_in_their_own_order() {
    for round in 0..10 {
        let world = World::quick(Config::default(), round);
        let (author, reader) = (world.user(), world.user());
        let post = world.post(author);
        world.follow(reader, author);
        world.unfollow(reader, author);
        world.follow(reader, author);
        world.settle().await;
        assert_eq!(world.ids(reader).await, [post]);
        world.unfollow(reader, author);
        world.follow(reader, author);
        world.unfollow(reader, author);
        world.settle().await;
        assert!(world.ids(reader).await.is_empty());
        assert_eq!(world.audit().await, []);
    }
}

#[tokio::test]
async fn authors_above_the_threshold_are_merged_at_reading_time() {
    let config = Config { big_followers: 5, fanout_page: 3, ..Config::default() };
    let world = World::new(config);
    let (big, small, reader) = (world.user(), world.user(), world.user());
    let early: Vec<_> = (0..3).map(|_| world.post(big)).collect();
    for follower in world.users(8).into_iter().chain([reader]) {
        world.follow(follower, big);
    }
    world.follow(reader, small);
    world.settle().await;
    let mut posts = early;
    for _ in 0..40 {
        posts.push(world.post(big));
        posts.push(world.post(small));
    }
    world.settle().await;
    for limit in [9, 100] {
        assert_eq!(world.all(reader, limit).await, newest_first(posts.clone()));
    }
    let own: Vec<_> = world.all(big, 30).await;
    assert_eq!(own.len(), 43);
    assert_eq!(world.audit().await, []);
    let gone = posts.remove(69);
    world.delete(gone);
    world.settle().await;
    assert_eq!(world.all(reader, 9).await, newest_first(posts.clone()));
    world.unfollow(reader, big);
    world.settle().await;
    assert_eq!(world.all(reader, 9).await.len(), 40);
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn a_feed_is_cut_at_its_cap_and_pulled_below() {
    let config = Config { feed_rows_max: 40, trim_every: 1, ..Config::default() };
    let world = World::new(config);
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.settle().await;
    let mut posts: Vec<_> = (0..35).map(|_| world.post(author)).collect();
    world.settle().await;
    let (page, _) = world.read(reader, "?limit=5").await;
    let start = page["prevCursor"].as_str().unwrap().to_owned();
    posts.extend((0..85).map(|_| world.post(author)));
    world.settle().await;
    assert_eq!(world.all(reader, 30).await, newest_first(posts.clone()));
    let rows = kernel::table::Query::all(format!("feed#{reader}"), 1000);
    assert_eq!(world.table.query(rows).await.unwrap().items.len(), 40);
    // A client that was away for longer than the cap fills its gap page by page.
    let (mut seen, mut cursor) = (Vec::new(), start);
    loop {
        let (page, _) = world.read(reader, &format!("?limit=9&cursor={cursor}")).await;
        let found = ids(&page);
        if found.is_empty() {
            assert_eq!(page["prevCursor"], cursor.as_str());
            break;
        }
        seen.extend(found);
        page["prevCursor"].as_str().unwrap().clone_into(&mut cursor);
    }
    // In the order of arrival, which the shuffled events made.
    seen.sort();
    assert_eq!(seen, posts[35..]);
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn an_account_leaves_nothing_behind() {
    let config = Config { fanout_page: 4, big_followers: 60, ..Config::default() };
    let world = World::new(config);
    let (leaver, friend) = (world.user(), world.user());
    let followers = world.users(70);
    for follower in &followers {
        world.follow(*follower, leaver);
        world.follow(leaver, *follower);
        world.follow(*follower, friend);
    }
    let kept = world.post(friend);
    world.settle().await;
    for _ in 0..5 {
        world.post(leaver);
    }
    world.settle().await;
    assert_eq!(world.ids(followers[3]).await.len(), 6);
    let late = world.write(leaver);
    world.delete_user(leaver);
    assert_eq!(world.ids(followers[3]).await, [kept], "at once");
    world.settle().await;
    world.say(EventData::PostCreated(late));
    world.settle().await;
    for follower in followers.iter().take(5) {
        assert_eq!(world.ids(*follower).await, [kept]);
    }
    assert!(world.ids(leaver).await.is_empty());
    assert_eq!(world.audit().await, []);
    assert!(!world.known_users().contains(&leaver));
}

#[tokio::test]
async fn a_changed_profile_reaches_cached_authors_by_its_event() {
    let world = World::new(Config::default());
    let author = world.user();
    world.post(author);
    world.settle().await;
    world.read(author, "").await;
    world.clock.advance(Duration::from_millis(5));
    let old = world.know().profiles[&author].clone();
    let mut new = old.clone();
    new.display_name = "New".into();
    new.updated_at = kernel::Clock::now(&*world.clock);
    world.know().profiles.insert(author, new.clone());
    world.say(EventData::UserProfileUpdated(new));
    world.settle().await;
    assert_eq!(world.read(author, "").await.0["items"][0]["author"]["displayName"], "New");
    // An older event that comes late changes nothing.
    world.say(EventData::UserProfileUpdated(old));
    world.settle().await;
    assert_eq!(world.read(author, "").await.0["items"][0]["author"]["displayName"], "New");
}

#[tokio::test]
async fn bad_input_is_refused_with_the_contracts_status() {
    let world = World::new(Config::default());
    let user = world.user();
    let posts = kernel::Cursor::older("x").render("posts");
    let shape = kernel::Cursor::older("x").render("timeline");
    for (query, status, code) in [
        ("?limit=0", 422, Code::ValidationFailed),
        ("?limit=101", 422, Code::ValidationFailed),
        ("?limit=ten", 422, Code::ValidationFailed),
        ("?cursor=x", 400, Code::InvalidCursor),
        (&format!("?cursor={posts}"), 400, Code::InvalidCursor),
        (&format!("?cursor={shape}"), 400, Code::InvalidCursor),
    ] {
        let response = world.get(user, query).await;
        assert_eq!(response.status(), status, "{query}");
        assert_eq!(response.extensions().get::<Problem>().unwrap().code, code, "{query}");
    }
}

#[tokio::test]
async fn a_lost_projection_is_found_and_rebuilt() {
    let world = World::new(Config::default());
    let (author, reader, other) = (world.user(), world.user(), world.user());
    let mut posts: Vec<_> = (0..30).map(|_| world.post(author)).collect();
    // These follows were never told; this post was never delivered.
    world.know().follows.extend([(reader, author), (reader, other)]);
    world.settle().await;
    posts.push(world.write(author).post_id);
    // A row that should not be there.
    let stranger = world.user();
    let strange = world.post(stranger);
    world.settle().await;
    let row = kernel::table::Key::new(format!("feed#{stranger}"), strange.to_string());
    let body = world.table.get(&[row]).await.unwrap()[0].clone().unwrap().body;
    let key = kernel::table::Key::new(format!("feed#{reader}"), strange.to_string());
    world.table.commit(vec![kernel::table::Write::put(key, body)]).await.unwrap();
    assert!(!world.audit().await.is_empty());
    for user in world.known_users() {
        world.timeline.rebuild(user).await.unwrap();
    }
    assert_eq!(world.audit().await, []);
    assert_eq!(world.all(reader, 20).await, newest_first(posts));
}

#[tokio::test]
async fn the_heartbeat_goes_through_table_and_cache() {
    let world = World::new(Config::default());
    world.timeline.heartbeat().await.unwrap();
}

#[test]
fn the_document_says_which_route_checks_its_own_token() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(async { World::quick(Config::default(), 1) });
    let (_, document) = world.timeline.routes().split_for_parts();
    let document = serde_json::to_value(document).unwrap();
    let paths = &document["paths"];
    assert_eq!(paths["/ws"]["get"]["security"], serde_json::json!([{}]));
    assert!(paths["/timeline"]["get"]["security"].is_null());
    assert_eq!(paths["/timeline"]["get"]["tags"], serde_json::json!(["timeline"]));
}
