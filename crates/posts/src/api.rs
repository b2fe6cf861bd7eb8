//! The routes of the post service.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use edge::{Caller, Json, Path, Query};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use kernel::{Page, Post, PostId, Problem};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Posts;
use crate::list::{self, Shelf};
use crate::model::{self, IdempotencyKey};
use crate::store::{self, Draft};
use crate::{reports_api, shown};

pub(crate) fn router() -> OpenApiRouter<Arc<Posts>> {
    OpenApiRouter::new()
        .routes(routes!(create, find))
        .routes(routes!(show, delete))
        .merge(reports_api::router())
}

/// A post to write.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewPost {
    /// Plain text, 1 to 500 user-perceived characters after trimming; no control characters other
    /// than newline and tab.
    #[schema(min_length = 1, example = "Good morning!")]
    text: String,
}

/// Which posts to list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wanted {
    ids: Option<String>,
    author_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[utoipa::path(
    post,
    path = "/posts",
    tag = "posts",
    operation_id = "createPost",
    summary = "Write a post",
    description = "With an `Idempotency-Key`, kept for 24 hours, the same request may be sent \
        again: it answers the first post and writes no other.",
    params((
        "Idempotency-Key" = Option<String>, Header, max_length = 255,
        description = "1 to 255 visible ASCII characters, new for each post"
    )),
    request_body = NewPost,
    responses(
        (status = 201, description = "Written, now or by the same request before", body = Post,
            headers(("Location" = String, description = "The post's address"))),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A broken rule, or `idempotency_mismatch`"),
        (status = 429, description = "`post_rate_limited`: 10 posts a minute at most"),
    )
)]
async fn create(
    State(posts): State<Arc<Posts>>,
    Caller(caller): Caller,
    headers: HeaderMap,
    Json(new): Json<NewPost>,
) -> Result<Response, Problem> {
    let values = headers.get_all(IdempotencyKey::HEADER).iter();
    let characters_max = posts.config.idempotency_key_characters_max;
    let key = IdempotencyKey::parse(values.map(|value| value.to_str().ok()), characters_max)?;
    let text = model::plain_text(&new.text, posts.config.text_characters_max)?;
    let once = key.map(|key| (key, new.text));
    let written = store::create(&posts, Draft { author: caller.user_id, text, once }).await?;
    let address = HeaderValue::try_from(format!("/posts/{}", written.id));
    let address = address.map_err(Problem::internal)?;
    Ok((StatusCode::CREATED, [(LOCATION, address)], json(written.body)).into_response())
}

#[utoipa::path(
    get,
    path = "/posts",
    tag = "posts",
    operation_id = "listPosts",
    summary = "List posts: some by their ids, one author's, or everybody's",
    description = "With `ids`: those posts, in that order, each once, unknown ones left out. With \
        `authorId`: that author's, newest first. With neither: everybody's, newest first. Without \
        posts by people from whom a block parts the caller.",
    params(
        ("ids" = Option<String>, Query, description = "Up to 100 ids, separated by commas"),
        ("authorId" = Option<String>, Query, description = "Whose posts"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Entries on the page; 20 where left out"),
        ("cursor" = Option<String>, Query, description = "From a page of the same list"),
    ),
    responses(
        (status = 200, description = "The posts; without cursors when asked by `ids`",
            body = Page<Post>),
        (status = 400, description = "`invalid_cursor`"),
        (status = 401, description = "No good access token"),
        (status = 422, description = "A parameter breaks a rule"),
    )
)]
async fn find(
    State(posts): State<Arc<Posts>>,
    Caller(caller): Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let limit = posts.config.limits.page(wanted.limit.as_deref())?;
    if let Some(text) = &wanted.ids {
        if wanted.author_id.is_some() || wanted.cursor.is_some() {
            return Err(Problem::invalid("ids", "Goes with neither `authorId` nor `cursor`."));
        }
        let items = store::items(&posts, &posts.config.limits.ids("ids", text)?).await?;
        let items = shown::to(&posts, caller.user_id, items).await?.into_iter().flatten().collect();
        let page = Page { items, next_cursor: None, prev_cursor: None };
        return Ok(json(page_json(&page)).into_response());
    }
    let shelf = match &wanted.author_id {
        Some(id) => Shelf::Author(
            id.parse().map_err(|_| Problem::invalid("authorId", "A user's id is expected."))?,
        ),
        None => Shelf::Everybody,
    };
    let page = list::page(&posts, caller.user_id, shelf, limit, wanted.cursor.as_deref()).await?;
    Ok(json(page_json(&page)).into_response())
}

#[utoipa::path(
    get,
    path = "/posts/{postId}",
    tag = "posts",
    operation_id = "getPost",
    summary = "Read a post",
    params(("postId" = String, Path, description = "The post's id")),
    responses(
        (status = 200, description = "The post", body = Post),
        (status = 401, description = "No good access token"),
        (status = 404, description = "Unknown, deleted, or a block parts author and caller"),
    )
)]
async fn show(
    State(posts): State<Arc<Posts>>,
    Caller(caller): Caller,
    Path(id): Path<PostId>,
) -> Result<Response, Problem> {
    let items = store::items(&posts, &[id]).await?;
    let body = shown::to(&posts, caller.user_id, items).await?.pop().flatten();
    Ok(json(body.ok_or_else(|| Problem::not_found("post"))?).into_response())
}

#[utoipa::path(
    delete,
    path = "/posts/{postId}",
    tag = "posts",
    operation_id = "deletePost",
    summary = "Delete a post of one's own",
    params(("postId" = String, Path, description = "The post's id")),
    responses(
        (status = 204, description = "Gone from every read"),
        (status = 401, description = "No good access token"),
        (status = 403, description = "Somebody else's post"),
        (status = 404, description = "Unknown or deleted"),
    )
)]
async fn delete(
    State(posts): State<Arc<Posts>>,
    Caller(caller): Caller,
    Path(id): Path<PostId>,
) -> Result<StatusCode, Problem> {
    store::delete(&posts, caller.user_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stored posts are the JSON that clients see: they are passed on, not read and written anew.
fn json(body: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
}

fn page_json(page: &Page<Bytes>) -> Bytes {
    let bytes: usize = page.items.iter().map(|item| item.len() + 1).sum();
    let mut json = Vec::with_capacity(bytes + 256);
    json.extend_from_slice(b"{\"items\":[");
    for (index, item) in page.items.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(item);
    }
    json.push(b']');
    for (name, cursor) in [("nextCursor", &page.next_cursor), ("prevCursor", &page.prev_cursor)] {
        // Cursors are Base64url: nothing in them needs escaping.
        let cursor = cursor.as_ref().map_or("null".to_owned(), |text| format!("\"{text}\""));
        json.extend_from_slice(format!(",\"{name}\":{cursor}").as_bytes());
    }
    json.push(b'}');
    json.into()
}
