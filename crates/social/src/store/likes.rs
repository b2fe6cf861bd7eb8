//! Likes: edges, the list of a post's likes, its counter, a user's likes.

use bytes::Bytes;
use kernel::event::Like;
use kernel::sequence::Ticket;
use kernel::table::{self, Attempt, Condition, Item, Key, Query, Table, TableError, Write};
use kernel::{EventData, PostId, Problem, UserId, outbox};
use ulid::Ulid;

use super::{
    commit, count, edge_of, follows, piece_done, post_gone, post_key, row_id, turned, user_gone,
};
use crate::model::{self, Edge};
use crate::{Social, viewer};

/// Counts who likes a post.
pub(crate) const LIKES: &str = "likes";
/// Edges of a deleted post removed in one commit: three writes each.
const REMOVE_EDGES: usize = 32;
/// Likes of a deleted user undone in one commit: five writes each.
const UNDO_EDGES: usize = 19;

pub(crate) fn edge_key(user: UserId, post: PostId) -> Key {
    Key::new(edges_partition(post), user.text())
}

fn edges_partition(post: PostId) -> String {
    post.prefixed("like#")
}

pub(crate) fn by_time(post: PostId) -> String {
    post.prefixed("likes-by-time#")
}

fn of_user(user: UserId) -> String {
    user.prefixed("likes-of#")
}

/// The keys of an edge's index rows: in the post's list by time, among the user's likes.
pub(crate) fn row_keys(user: UserId, post: PostId, at: Ulid) -> [Key; 2] {
    [Key::new(by_time(post), at.to_string()), Key::new(of_user(user), post.text())]
}

/// How many like each of up to 100 posts.
pub(crate) async fn counts(table: &dyn Table, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Key> = posts.iter().map(|post| post_key(*post, LIKES)).collect();
    Ok(table.get(&keys).await?.iter().map(|counter| count(counter.as_ref())).collect())
}

/// Which of some edges are there.
pub(crate) fn are_on(edges: &[Option<Item>]) -> Result<Vec<bool>, TableError> {
    let on = edges.iter().map(|item| Ok(edge_of(item.as_ref())?.is_some_and(|edge| edge.on)));
    on.collect()
}

/// Makes the like of a post of `author`'s, unless it is there.
pub(crate) async fn like(
    social: &Social,
    user: UserId,
    post: PostId,
    author: UserId,
) -> Result<(), Problem> {
    let ticket = social.sequence.take();
    table::retry(|| change(social, user, post, Some((&ticket, author)))).await
}

/// Undoes the like, if it is there.
pub(crate) async fn unlike(social: &Social, user: UserId, post: PostId) -> Result<(), Problem> {
    table::retry(|| change(social, user, post, None)).await
}

async fn change(
    social: &Social,
    user: UserId,
    post: PostId,
    made: Option<(&Ticket, UserId)>,
) -> Result<(), Attempt> {
    let key = edge_key(user, post);
    let marks = [user_gone(user), post_gone(post)];
    let mut keys = vec![key.clone()];
    keys.extend(marks.clone());
    // A follow of the author says whether one of them blocks the other.
    keys.extend(made.map(|(_, author)| follows::edge_key(user, author)));
    let found = social.table.get(&keys).await?;
    let [item, caller_gone, gone, follow @ ..] = &found[..] else { return Err(Attempt::Again) };
    if caller_gone.is_some() {
        return Err(model::caller_gone().into());
    }
    if gone.is_some() {
        return Err(Problem::not_found("post").into());
    }
    let follow = edge_of(follow.first().and_then(Option::as_ref))?;
    if follow.is_some_and(|follow| follow.barred) {
        return Err(model::blocked().into());
    }
    let made = made.map(|(ticket, _)| ticket);
    let Some(edge) = turned(edge_of(item.as_ref())?, made) else { return Ok(()) };
    let mut writes = vec![Write::put_json(key, &edge).when(Condition::unchanged(item.as_ref()))];
    writes.extend(rows(user, post, &edge));
    writes.push(Write::add(post_key(post, LIKES), if edge.on { 1 } else { -1 }));
    writes.push(viewer::changed(user));
    writes.push(told(social, user, post, &edge));
    writes.extend(marks.map(|mark| Write::check(mark, Condition::Absent)));
    Ok(commit(social, writes, made).await?)
}

/// The writes of an edge's index rows: put while it is there, deleted when it is undone.
fn rows(user: UserId, post: PostId, edge: &Edge) -> [Write; 2] {
    let [by_time, of_user] = row_keys(user, post, edge.at);
    if edge.on {
        [Write::put(by_time, user.text()), Write::put(of_user, Bytes::new())]
    } else {
        [Write::delete(by_time), Write::delete(of_user)]
    }
}

fn told(social: &Social, user: UserId, post: PostId, edge: &Edge) -> Write {
    let like = Like { user_id: user, post_id: post, version: edge.version };
    outbox::write(&social.event(if edge.on {
        EventData::LikeCreated(like)
    } else {
        EventData::LikeDeleted(like)
    }))
}

/// Removes some likes of a post that is marked as deleted; true when none is left.
pub(crate) async fn remove_of_post(social: &Social, post: PostId) -> Result<bool, Problem> {
    let query = Query::all(edges_partition(post), REMOVE_EDGES);
    let items = social.table.query(query).await?.items;
    let counter = post_key(post, LIKES);
    if items.is_empty() {
        social.table.commit(vec![Write::delete(counter)]).await?;
        return Ok(true);
    }
    let mut writes = Vec::new();
    let mut removed = 0;
    for item in &items {
        writes.push(Write::delete(item.key.clone()).when(Condition::Version(item.version)));
        if let Some(edge) = Edge::undone(edge_of(Some(item))?) {
            writes.extend(rows(row_id(item)?, post, &edge));
            removed -= 1;
        }
    }
    if removed != 0 {
        writes.push(Write::add(counter, removed));
    }
    piece_done(social.table.commit(writes).await)
}

/// Undoes some likes of a user who is marked as deleted; true when none is left.
pub(crate) async fn undo_of_user(social: &Social, user: UserId) -> Result<bool, Problem> {
    let page = social.table.query(Query::all(of_user(user), UNDO_EDGES)).await?.items;
    let posts = page.iter().map(row_id).collect::<Result<Vec<PostId>, _>>()?;
    if posts.is_empty() {
        social.table.commit(vec![Write::delete(viewer::changes_key(user))]).await?;
        return Ok(true);
    }
    let keys: Vec<Key> = posts.iter().map(|post| edge_key(user, *post)).collect();
    let items = social.table.get(&keys).await?;
    let mut writes = Vec::new();
    for (post, item) in posts.into_iter().zip(&items) {
        // Undone between the two reads: the next look finds it gone from the list.
        let Some(edge) = Edge::undone(edge_of(item.as_ref())?) else { return Ok(false) };
        writes.push(Write::delete(edge_key(user, post)).when(Condition::unchanged(item.as_ref())));
        writes.extend(rows(user, post, &edge));
        writes.push(Write::add(post_key(post, LIKES), -1));
        writes.push(told(social, user, post, &edge));
    }
    piece_done(social.table.commit(writes).await)
}
