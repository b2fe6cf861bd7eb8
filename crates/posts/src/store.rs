//! Posts in the table.

pub(crate) mod reports;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use kernel::acts::{self, Act};
use kernel::event::DeletedPost;
use kernel::sequence::Ticket;
use kernel::table::{
    self, Attempt, COMMIT_WRITES_MAX, Condition, GET_KEYS_MAX, Item, Key, Query, TableError, Write,
};
use kernel::{Code, Event, EventData, Post, PostId, Problem, UserId, outbox};

use crate::model::{self, AuthorState, IdempotencyKey, Receipt};
use crate::{Posts, existing, list, shown, suspended};

/// The partition of the rows that say on which days there are posts.
pub(crate) const DAYS: &str = "days";
/// Posts removed in one commit: four writes each.
const REMOVE_POSTS: usize = 24;

pub(crate) fn post_key(post: PostId) -> Key {
    Key::new(post.prefixed("post#"), "")
}

pub(crate) fn author_partition(author: UserId) -> String {
    author.prefixed("author#")
}

fn author_key(author: UserId, post: PostId) -> Key {
    Key::new(author_partition(author), post.text())
}

pub(crate) fn public_partition(day: u64, shard: u32) -> String {
    format!("public#{day:07}#{shard:02}")
}

pub(crate) fn day_sort(day: u64) -> String {
    format!("{day:07}")
}

fn user_key(user: UserId, sort: impl Into<String>) -> Key {
    Key::new(user.prefixed("user#"), sort)
}

const STATE: &str = "state";
const RECEIPT_PREFIX: &str = "key#";

/// The items of up to 100 posts, in the ids' order; none for those of suspended people.
pub(crate) async fn items(posts: &Posts, ids: &[PostId]) -> Result<Vec<Option<Item>>, TableError> {
    let Some(first) = ids.first() else { return Ok(Vec::new()) };
    let table = posts.table.as_ref();
    // Read along with the posts, or else before them.
    let mut keys = vec![suspended::counter_key(*first)];
    keys.extend(ids.iter().copied().map(post_key));
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(GET_KEYS_MAX) {
        found.extend(table.get(keys).await?);
    }
    let mut items = found.split_off(1);
    let counter = found.pop().flatten();
    let hidden = posts.suspended.users(table, counter.as_ref(), posts.clock.now()).await?;
    if !hidden.is_empty() {
        for item in &mut items {
            let author = item.as_ref().map(shown::author).transpose()?;
            if author.is_some_and(|author| hidden.contains(&author)) {
                *item = None;
            }
        }
    }
    Ok(items)
}

/// A post that its author asks to write.
pub(crate) struct Draft {
    pub(crate) author: UserId,
    /// As it is stored.
    pub(crate) text: String,
    /// The key it came with, and what that key will have made.
    pub(crate) once: Option<(IdempotencyKey, String)>,
}

/// A post as it is answered.
pub(crate) struct Written {
    pub(crate) id: PostId,
    pub(crate) body: Bytes,
}

/// What every try to write one post shares.
struct Attempted<'a> {
    post: &'a Post,
    body: Bytes,
    event: Write,
    receipt: Option<(Key, Receipt)>,
}

/// Writes a post, or finds the one that its idempotency key made before.
pub(crate) async fn create(posts: &Posts, draft: Draft) -> Result<Written, Problem> {
    let ticket = posts.sequence.take();
    let id = PostId(ticket.id());
    let post = Post {
        post_id: id,
        author_id: draft.author,
        text: draft.text,
        created_at: id.created_at(),
    };
    let event = Event::new(&*posts.ids, &*posts.clock, EventData::PostCreated(post.clone()));
    let receipt = draft.once.map(|(IdempotencyKey(key), sent)| {
        let sort = format!("{RECEIPT_PREFIX}{key}");
        (user_key(draft.author, sort), Receipt::new(id, &sent))
    });
    let (body, event) = (table::json(&post), outbox::write(&event));
    let attempted = Attempted { post: &post, body, event, receipt };
    // Whoever wins a race writes a post of this user, which fills the minute, or the day's row,
    // once: so this many tries either succeed or are refused.
    let tries = posts.config.posts_per_minute.saturating_add(3);
    for _ in 0..tries {
        match attempt(posts, &attempted, &ticket).await {
            Ok(written) => return Ok(written),
            Err(Attempt::Refused(problem)) => return Err(problem),
            Err(Attempt::Again) => tokio::task::yield_now().await,
        }
    }
    Err(TableError::Contended.into())
}

