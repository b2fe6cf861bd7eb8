//! Follows: edges, the lists of both ends, both counters.

use bytes::Bytes;
use kernel::event::Follow;
use kernel::peers::Followers;
use kernel::sequence::Ticket;
use kernel::table::{self, Attempt, Condition, Item, Key, Query, Table, TableError, Write};
use kernel::{EventData, Problem, UserId, outbox};
use ulid::Ulid;

use super::{
    both_there, commit, commit_piece, count, edge_of, index, row_id, turned, user_gone, user_key,
};
use crate::Social;
use crate::model::{self, Edge};

/// Counts who follows a user.
pub(crate) const FOLLOWERS: &str = "followers";
/// Counts whom a user follows.
pub(crate) const FOLLOWING: &str = "following";
/// Edges undone in one commit: six writes each.
const UNDO_EDGES: usize = 16;

pub(crate) fn edge_key(follower: UserId, followee: UserId) -> Key {
    Key::new(edges_partition(follower), followee.text())
}

fn edges_partition(follower: UserId) -> String {
    follower.prefixed("follow#")
}

fn followers_partition(followee: UserId) -> String {
    followee.prefixed("followers#")
}

pub(crate) fn followers_by_time(followee: UserId) -> String {
    followee.prefixed("followers-by-time#")
}

pub(crate) fn following_by_time(follower: UserId) -> String {
    follower.prefixed("following-by-time#")
}

/// The keys of an edge's index rows: by id, and in both lists by time.
pub(crate) fn row_keys(follower: UserId, followee: UserId, at: Ulid) -> [Key; 3] {
    [
        Key::new(followers_partition(followee), follower.text()),
        Key::new(followers_by_time(followee), at.to_string()),
        Key::new(following_by_time(follower), at.to_string()),
    ]
}

/// How somebody follows somebody, and how many do.
pub(crate) struct State {
    pub(crate) following: bool,
    pub(crate) followed_by: bool,
    pub(crate) follower_count: u64,
    pub(crate) following_count: u64,
}

/// The follows between `viewer` and `user`, and `user`'s counts.
pub(crate) async fn state(
    table: &dyn Table,
    viewer: UserId,
    user: UserId,
) -> Result<State, Problem> {
    let keys = [
        edge_key(viewer, user),
        edge_key(user, viewer),
        user_key(user, FOLLOWERS),
        user_key(user, FOLLOWING),
    ];
    let found = if viewer == user { &keys[1..] } else { &keys[..] };
    let mut found = table.get(found).await?;
    if viewer == user {
        found.insert(0, None);
    }
    let on = |index: usize| -> Result<bool, Problem> {
        Ok(edge_of(found.get(index).and_then(Option::as_ref))?.is_some_and(|edge| edge.on))
    };
    Ok(State {
        following: on(0)?,
        followed_by: on(1)?,
        follower_count: count(found.get(2).and_then(Option::as_ref)),
        following_count: count(found.get(3).and_then(Option::as_ref)),
    })
}

/// Makes the follow, unless it is there.
pub(crate) async fn follow(
    social: &Social,
    follower: UserId,
    followee: UserId,
) -> Result<(), Problem> {
    let ticket = social.sequence.take();
    table::retry(|| change(social, follower, followee, Some(&ticket))).await
}

/// Undoes the follow, if it is there.
pub(crate) async fn unfollow(
    social: &Social,
    follower: UserId,
    followee: UserId,
) -> Result<(), Problem> {
    table::retry(|| change(social, follower, followee, None)).await
}

async fn change(
    social: &Social,
    follower: UserId,
    followee: UserId,
    made: Option<&Ticket>,
) -> Result<(), Attempt> {
    let key = edge_key(follower, followee);
    let marks = [user_gone(follower), user_gone(followee)];
    let [mark, other_mark] = marks.clone();
    let found = social.table.get(&[key.clone(), mark, other_mark]).await?;
    let [item, caller_gone, other_gone] = &found[..] else { return Err(Attempt::Again) };
    both_there(caller_gone.as_ref(), other_gone.as_ref())?;
    let before = edge_of(item.as_ref())?;
    if made.is_some() && before.is_some_and(|edge| edge.barred) {
        return Err(model::blocked().into());
    }
    let Some(edge) = turned(before, made) else { return Ok(()) };
    let delta = if edge.on { 1 } else { -1 };
    let mut writes = vec![Write::put_json(key, &edge).when(Condition::unchanged(item.as_ref()))];
    writes.extend(changed(social, follower, followee, &edge, delta));
    writes.extend(marks.map(|mark| Write::check(mark, Condition::Absent)));
    Ok(commit(social, writes, made).await?)
}

