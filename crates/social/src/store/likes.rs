//! Likes: edges, the list of a post's likes, its counter, a user's likes.

use bytes::Bytes;
use kernel::event::Like;
use kernel::sequence::Ticket;
use kernel::table::{self, Attempt, Condition, Item, Key, Query, Table, TableError, Write};
use kernel::{EventData, PostId, Problem, UserId, outbox};
use ulid::Ulid;

use super::{commit, edge_of, piece_done, post_gone, post_key, row_id, turned, user_gone};
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
    let found = table.get(&keys).await?;
    let count = |item: Option<Item>| item.map_or(0, |item| u64::try_from(item.count).unwrap_or(0));
    Ok(found.into_iter().map(count).collect())
}

/// Which of up to 100 posts the viewer likes.
pub(crate) async fn liked(
    table: &dyn Table,
    viewer: UserId,
    posts: &[PostId],
) -> Result<Vec<bool>, TableError> {
    if posts.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Key> = posts.iter().map(|post| edge_key(viewer, *post)).collect();
    let found = table.get(&keys).await?;
    let on = found.iter().map(|item| Ok(edge_of(item.as_ref())?.is_some_and(|edge| edge.on)));
    on.collect()
}

/// Makes the like, unless it is there.
pub(crate) async fn like(social: &Social, user: UserId, post: PostId) -> Result<(), Problem> {
    let ticket = social.sequence.take();
    table::retry(|| change(social, user, post, Some(&ticket))).await
}

/// Undoes the like, if it is there.
pub(crate) async fn unlike(social: &Social, user: UserId, post: PostId) -> Result<(), Problem> {
    table::retry(|| change(social, user, post, None)).await
}

async fn change(
    social: &Social,
    user: UserId,
    post: PostId,
    made: Option<&Ticket>,
) -> Result<(), Attempt> {
    let key = edge_key(user, post);
    let marks = [user_gone(user), post_gone(post)];
    let [user_mark, post_mark] = marks.clone();
    let found = social.table.get(&[key.clone(), user_mark, post_mark]).await?;
    let [item, caller_gone, gone] = &found[..] else { return Err(Attempt::Again) };
    if caller_gone.is_some() {
        return Err(model::caller_gone().into());
    }
    if gone.is_some() {
        return Err(Problem::not_found("post").into());
    }
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
