//! Posts of suspended people: shown nowhere, and back when their author is.

use std::sync::Arc;
use std::time::Duration;

use kernel::peers::Peers;
use kernel::{PostId, UserId};
use posts::Config;

use crate::world::World;

/// What `reader` is shown of the post by the reads of people, and of other services.
async fn shown(world: &World, reader: UserId, author: UserId, post: &str) -> Vec<bool> {
    let by_id = world.get(reader, &format!("/posts/{post}")).await;
    assert!([200, 404].contains(&by_id.status), "{by_id:?}");
    let mut found = vec![by_id.status == 200];
    for uri in [
        format!("/posts?ids={post}"),
        format!("/posts?authorId={author}"),
        "/posts?limit=100".to_owned(),
    ] {
        found.push(world.get(reader, &uri).await.ids().contains(&post.to_owned()));
    }
    let id: PostId = post.parse().unwrap();
    found.push(world.posts.posts(&[id]).await.unwrap()[0].is_some());
    found.push(world.posts.posts_exist(&[id]).await.unwrap()[0]);
    let newest = world.posts.newest_posts(author, None, 100).await.unwrap();
    found.push(newest.iter().any(|post| post.post_id == id));
    found
}

#[tokio::test]
async fn posts_of_suspended_people_are_in_no_answer_and_come_back() {
    let world = World::new();
    let (loud, reader) = (world.user(), world.user());
    let post = world.written(loud, "noise").await;
    let other = world.written(reader, "other").await;
    assert_eq!(shown(&world, reader, loud, &post).await, [true; 7]);
    for version in [1, 3] {
        world.suspended(loud, version, true).await;
        assert_eq!(shown(&world, reader, loud, &post).await, [false; 7]);
        assert_eq!(shown(&world, loud, loud, &post).await, [false; 7], "nor to themselves");
        assert_eq!(shown(&world, loud, reader, &other).await, [true; 7], "nobody else's");
        world.suspended(loud, version + 1, false).await;
        assert_eq!(shown(&world, reader, loud, &post).await, [true; 7]);
    }
    // What is late undoes nothing.
    world.suspended(loud, 1, true).await;
    assert_eq!(shown(&world, reader, loud, &post).await, [true; 7]);
    world.audit();
}

#[tokio::test]
async fn lists_are_full_however_many_are_suspended() {
    let world = World::with(World::unlimited());
    let (reader, loud, quiet) = (world.user(), world.user(), world.user());
    let mut kept = Vec::new();
    for index in 0..60 {
        let author = if index % 3 == 0 { quiet } else { loud };
        let id = world.written(author, "a").await;
        if author == quiet {
            kept.insert(0, id);
        }
    }
    world.suspended(loud, 1, true).await;
    let (mut walked, mut uri) = (Vec::new(), "/posts?limit=7".to_owned());
    loop {
        let page = world.get(reader, &uri).await;
        walked.extend(page.ids());
        let Some(cursor) = page.cursor("nextCursor") else { break };
        assert_eq!(page.ids().len(), 7, "a page is short only at the end");
        uri = format!("/posts?limit=7&cursor={cursor}");
    }
    assert_eq!(walked, kept);
    let uri = format!("/posts?authorId={loud}");
    assert_eq!(world.get(reader, &uri).await.ids(), [""; 0]);
}

#[tokio::test]
async fn a_suspended_author_s_post_can_be_removed_and_they_can_leave() {
    let world = World::new();
    let (loud, reader) = (world.user(), world.user());
    let (first, second) = (world.written(loud, "a").await, world.written(loud, "b").await);
    world.suspended(loud, 1, true).await;
    let order = kernel::acts::Order {
        operator: "olga".to_owned(),
        reason: "noise".to_owned(),
        dry_run: false,
    };
    world.posts.remove(first.parse().unwrap(), order).await.unwrap();
    world.suspended(loud, 2, false).await;
    assert_eq!(shown(&world, reader, loud, &first).await, [false; 7]);
    assert_eq!(shown(&world, reader, loud, &second).await, [true; 7]);
    world.suspended(loud, 3, true).await;
    world.user_deleted(loud).await;
    assert_eq!(shown(&world, reader, loud, &second).await, [false; 7]);
    world.audit();
}

/// Another process has remembered who is suspended, and which posts exist.
#[tokio::test]
async fn other_processes_hide_and_show_them_too() {
    let config = Config::default().for_several_processes();
    let here = World::with(config);
    let there: Arc<World> = here.beside(config);
    let (loud, reader) = (here.user(), here.user());
    let post = here.written(loud, "noise").await;
    // What one of them has remembered has stood for long enough.
    let settle = || async {
        here.clock.advance(Duration::from_secs(10));
        shown(&there, reader, loud, &post).await
    };
    assert_eq!(settle().await, [true; 7]);
    assert_eq!(settle().await, [true; 7]);
    here.suspended(loud, 1, true).await;
    assert_eq!(shown(&there, reader, loud, &post).await, [false; 7]);
    assert_eq!(settle().await, [false; 7]);
    here.suspended(loud, 2, false).await;
    assert_eq!(shown(&there, reader, loud, &post).await, [true; 7]);
    here.audit();
}