/// The writes that go with a change of an edge: its rows, both counters, the event.
fn changed(
    social: &Social,
    follower: UserId,
    followee: UserId,
    edge: &Edge,
    delta: i64,
) -> Vec<Write> {
    let mut writes = rows(follower, followee, edge).to_vec();
    writes.push(Write::add(user_key(follower, FOLLOWING), delta));
    writes.push(Write::add(user_key(followee, FOLLOWERS), delta));
    writes.push(told(social, follower, followee, edge));
    writes
}

/// The writes that end a follow, should it be there, and bar it, or no longer.
pub(crate) fn bar(
    social: &Social,
    follower: UserId,
    followee: UserId,
    item: Option<&Item>,
    barred: bool,
) -> Result<Vec<Write>, TableError> {
    let before = edge_of(item)?;
    let edge = Edge::barred(before, barred);
    let key = edge_key(follower, followee);
    let mut writes = vec![Write::put_json(key, &edge).when(Condition::unchanged(item))];
    if before.is_some_and(|before| before.on) {
        writes.extend(changed(social, follower, followee, &edge, -1));
    }
    Ok(writes)
}

/// The writes of an edge's index rows: put while it is there, deleted when it is undone.
fn rows(follower: UserId, followee: UserId, edge: &Edge) -> [Write; 3] {
    let [by_id, of_followee, of_follower] = row_keys(follower, followee, edge.at);
    if edge.on {
        [
            Write::put(by_id, Bytes::new()),
            Write::put(of_followee, follower.text()),
            Write::put(of_follower, followee.text()),
        ]
    } else {
        [by_id, of_followee, of_follower].map(Write::delete)
    }
}

fn told(social: &Social, follower: UserId, followee: UserId, edge: &Edge) -> Write {
    let follow = Follow { follower_id: follower, followee_id: followee, version: edge.version };
    outbox::write(&social.event(if edge.on {
        EventData::FollowCreated(follow)
    } else {
        EventData::FollowDeleted(follow)
    }))
}

/// A page of followers in the order of their ids.
pub(crate) async fn followers(
    table: &dyn Table,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Followers, Problem> {
    index(table, followers_partition(user), after, limit).await
}

/// A page of whom `user` follows, in the order of their ids. Undone edges are passed over, so the
/// page is short only at the end.
pub(crate) async fn following(
    table: &dyn Table,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Followers, Problem> {
    let mut query = Query::all(edges_partition(user), limit);
    if let Some(after) = after {
        query = query.above(after.to_string());
    }
    let mut users: Vec<UserId> = Vec::new();
    loop {
        let found = table.query(query.clone()).await?;
        for item in &found.items {
            if item.json::<Edge>()?.on {
                users.push(row_id(item)?);
            }
            if users.len() == limit {
                return Ok(Followers { next: users.last().copied(), users });
            }
        }
        let Some(next) = found.next else { return Ok(Followers { users, next: None }) };
        query = query.above(next);
    }
}

/// Undoes some follows by a user who is marked as deleted; true when none is left.
pub(crate) async fn undo_following(social: &Social, user: UserId) -> Result<bool, Problem> {
    let query = Query::all(edges_partition(user), UNDO_EDGES);
    let items = social.table.query(query).await?.items;
    let mut writes = Vec::new();
    let mut undone = 0;
    for item in &items {
        writes.push(Write::delete(item.key.clone()).when(Condition::Version(item.version)));
        let followee = row_id(item)?;
        if let Some(edge) = Edge::undone(edge_of(Some(item))?) {
            writes.extend(rows(user, followee, &edge));
            writes.push(Write::add(user_key(followee, FOLLOWERS), -1));
            writes.push(told(social, user, followee, &edge));
            undone -= 1;
        }
    }
    commit_piece(social, user_key(user, FOLLOWING), undone, writes).await
}

/// Undoes some follows of a user who is marked as deleted; true when none is left.
pub(crate) async fn undo_followers(social: &Social, user: UserId) -> Result<bool, Problem> {
    let page = followers(social.table.as_ref(), user, None, UNDO_EDGES).await?.users;
    let keys: Vec<Key> = page.iter().map(|follower| edge_key(*follower, user)).collect();
    let items = if keys.is_empty() { Vec::new() } else { social.table.get(&keys).await? };
    let mut writes = Vec::new();
    let mut undone = 0;
    for (follower, item) in page.into_iter().zip(&items) {
        // Undone between the two reads: the next look finds it gone from the list.
        let Some(edge) = Edge::undone(edge_of(item.as_ref())?) else { return Ok(false) };
        writes.push(
            Write::delete(edge_key(follower, user)).when(Condition::unchanged(item.as_ref())),
        );
        writes.extend(rows(follower, user, &edge));
        writes.push(Write::add(user_key(follower, FOLLOWING), -1));
        writes.push(told(social, follower, user, &edge));
        undone -= 1;
    }
    commit_piece(social, user_key(user, FOLLOWERS), undone, writes).await
}