/// One try: one read, one commit.
async fn attempt(posts: &Posts, new: &Attempted<'_>, ticket: &Ticket) -> Result<Written, Attempt> {
    let author = new.post.author_id;
    let id = new.post.post_id;
    let day = model::day(id);
    let state_key = user_key(author, STATE);
    let mut keys = vec![state_key.clone()];
    keys.extend(new.receipt.as_ref().map(|(key, _)| key.clone()));
    let day_known = posts.known_day.load(Ordering::Relaxed) == day;
    if !day_known {
        keys.push(Key::new(DAYS, day_sort(day)));
    }
    let mut found = posts.table.get(&keys).await?.into_iter();
    let state_item = found.next().flatten();
    if let Some((_, receipt)) = &new.receipt
        && let Some(item) = found.next().flatten()
    {
        let id = item.json::<Receipt>()?.replay(receipt)?;
        return Ok(replayed(new.post, id));
    }
    let state: AuthorState = state_item.as_ref().map(Item::json).transpose()?.unwrap_or_default();
    let now = posts.clock.now();
    let state = state.admit(now, posts.config.allowance())?;

    let shards = posts.config.public_shards.clamp(1, 64);
    let shard = model::shard(id, shards);
    let public = public_partition(day, shard);
    let mut writes = vec![
        Write::put_json(state_key, &state).when(Condition::unchanged(state_item.as_ref())),
        Write::put(post_key(id), new.body.clone()),
        Write::put_json(author_key(author, id), &shard),
        Write::put(Key::new(public, id.text()), Bytes::new()),
        new.event.clone(),
    ];
    if let Some((key, receipt)) = &new.receipt {
        let expires_at = now + Duration::from_secs(posts.config.idempotency_secs);
        let write = Write::put_json(key.clone(), receipt).expiring(expires_at);
        writes.push(write.when(Condition::Absent));
    }
    if !day_known {
        writes.extend(day_write(day, shards, found.next().flatten().as_ref())?);
    }
    posts.table.commit_ordered(writes, ticket).await?;
    posts.known_day.store(day, Ordering::Relaxed);
    Ok(Written { id, body: new.body.clone() })
}

/// The first answer again: everything in it follows from the id and the request.
fn replayed(post: &Post, id: PostId) -> Written {
    let post = Post { post_id: id, created_at: id.created_at(), ..post.clone() };
    Written { id, body: table::json(&post) }
}

/// The write that lists `day` with `shards`, unless `item` already does with as many.
fn day_write(day: u64, shards: u32, item: Option<&Item>) -> Result<Option<Write>, TableError> {
    let listed = item.map(Item::json::<u32>).transpose()?.unwrap_or(0);
    let write =
        Write::put_json(Key::new(DAYS, day_sort(day)), &shards).when(Condition::unchanged(item));
    Ok((listed < shards).then_some(write))
}

/// The writes that remove the post of an author's index row and tell of it; unmet when it is gone
/// already. The row knows the shard, whatever the present configuration says.
fn removal(posts: &Posts, author: UserId, row: &Item) -> Result<[Write; 4], Problem> {
    let id: PostId = list::row_id(row)?;
    let gone = DeletedPost { post_id: id, author_id: author, created_at: id.created_at() };
    let event = Event::new(&*posts.ids, &*posts.clock, EventData::PostDeleted(gone));
    let public = public_partition(model::day(id), row.json()?);
    Ok([
        Write::delete(post_key(id)).when(Condition::Present),
        Write::delete(row.key.clone()),
        Write::delete(Key::new(public, id.text())),
        outbox::write(&event),
    ])
}

