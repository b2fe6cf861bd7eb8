//! Which posts a viewer is to see: none by people from whom a block parts them.

use bytes::Bytes;
use kernel::peers::Regard;
use kernel::table::{Item, TableError};
use kernel::{Code, Problem, UserId, request};
use serde::Deserialize;

use crate::Posts;

/// What matters here of a post.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    author_id: UserId,
}

/// Who wrote a post.
pub(crate) fn author(item: &Item) -> Result<UserId, TableError> {
    Ok(item.json::<Written>()?.author_id)
}

/// The posts as clients see them, in their order; none for those that are not there, or not for
/// this viewer. Nobody is asked about the viewer's own.
pub(crate) async fn to(
    posts: &Posts,
    viewer: UserId,
    items: Vec<Option<Item>>,
) -> Result<Vec<Option<Bytes>>, Problem> {
    let authors = items.iter().map(|item| item.as_ref().map(author).transpose());
    let authors: Vec<Option<UserId>> = authors.collect::<Result<_, _>>()?;
    let mut others: Vec<UserId> = authors.iter().flatten().copied().collect();
    others.retain(|author| *author != viewer);
    others.sort_unstable();
    others.dedup();
    let hidden = if others.is_empty() { others } else { blocked(posts, viewer, others).await? };
    let shown = items.into_iter().zip(authors).map(|(item, author)| {
        let is_hidden = author.is_some_and(|author| hidden.contains(&author));
        item.filter(|_| !is_hidden).map(|item| item.body)
    });
    Ok(shown.collect())
}

/// Those from whom a block parts the viewer. While the social service does not say, reading goes
/// on: better a post too many than none at all.
async fn blocked(
    posts: &Posts,
    viewer: UserId,
    people: Vec<UserId>,
) -> Result<Vec<UserId>, Problem> {
    let viewed = posts.peers.viewed(viewer, &[], &people);
    let regards = match request::hurried(posts.config.blocks_wait, viewed).await {
        Ok(viewed) => viewed.regards,
        Err(problem) if matches!(problem.code, Code::Unavailable | Code::DeadlineExceeded) => {
            return Ok(Vec::new());
        }
        Err(problem) => return Err(problem),
    };
    let regards = people.into_iter().zip(regards);
    Ok(regards.filter(|(_, regard)| *regard == Regard::Blocked).map(|(person, _)| person).collect())
}
