//! Follows, likes, blocks and mutes in the table.

pub(crate) mod follows;
pub(crate) mod hides;
pub(crate) mod likes;

use std::str::FromStr;

use bytes::Bytes;
use kernel::peers::Followers;
use kernel::sequence::Ticket;
use kernel::table::{Item, Key, Query, Table, TableError, Write};
use kernel::{PostId, Problem, UserId};

use crate::model::Edge;
use crate::{Social, model};

/// The sort key of the marks of deleted users and posts.
pub(crate) const GONE: &str = "gone";

pub(crate) fn user_key(user: UserId, sort: &str) -> Key {
    Key::new(user.prefixed("user#"), sort)
}

pub(crate) fn post_key(post: PostId, sort: &str) -> Key {
    Key::new(post.prefixed("post#"), sort)
}

pub(crate) fn user_gone(user: UserId) -> Key {
    user_key(user, GONE)
}

pub(crate) fn post_gone(post: PostId) -> Key {
    post_key(post, GONE)
}

/// Marks a user or a post as deleted; no commit after this makes an edge to or from it.
pub(crate) async fn mark_gone(social: &Social, mark: Key) -> Result<(), Problem> {
    Ok(social.table.commit(vec![Write::put(mark, Bytes::new())]).await?)
}

/// The user or post that the last part of a row's key names.
pub(crate) fn row_id<T: FromStr>(row: &Item) -> Result<T, TableError> {
    let malformed = |_| TableError::Malformed(format!("{:?} does not end in an id", row.key));
    row.key.sort.parse().map_err(malformed)
}

/// The id that a row in a list by time holds.
pub(crate) fn held_id<T: FromStr>(row: &Item) -> Result<T, TableError> {
    let id = std::str::from_utf8(&row.body).ok().and_then(|id| id.parse().ok());
    id.ok_or_else(|| TableError::Malformed(format!("{:?} does not hold an id", row.key)))
}

fn edge_of(item: Option<&Item>) -> Result<Option<Edge>, TableError> {
    item.map(Item::json).transpose()
}

/// What a counter says.
pub(crate) fn count(counter: Option<&Item>) -> u64 {
    counter.map_or(0, |item| u64::try_from(item.count).unwrap_or(0))
}

/// A page of an index by people, in the order of their ids.
async fn index(
    table: &dyn Table,
    partition: String,
    after: Option<UserId>,
    limit: usize,
) -> Result<Followers, Problem> {
    let mut query = Query::all(partition, limit);
    if let Some(after) = after {
        query = query.above(after.to_string());
    }
    let found = table.query(query).await?;
    let users = found.items.iter().map(row_id).collect::<Result<Vec<UserId>, _>>()?;
    let next = found.next.and_then(|_| users.last().copied());
    Ok(Followers { users, next })
}

/// Refuses where the caller is marked as deleted, or the other.
fn both_there(caller_gone: Option<&Item>, other_gone: Option<&Item>) -> Result<(), Problem> {
    match (caller_gone, other_gone) {
        (Some(_), _) => Err(model::caller_gone()),
        (None, Some(_)) => Err(Problem::not_found("user")),
        (None, None) => Ok(()),
    }
}

/// The edge after it was made with a ticket, or undone without one; none when it is so already.
fn turned(before: Option<Edge>, made: Option<&Ticket>) -> Option<Edge> {
    match made {
        Some(ticket) => Edge::made(before, ticket.id()),
        None => Edge::undone(before),
    }
}

async fn commit(
    social: &Social,
    writes: Vec<Write>,
    made: Option<&Ticket>,
) -> Result<(), TableError> {
    match made {
        Some(ticket) => social.table.commit_ordered(writes, ticket).await,
        None => social.table.commit(writes).await,
    }
}

/// Whether a piece of a deletion is the last. A lost race is no failure: the next look finds what
/// is still there.
fn piece_done(committed: Result<(), TableError>) -> Result<bool, Problem> {
    match committed {
        Ok(()) | Err(TableError::Unmet(_) | TableError::Contended) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Commits a piece with its effect on the deleted user's counter; the last one removes the counter.
async fn commit_piece(
    social: &Social,
    counter: Key,
    delta: i64,
    mut writes: Vec<Write>,
) -> Result<bool, Problem> {
    if writes.is_empty() {
        social.table.commit(vec![Write::delete(counter)]).await?;
        return Ok(true);
    }
    if delta != 0 {
        writes.push(Write::add(counter, delta));
    }
    piece_done(social.table.commit(writes).await)
}
