//! The timeline's rows in its table.

use std::collections::HashSet;

use kernel::table::{
    Attempt, Condition, GET_KEYS_MAX, Item, Key, QUERY_ITEMS_MAX, Query, SCATTER_WRITES_MAX,
    Scatter, Table, TableError, Write, get_one, json, retry,
};
use kernel::{PostId, Problem, Time, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Edge, End, Row, RowBody, merge};

const BIG: &str = "big";

pub(crate) fn heartbeat_key() -> Key {
    Key::new("heartbeat", "")
}

pub(crate) fn feed(user: UserId) -> String {
    user.prefixed("feed#")
}

pub(crate) fn author(author: UserId) -> String {
    author.prefixed("author#")
}

pub(crate) fn feed_key(user: UserId, post: PostId) -> Key {
    Key::new(feed(user), post.text())
}

pub(crate) fn author_key(of: UserId, post: PostId) -> Key {
    Key::new(author(of), post.text())
}

pub(crate) fn big_key(author: UserId) -> Key {
    Key::new(BIG, author.text())
}

pub(crate) fn mark_key(user: UserId) -> Key {
    Key::new(user.prefixed("mark#"), "")
}

pub(crate) fn cut_key(user: UserId) -> Key {
    Key::new(user.prefixed("cut#"), "")
}

/// The edge from its end at the author.
pub(crate) fn follower_key(author: UserId, user: UserId) -> Key {
    Key::new(author.prefixed("follower#"), user.text())
}

/// The edge from its end at the follower.
pub(crate) fn following_key(user: UserId, author: UserId) -> Key {
    Key::new(user.prefixed("following#"), author.text())
}

pub(crate) fn count_key(author: UserId) -> Key {
    Key::new(author.prefixed("followers#"), "")
}

pub(crate) fn gone_key(post: PostId) -> Key {
    Key::new(post.prefixed("gone#"), "")
}

pub(crate) fn left_key(user: UserId) -> Key {
    Key::new(user.prefixed("left#"), "")
}

/// A row as it is written; one that is gone expires.
pub(crate) fn put_row(key: Key, row: &Row, expires_at: Option<Time>) -> Scatter {
    let body = RowBody { author_id: row.author_id, arrival: row.arrival, gone: row.gone };
    Scatter::Put { key, body: json(&body), expires_at }
}

/// The id that is a key's sort part.
pub(crate) fn sort_id<T: std::str::FromStr>(key: &Key) -> Result<T, TableError> {
    let malformed = |_| TableError::Malformed(format!("the sort key of {key:?} is not an id"));
    key.sort.parse().map_err(malformed)
}

/// Reads a row of a feed or of an author.
pub(crate) fn row(item: &Item) -> Result<Row, TableError> {
    let RowBody { author_id, arrival, gone } = item.json()?;
    Ok(Row { post_id: sort_id(&item.key)?, author_id, arrival, gone })
}

/// The items at any number of keys.
pub(crate) async fn get_all(
    table: &dyn Table,
    keys: &[Key],
) -> Result<Vec<Option<Item>>, TableError> {
    let mut items = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(GET_KEYS_MAX) {
        items.extend(table.get(chunk).await?);
    }
    Ok(items)
}

/// Any number of plain writes.
pub(crate) async fn scatter_all(
    table: &dyn Table,
    mut writes: Vec<Scatter>,
) -> Result<(), TableError> {
    while !writes.is_empty() {
        let rest = writes.split_off(writes.len().min(SCATTER_WRITES_MAX));
        table.scatter(std::mem::replace(&mut writes, rest)).await?;
    }
    Ok(())
}

/// Every item of a partition.
pub(crate) async fn partition(
    table: &dyn Table,
    name: impl Into<String>,
) -> Result<Vec<Item>, TableError> {
    let mut query = Query::all(name, QUERY_ITEMS_MAX);
    let mut all = Vec::new();
    loop {
        let found = table.query(query.clone()).await?;
        all.extend(found.items);
        let Some(next) = found.next else { return Ok(all) };
        query = query.above(next);
    }
}

