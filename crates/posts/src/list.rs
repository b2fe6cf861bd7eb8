//! Lists of posts, newest first: one author's, and everybody's, which is spread over days and
//! shards and merged here.

use std::ops::Bound;

use bytes::Bytes;
use futures_util::future::try_join_all;
use kernel::fill::Fill;
use kernel::table::{Item, Query, Table, TableError};
use kernel::{Code, Limit, Page, Post, PostId, Problem, UserId};

use crate::{Posts, model, shown, store};

/// Days looked up at once.
const DAYS_AT_ONCE: usize = 30;

/// A list of posts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shelf {
    /// One author's.
    Author(UserId),
    /// Everybody's.
    Everybody,
}

impl Shelf {
    fn name(self) -> String {
        match self {
            Self::Author(author) => format!("posts by {author}"),
            Self::Everybody => "posts".to_owned(),
        }
    }
}

/// The post of an index row.
pub(crate) fn row_id(row: &Item) -> Result<PostId, TableError> {
    row.key
        .sort
        .parse()
        .map_err(|_| TableError::Malformed(format!("{:?} does not end in a post's id", row.key)))
}

/// One page of a list as `viewer` is to see it; its entries are the posts' JSON.
pub(crate) async fn page(
    posts: &Posts,
    viewer: UserId,
    shelf: Shelf,
    limit: Limit,
    cursor: Option<&str>,
) -> Result<Page<Bytes>, Problem> {
    let name = shelf.name();
    let fill = Fill::new(&name, limit, cursor)?;
    if let Some(at) = fill.at().filter(|at| !at.is_empty()) {
        place(at)?;
    }
    let newest = posts.sequence.newest(fill.reaches_newest()).await;
    let mut fill = fill.until(newest);
    read(posts, Some(viewer), shelf, &mut fill).await?;
    Ok(fill.page())
}

/// An author's newest posts older than `before`, whoever is to see them.
pub(crate) async fn newest(
    posts: &Posts,
    author: UserId,
    before: Option<PostId>,
    limit: usize,
) -> Result<Vec<Post>, Problem> {
    let too_many = || Problem::invalid("limit", "From 1 to 100.");
    let limit = Limit::new(limit).ok_or_else(too_many)?;
    let shelf = Shelf::Author(author);
    let name = shelf.name();
    let before = before.map(|post| kernel::Cursor::older(post.text()).render(&name));
    let mut fill = Fill::new(&name, limit, before.as_deref())?;
    read(posts, None, shelf, &mut fill).await?;
    let posts = fill.page().items.into_iter().map(|body| serde_json::from_slice(&body));
    posts.collect::<Result<_, _>>().map_err(Problem::internal)
}

/// Fills the page with posts that are still there.
async fn read(
    posts: &Posts,
    viewer: Option<UserId>,
    shelf: Shelf,
    fill: &mut Fill<'_, Bytes>,
) -> Result<(), Problem> {
    let table = posts.table.as_ref();
    while fill.wanted() > 0 {
        let mut rows = match shelf {
            Shelf::Author(author) => match fill.query(&store::author_partition(author)) {
                Some(query) => ids(&table.query(query).await?.items)?,
                None => Vec::new(),
            },
            Shelf::Everybody => match fill.query(store::DAYS) {
                Some(query) => everybody(table, query, fill.newer()).await?,
                None => Vec::new(),
            },
        };
        let more = rows.len() > fill.wanted();
        rows.truncate(fill.wanted());
        let items = store::items(posts, &rows).await?;
        let bodies = match viewer {
            Some(viewer) => shown::to(posts, viewer, items).await?,
            None => items.into_iter().map(|item| item.map(|item| item.body)).collect(),
        };
        fill.add(rows.iter().map(PostId::to_string).zip(bodies), more);
    }
    Ok(())
}

fn ids(rows: &[Item]) -> Result<Vec<PostId>, TableError> {
    rows.iter().map(row_id).collect()
}

/// The id in a cursor, which may have a tail that makes it include the post itself.
fn place(at: &str) -> Result<PostId, Problem> {
    let id = at.get(..ulid::ULID_LEN).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Problem::new(Code::InvalidCursor, "Use a cursor that this list answered."))
}

/// The first `walk.limit` posts of everybody's between the walk's bounds, day by day.
async fn everybody(table: &dyn Table, walk: Query, newer: bool) -> Result<Vec<PostId>, Problem> {
    let day = |bound: &Bound<String>| match bound {
        Bound::Unbounded => Ok(Bound::Unbounded),
        // The cursor from behind the oldest post.
        Bound::Excluded(at) if at.is_empty() => Ok(Bound::Unbounded),
        Bound::Included(at) | Bound::Excluded(at) => {
            place(at).map(|post| Bound::Included(store::day_sort(model::day(post))))
        }
    };
    let mut days = Query {
        partition: store::DAYS.to_owned(),
        from: day(&walk.from)?,
        to: day(&walk.to)?,
        order: walk.order,
        limit: DAYS_AT_ONCE,
    };
    let mut found = Vec::new();
    loop {
        let listed = table.query(days.clone()).await?;
        for item in listed.items {
            let left = walk.limit - found.len();
            found.extend(one_day(table, &item, &Query { limit: left, ..walk.clone() }).await?);
            if found.len() == walk.limit {
                return Ok(found);
            }
        }
        let Some(next) = listed.next else { return Ok(found) };
        days = if newer { days.above(next) } else { days.below(next) };
    }
}

/// The first `walk.limit` posts of one day. Each shard gives as many, so none can be missed.
async fn one_day(table: &dyn Table, day: &Item, walk: &Query) -> Result<Vec<PostId>, Problem> {
    let number = day.key.sort.parse().map_err(Problem::internal)?;
    let shards: u32 = day.json()?;
    let rows = (0..shards).map(|shard| {
        let partition = store::public_partition(number, shard);
        table.query(Query { partition, ..walk.clone() })
    });
    let mut found = Vec::new();
    for shard in try_join_all(rows).await? {
        found.extend(ids(&shard.items)?);
    }
    match walk.order {
        kernel::table::Order::Ascending => found.sort_unstable(),
        kernel::table::Order::Descending => found.sort_unstable_by(|a, b| b.cmp(a)),
    }
    found.truncate(walk.limit);
    Ok(found)
}
