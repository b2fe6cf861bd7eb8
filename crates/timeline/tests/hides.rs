//! Blocks and mutes at the service's door.

mod world;

use kernel::EventData;
use kernel::event::Mute;
use kernel::{PostId, UserId};
use timeline::Config;
use world::client::{Client, entries, listen};
use world::{World, ids};

fn mute(world: &World, muter_id: UserId, muted_id: UserId, on: bool) {
    let pair = (muter_id, muted_id);
    let mut others = world.know();
    if on {
        others.mutes.insert(pair)
    } else {
        others.mutes.remove(&pair)
    };
    drop(others);
    // Which of several is the last is for the social service to say.
    let told = Mute { muter_id, muted_id, version: 1 };
    world.say(if on { EventData::MuteCreated(told) } else { EventData::MuteDeleted(told) });
}

#[tokio::test]
async fn who_is_muted_is_not_shown_and_is_all_there_afterwards() {
    let world = World::new(Config { fanout_page: 2, skeleton_entries: 4, ..Config::default() });
    let (reader, loud, other) = (world.user(), world.user(), world.user());
    for (follower, author) in [(reader, loud), (reader, other), (other, loud)] {
        world.follow(follower, author);
    }
    world.settle().await;
    let write = || [world.post(loud), world.post(other)];
    let mut all: Vec<[PostId; 2]> = (0..10).map(|_| write()).collect();
    world.settle().await;
    world.ids(reader).await;
    mute(&world, reader, loud, true);
    let of_other = |all: &[[PostId; 2]]| -> Vec<PostId> {
        all.iter().rev().map(|[_, of_other]| *of_other).collect()
    };
    assert_eq!(world.all(reader, 3).await, of_other(&all), "before the event is handled");
    world.settle().await;
    all.extend((0..10).map(|_| write()));
    world.settle().await;
    assert_eq!(world.all(reader, 3).await, of_other(&all));
    let everything: Vec<PostId> = all.iter().rev().flat_map(|[a, b]| [*b, *a]).collect();
    assert_eq!(world.all(other, 7).await, everything, "nobody else's affair");
    assert_eq!(world.audit().await, []);
    mute(&world, reader, loud, false);
    world.settle().await;
    assert_eq!(world.all(reader, 7).await, everything);
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn the_cache_shows_nobody_who_is_hidden() {
    let world = World::new(Config::default());
    let (reader, loud) = (world.user(), world.user());
    world.follow(reader, loud);
    world.settle().await;
    let post = world.post(loud);
    world.settle().await;
    assert_eq!(world.ids(reader).await, [post]);
    // No event has come round yet, and each reading is a hit.
    for blocked in [false, true] {
        {
            let mut others = world.know();
            let hidden = if blocked { &mut others.blocks } else { &mut others.mutes };
            hidden.insert((reader, loud));
        }
        let (page, hit) = world.read(reader, "").await;
        assert!(ids(&page).is_empty() && hit);
        let mut others = world.know();
        others.blocks.clear();
        others.mutes.clear();
    }
    assert_eq!(world.ids(reader).await, [post]);
    // It is a block both ways, and own posts stay.
    world.know().blocks.insert((loud, reader));
    assert!(world.ids(reader).await.is_empty());
    assert_eq!(world.ids(loud).await, [post]);
}

#[tokio::test]
async fn frames_of_who_is_muted_are_not_sent_whichever_came_first() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let [muted_first, followed_first, neither, loud] =
        [world.user(), world.user(), world.user(), world.user()];
    mute(&world, muted_first, loud, true);
    world.settle().await;
    for reader in [muted_first, followed_first, neither] {
        world.follow(reader, loud);
    }
    world.settle().await;
    mute(&world, followed_first, loud, true);
    world.settle().await;
    let mut clients = Vec::new();
    for reader in [muted_first, followed_first, neither] {
        clients.push(Client::open(address, reader).await);
    }
    let post = world.post(loud);
    world.settle().await;
    for (client, expected) in clients.iter_mut().zip([vec![], vec![], vec![post]]) {
        assert_eq!(entries(&client.until_pong().await), expected);
    }
    // What a socket is given when it resumes is asked anew.
    world.know().mutes.clear();
    world.know().blocks.insert((loud, neither));
    let cursor = clients[2].hello["cursor"].clone();
    let mut again = Client::open(address, neither).await;
    assert_eq!(entries(&again.resume(&cursor).await), [] as [PostId; 0]);
    world.know().blocks.clear();
    let mut once_more = Client::open(address, neither).await;
    assert_eq!(entries(&once_more.resume(&cursor).await), [post]);
}

#[tokio::test]
async fn mutes_are_rebuilt_and_a_wrong_one_is_found() {
    let world = World::new(Config::default());
    let (reader, loud) = (world.user(), world.user());
    world.follow(reader, loud);
    world.settle().await;
    world.know().mutes.insert((reader, loud));
    let findings = world.audit().await;
    assert_eq!(findings.iter().map(|f| f.rule).collect::<Vec<_>>(), ["projection equals mutes"]);
    world.timeline.rebuild(reader).await.unwrap();
    assert_eq!(world.audit().await, []);
}