/// Whether each key has an item.
pub(crate) async fn present(table: &dyn Table, keys: &[Key]) -> Result<Vec<bool>, TableError> {
    Ok(get_all(table, keys).await?.iter().map(Option::is_some).collect())
}

/// Up to which post the feed is complete; none when it is so to its end.
pub(crate) async fn mark(table: &dyn Table, user: UserId) -> Result<Option<PostId>, TableError> {
    get_one(table, mark_key(user)).await?.map(|item| item.json()).transpose()
}

/// Lets the feed be complete from `post` on only, unless it already was from a newer one.
pub(crate) async fn raise_mark(
    table: &dyn Table,
    user: UserId,
    post: PostId,
) -> Result<(), Problem> {
    raise(table, mark_key(user), post).await
}

/// The last arrival among the rows that were cut off the feed; zero when none was.
pub(crate) async fn cut(table: &dyn Table, user: UserId) -> Result<u64, TableError> {
    let item = get_one(table, cut_key(user)).await?;
    Ok(body(item.as_ref())?.unwrap_or(0))
}

/// Remembers that rows are cut off the feed which arrived up to `arrival`.
pub(crate) async fn raise_cut(
    table: &dyn Table,
    user: UserId,
    arrival: u64,
) -> Result<(), Problem> {
    raise(table, cut_key(user), arrival).await
}

/// Sets what is kept at `key` to `value`, unless it already is as high.
async fn raise<T>(table: &dyn Table, key: Key, value: T) -> Result<(), Problem>
where
    T: Ord + Serialize + DeserializeOwned + Sync,
{
    retry(|| async {
        let item = get_one(table, key.clone()).await?;
        let condition = Condition::unchanged(item.as_ref());
        if body::<T>(item.as_ref())?.is_none_or(|before| before < value) {
            let write = Write::put_json(key.clone(), &value).when(condition);
            table.commit(vec![write]).await?;
        }
        Ok::<_, Attempt>(())
    })
    .await
}

/// Whether `user` follows `author`, by this service's own projection.
pub(crate) async fn follows(
    table: &dyn Table,
    user: UserId,
    author: UserId,
) -> Result<bool, TableError> {
    let edge: Option<Edge> = body(get_one(table, following_key(user, author)).await?.as_ref())?;
    Ok(edge.is_some_and(|edge| edge.on))
}

/// Those of `authors` that `user` follows and does not mute; the user too.
pub(crate) async fn heard(
    table: &dyn Table,
    user: UserId,
    authors: &[UserId],
) -> Result<HashSet<UserId>, TableError> {
    let keys: Vec<_> = authors.iter().map(|author| following_key(user, *author)).collect();
    let edges = get_all(table, &keys).await?;
    let mut heard = HashSet::from([user]);
    for (author, edge) in authors.iter().zip(edges) {
        if body::<Edge>(edge.as_ref())?.is_some_and(|edge| edge.on && !edge.muted) {
            heard.insert(*author);
        }
    }
    Ok(heard)
}

/// The authors above the threshold that `user` follows and does not mute.
pub(crate) async fn big_heard(table: &dyn Table, user: UserId) -> Result<Vec<UserId>, TableError> {
    let items = partition(table, BIG).await?;
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let big = items.iter().map(|item| sort_id(&item.key));
    let big: Vec<UserId> = big.collect::<Result<_, _>>()?;
    let heard = heard(table, user, &big).await?;
    Ok(big.into_iter().filter(|author| *author != user && heard.contains(author)).collect())
}

