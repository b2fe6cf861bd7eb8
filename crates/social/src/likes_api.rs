//! The routes about likes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use edge::{Caller, Path, Query};
use kernel::peers::Peers;
use kernel::{Page, PostId, Problem, Profile, Time, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Place;
use crate::store::likes;
use crate::{Social, pages};

pub(crate) fn router() -> OpenApiRouter<Arc<Social>> {
    OpenApiRouter::new().routes(routes!(like, unlike, likers)).routes(routes!(states))
}

/// Whether the caller likes the post now, and how many do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Liked {
    liked: bool,
    like_count: u64,
}

/// A like of a post.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Liker {
    /// Who likes it.
    user: Profile,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    liked_at: Time,
}

/// A page of a post's likes, and how the post stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Likers {
    #[serde(flatten)]
    page: Page<Liker>,
    /// How many like the post.
    like_count: u64,
    /// Whether the caller does.
    liked: bool,
}

/// How one post is liked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PostLikes {
    #[schema(value_type = String)]
    post_id: PostId,
    /// How many like it.
    like_count: u64,
    /// Whether the caller does.
    liked: bool,
}

/// How some posts are liked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LikesOfPosts {
    items: Vec<PostLikes>,
}

/// Which posts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wanted {
    post_ids: String,
}

async fn known(social: &Social, post: PostId) -> Result<(), Problem> {
    match social.peers.posts_exist(&[post]).await?.pop() {
        Some(true) => Ok(()),
        _ => Err(Problem::not_found("post")),
    }
}

/// Who wrote the post.
async fn author(social: &Social, post: PostId) -> Result<UserId, Problem> {
    let post = social.peers.posts(&[post]).await?.pop().flatten();
    post.map(|post| post.author_id).ok_or_else(|| Problem::not_found("post"))
}

async fn count(social: &Social, post: PostId) -> Result<u64, Problem> {
    Ok(likes::counts(social.table.as_ref(), &[post]).await?.pop().unwrap_or(0))
}

#[utoipa::path(
    post,
    path = "/posts/{postId}/likes",
    tag = "social",
    operation_id = "like",
    summary = "Like a post",
    description = "Liking a post twice changes nothing.",
    params(("postId" = String, Path, description = "Which post")),
    responses(
        (status = 200, description = "The caller likes the post", body = Liked),
        (status = 401, description = "No good access token"),
        (status = 403, description = "`blocked`: the author and the caller are kept apart"),
        (status = 404, description = "Unknown or deleted"),
        (status = 409, description = "Other requests changed the same like again and again"),
    )
)]
async fn like(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(post): Path<PostId>,
) -> Result<Json<Liked>, Problem> {
    let author = author(&social, post).await?;
    likes::like(&social, caller.user_id, post, author).await?;
    Ok(Json(Liked { liked: true, like_count: count(&social, post).await? }))
}

#[utoipa::path(
    delete,
    path = "/posts/{postId}/likes",
    tag = "social",
    operation_id = "unlike",
    summary = "Take a like back",
    description = "Taking back what is not there changes nothing.",
    params(("postId" = String, Path, description = "Which post")),
    responses(
        (status = 200, description = "The caller does not like the post", body = Liked),
        (status = 401, description = "No good access token"),
        (status = 404, description = "Unknown or deleted"),
        (status = 409, description = "Other requests changed the same like again and again"),
    )
)]
async fn unlike(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(post): Path<PostId>,
) -> Result<Json<Liked>, Problem> {
    known(&social, post).await?;
    likes::unlike(&social, caller.user_id, post).await?;
    Ok(Json(Liked { liked: false, like_count: count(&social, post).await? }))
}

#[utoipa::path(
    get,
    path = "/posts/{postId}/likes",
    tag = "social",
    operation_id = "listLikes",
    summary = "Who likes a post, newest first",
    params(
        ("postId" = String, Path, description = "Which post"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Entries on the page; 20 where left out"),
        ("cursor" = Option<String>, Query, description = "From a page of the same list"),
    ),
    responses(
        (status = 200, description = "A page of likes", body = Likers),
        (status = 400, description = "`invalid_cursor`"),
        (status = 401, description = "No good access token"),
        (status = 404, description = "Unknown or deleted"),
        (status = 422, description = "A parameter breaks a rule"),
    )
)]
async fn likers(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(post): Path<PostId>,
    Query(place): Query<Place>,
) -> Result<Json<Likers>, Problem> {
    let limit = social.config.limits.page(place.limit.as_deref())?;
    let (name, partition) = (format!("likes of {post}"), likes::by_time(post));
    let (posts, cursor) = ([post], place.cursor.as_deref());
    let ((), page, like_count, viewed) = tokio::try_join!(
        known(&social, post),
        pages::people(&social, &name, &partition, limit, cursor),
        count(&social, post),
        social.viewed(caller.user_id, &posts, &[]),
    )?;
    let liked = viewed.liked.first().copied().unwrap_or(false);
    let page = page.map(|(user, liked_at)| Liker { user, liked_at });
    Ok(Json(Likers { page, like_count, liked }))
}

#[utoipa::path(
    get,
    path = "/likes",
    tag = "social",
    operation_id = "getLikes",
    summary = "How some posts are liked",
    description = "In the order asked for, each post once; unknown and deleted ones are left out.",
    params(("postIds" = String, Query, description = "Up to 100 ids, separated by commas")),
    responses(
        (status = 200, description = "Counts, and whether the caller is among them",
            body = LikesOfPosts),
        (status = 401, description = "No good access token"),
        (status = 422, description = "The ids are missing or too many"),
    )
)]
async fn states(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Json<LikesOfPosts>, Problem> {
    let posts: Vec<PostId> = social.config.limits.ids("postIds", &wanted.post_ids)?;
    if posts.is_empty() {
        return Ok(Json(LikesOfPosts { items: Vec::new() }));
    }
    let (exist, counts, viewed) = tokio::try_join!(
        social.peers.posts_exist(&posts),
        likes::counts(social.table.as_ref(), &posts),
        social.viewed(caller.user_id, &posts, &[]),
    )?;
    let states = posts.into_iter().zip(exist).zip(counts).zip(viewed.liked);
    let items = states.filter_map(|(((post_id, exists), like_count), liked)| {
        exists.then_some(PostLikes { post_id, like_count, liked })
    });
    Ok(Json(LikesOfPosts { items: items.collect() }))
}
