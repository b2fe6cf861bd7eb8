//! Suspended people: for other services not there, and in no list of people until they are back.

use kernel::UserId;

use crate::world::World;

fn suspend(world: &World, user: UserId, suspended: bool) {
    let mut users = world.others.users.lock().unwrap();
    if suspended {
        users.remove(&user)
    } else {
        users.insert(user)
    };
}

#[tokio::test]
async fn suspended_people_are_in_no_list_and_come_back_to_each() {
    let world = World::new();
    let (reader, loud, fan) = (world.user(), world.user(), world.user());
    let post = world.post();
    for (who, whom) in [(loud, reader), (fan, reader), (reader, loud), (reader, fan)] {
        assert_eq!(world.follow(who, whom, true).await.status, 200);
    }
    for liker in [loud, fan] {
        assert_eq!(world.like(liker, post, true).await.status, 200);
    }
    let muted = world.hide("mute", reader, loud, true).await;
    assert_eq!(muted.status, 200);
    let lists = [
        format!("/users/{reader}/followers"),
        format!("/users/{reader}/following"),
        format!("/posts/{post}/likes"),
        "/users/me/mutes".to_owned(),
    ];
    for suspended in [false, true, false] {
        suspend(&world, loud, suspended);
        for uri in &lists {
            // A page of one shows the next person in their place.
            let people = world.get(reader, &format!("{uri}?limit=1")).await.people();
            let expected = match uri.as_str() {
                "/users/me/mutes" if suspended => None,
                "/users/me/mutes" => Some(loud),
                _ => Some(fan),
            };
            assert_eq!(people.first().copied(), expected, "{uri}");
            let people = world.get(reader, uri).await.people();
            assert_eq!(people.contains(&loud), !suspended, "{uri}");
        }
        assert_eq!(world.counts(reader).await, (2, 2), "they count all the while");
        let status = if suspended { 404 } else { 200 };
        for uri in [format!("/users/{loud}/follow"), format!("/users/{loud}/followers")] {
            assert_eq!(world.get(reader, &uri).await.status, status, "{uri}");
        }
        assert_eq!(world.follow(fan, loud, true).await.status, status);
    }
    world.audit();
}