/// Removes a post of `author`'s own.
pub(crate) async fn delete(posts: &Posts, author: UserId, id: PostId) -> Result<(), Problem> {
    table::retry(|| async {
        let found = posts.table.get(&[post_key(id), author_key(author, id)]).await?;
        match &found[..] {
            [Some(_), Some(row)] => {
                let mut writes: Vec<Write> = removal(posts, author, row)?.into();
                writes.extend(existing::deleted());
                Ok(posts.table.commit(writes).await?)
            }
            // Deleted between the two reads, when it is the author's after all: look again.
            [Some(post), None] if post.json::<Post>()?.author_id == author => Err(Attempt::Again),
            [Some(_), None] => {
                Err(Problem::new(Code::Forbidden, "Only its author can delete a post.").into())
            }
            _ => Err(Problem::not_found("post").into()),
        }
    })
    .await
}

/// Removes anybody's post, with the act of whom that orders; without one only looks.
pub(crate) async fn remove(posts: &Posts, id: PostId, act: Option<&Act>) -> Result<Post, Problem> {
    table::retry(|| async {
        let found = table::get_one(&*posts.table, post_key(id)).await?;
        let found = found.ok_or_else(|| Problem::not_found("post"))?;
        let post: Post = found.json()?;
        let Some(act) = act else { return Ok(post) };
        let row = table::get_one(&*posts.table, author_key(post.author_id, id)).await?;
        // Deleted between the two reads: look again.
        let row = row.ok_or(Attempt::Again)?;
        let mut writes: Vec<Write> = removal(posts, post.author_id, &row)?.into();
        writes.extend(existing::deleted());
        writes.push(acts::write(act));
        posts.table.commit(writes).await?;
        Ok(post)
    })
    .await
}

/// Marks a user as deleted, so that no later commit can write a post of theirs.
pub(crate) async fn mark_gone(posts: &Posts, user: UserId) -> Result<(), Problem> {
    let write = Write::put_json(user_key(user, STATE), &AuthorState::gone());
    Ok(posts.table.commit(vec![write, suspended::forget(user)]).await?)
}

/// Marks a user's e-mail address as confirmed.
pub(crate) async fn mark_confirmed(posts: &Posts, user: UserId) -> Result<(), Problem> {
    table::retry(|| async {
        let item = table::get_one(&*posts.table, user_key(user, STATE)).await?;
        let mut state: AuthorState = item.as_ref().map(Item::json).transpose()?.unwrap_or_default();
        state.confirmed = true;
        let write = Write::put_json(user_key(user, STATE), &state);
        Ok(posts.table.commit(vec![write.when(Condition::unchanged(item.as_ref()))]).await?)
    })
    .await
}

/// Removes some posts of a user who is marked as deleted, or else their idempotency keys, or else
/// their name in reports; true when nothing is left. May be broken off and repeated at any point.
pub(crate) async fn remove_some(posts: &Posts, user: UserId) -> Result<bool, Problem> {
    let rows = posts.table.query(Query::all(author_partition(user), REMOVE_POSTS)).await?.items;
    let mut writes = Vec::with_capacity(COMMIT_WRITES_MAX);
    for row in &rows {
        writes.extend(removal(posts, user, row)?);
    }
    if rows.is_empty() {
        let state = user_key(user, "");
        let query = Query::all(state.partition, COMMIT_WRITES_MAX).starting_with(RECEIPT_PREFIX);
        let receipts = posts.table.query(query).await?.items;
        writes.extend(receipts.into_iter().map(|item| Write::delete(item.key)));
    } else {
        writes.extend(existing::deleted());
    }
    if writes.is_empty() {
        writes = reports::forget_reporter(posts, user).await?;
    }
    if writes.is_empty() {
        return Ok(true);
    }
    match posts.table.commit(writes).await {
        // The author deleted one of them at the same moment: the next look no longer finds it.
        Ok(()) | Err(TableError::Unmet(_) | TableError::Contended) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