/// A page of one end's edges that are on, by id above `after`, and where to go on.
pub(crate) async fn edges(
    table: &dyn Table,
    partition: String,
    after: Option<UserId>,
    limit: usize,
) -> Result<(Vec<End>, Option<UserId>), TableError> {
    let mut query = Query::all(partition, limit);
    if let Some(after) = after {
        query = query.above(after.to_string());
    }
    let found = table.query(query).await?;
    let mut ends = Vec::with_capacity(found.items.len());
    for item in &found.items {
        let Edge { on, muted, .. } = item.json()?;
        if on {
            ends.push(End { user_id: sort_id(&item.key)?, muted });
        }
    }
    let next = found.next.and_then(|next| next.parse().ok());
    Ok((ends, next))
}

/// Every edge of one end that is on.
async fn all_edges(table: &dyn Table, partition: &str) -> Result<Vec<End>, TableError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (ends, next) = edges(table, partition.to_owned(), after, QUERY_ITEMS_MAX).await?;
        all.extend(ends);
        let Some(next) = next else { return Ok(all) };
        after = Some(next);
    }
}

/// A page of an author's followers.
pub(crate) async fn followers(
    table: &dyn Table,
    author: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<(Vec<End>, Option<UserId>), TableError> {
    edges(table, author.prefixed("follower#"), after, limit).await
}

/// Everybody who follows `author`.
pub(crate) async fn all_followers(
    table: &dyn Table,
    author: UserId,
) -> Result<Vec<End>, TableError> {
    all_edges(table, &author.prefixed("follower#")).await
}

/// Everybody whom `user` follows.
pub(crate) async fn all_following(table: &dyn Table, user: UserId) -> Result<Vec<End>, TableError> {
    all_edges(table, &user.prefixed("following#")).await
}

/// The newest rows of a feed and of big authors below `before`, and whether there are no more.
pub(crate) async fn rows_below(
    table: &dyn Table,
    user: UserId,
    big: &[UserId],
    before: Option<PostId>,
    limit: usize,
) -> Result<(Vec<Row>, bool), TableError> {
    let sources = std::iter::once(feed(user)).chain(big.iter().map(|a| author(*a)));
    let (mut lists, mut known_from) = (Vec::with_capacity(1 + big.len()), None);
    for source in sources {
        let mut query = Query::all(source, limit).descending();
        if let Some(before) = before {
            query = query.below(before.to_string());
        }
        let found = table.query(query).await?;
        let rows = found.items.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        if found.next.is_some() {
            // Below its last row this source may hold more, so the others must wait there.
            known_from = known_from.max(rows.last().map(|row| row.post_id));
        }
        lists.push(rows);
    }
    let mut rows = merge(lists);
    rows.retain(|row| known_from.is_none_or(|from| row.post_id >= from));
    Ok((rows, known_from.is_none()))
}

/// Everything that a feed's table rows say.
pub(crate) struct Scan {
    /// The rows of those the user follows and does not mute, newest first.
    pub(crate) rows: Vec<Row>,
    /// Below this post rows may be missing.
    pub(crate) floor: Option<PostId>,
}

/// Reads a whole feed; of big authors their newest rows.
pub(crate) async fn scan(table: &dyn Table, user: UserId) -> Result<Scan, TableError> {
    let mut floor = mark(table, user).await?;
    let items = partition(table, feed(user)).await?;
    let mut lists = vec![items.iter().map(row).collect::<Result<Vec<_>, _>>()?];
    for big in big_heard(table, user).await? {
        let query = Query::all(author(big), QUERY_ITEMS_MAX).descending();
        let found = table.query(query).await?;
        let rows = found.items.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        if found.next.is_some() {
            floor = floor.max(rows.last().map(|row| row.post_id));
        }
        lists.push(rows);
    }
    let mut rows = merge(lists);
    let authors: HashSet<_> = rows.iter().map(|row| row.author_id).collect();
    let authors: Vec<_> = authors.into_iter().collect();
    let heard = heard(table, user, &authors).await?;
    rows.retain(|row| row.gone || heard.contains(&row.author_id));
    Ok(Scan { rows, floor })
}

/// An item's body, where there is an item.
pub(crate) fn body<T: DeserializeOwned>(item: Option<&Item>) -> Result<Option<T>, TableError> {
    item.map(Item::json).transpose()
}
