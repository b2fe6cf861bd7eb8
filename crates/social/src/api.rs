//! The routes about follows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use edge::{Caller, Path, Query};
use kernel::{Page, Problem, Profile, Time, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::store::{follows, hides};
use crate::{Social, model, pages};

pub(crate) fn router() -> OpenApiRouter<Arc<Social>> {
    OpenApiRouter::new()
        .routes(routes!(follow, unfollow, show))
        .routes(routes!(followers))
        .routes(routes!(following))
}

/// Whether the caller follows the user now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Following {
    following: bool,
}

/// How the caller and a user stand, and the user's counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FollowState {
    /// The caller follows the user.
    following: bool,
    /// The user follows the caller.
    followed_by: bool,
    /// The caller blocks the user.
    blocking: bool,
    /// The caller mutes the user.
    muting: bool,
    /// How many follow the user.
    follower_count: u64,
    /// How many the user follows.
    following_count: u64,
}

/// One end of a follow.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FollowEntry {
    /// Who is at the other end.
    user: Profile,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    followed_at: Time,
}

/// Where in a list to read.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) limit: Option<String>,
    pub(crate) cursor: Option<String>,
}

pub(crate) async fn known(social: &Social, user: UserId) -> Result<(), Problem> {
    match social.peers.profiles(&[user]).await?.pop().flatten() {
        Some(_) => Ok(()),
        None => Err(Problem::not_found("user")),
    }
}

#[utoipa::path(
    post,
    path = "/users/{userId}/follow",
    tag = "social",
    operation_id = "follow",
    summary = "Follow a user",
    description = "Following somebody twice changes nothing.",
    params(("userId" = String, Path, description = "Whom")),
    responses(
        (status = 200, description = "The caller follows the user", body = Following),
        (status = 401, description = "No good access token"),
        (status = 403, description = "`blocked`: one of the two blocks the other"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "Other requests changed the same follow again and again"),
        (status = 422, description = "`self_follow`"),
    )
)]
async fn follow(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<Following>, Problem> {
    model::check_follow(caller.user_id, user)?;
    known(&social, user).await?;
    follows::follow(&social, caller.user_id, user).await?;
    Ok(Json(Following { following: true }))
}

#[utoipa::path(
    delete,
    path = "/users/{userId}/follow",
    tag = "social",
    operation_id = "unfollow",
    summary = "Stop following a user",
    description = "Unfollowing somebody who is not followed changes nothing.",
    params(("userId" = String, Path, description = "Whom")),
    responses(
        (status = 200, description = "The caller does not follow the user", body = Following),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "Other requests changed the same follow again and again"),
    )
)]
async fn unfollow(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<Following>, Problem> {
    known(&social, user).await?;
    if caller.user_id != user {
        follows::unfollow(&social, caller.user_id, user).await?;
    }
    Ok(Json(Following { following: false }))
}

#[utoipa::path(
    get,
    path = "/users/{userId}/follow",
    tag = "social",
    operation_id = "getFollow",
    summary = "How the caller and a user stand, and the user's counts",
    params(("userId" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "How things stand", body = FollowState),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
    )
)]
async fn show(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<FollowState>, Problem> {
    let (table, viewer) = (social.table.as_ref(), caller.user_id);
    let hides = async { Ok(hides::state(table, viewer, user).await?) };
    let state = follows::state(table, viewer, user);
    let ((), state, [blocking, muting]) = tokio::try_join!(known(&social, user), state, hides)?;
    Ok(Json(FollowState {
        following: state.following,
        followed_by: state.followed_by,
        blocking,
        muting,
        follower_count: state.follower_count,
        following_count: state.following_count,
    }))
}

#[utoipa::path(
    get,
    path = "/users/{userId}/followers",
    tag = "social",
    operation_id = "listFollowers",
    summary = "Who follows a user, newest first",
    params(
        ("userId" = String, Path, description = "The user's id"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Entries on the page; 20 where left out"),
        ("cursor" = Option<String>, Query, description = "From a page of the same list"),
    ),
    responses(
        (status = 200, description = "A page of followers", body = Page<FollowEntry>),
        (status = 400, description = "`invalid_cursor`"),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 422, description = "A parameter breaks a rule"),
    )
)]
async fn followers(
    State(social): State<Arc<Social>>,
    _caller: Caller,
    Path(user): Path<UserId>,
    Query(place): Query<Place>,
) -> Result<Json<Page<FollowEntry>>, Problem> {
    let list = (format!("followers of {user}"), follows::followers_by_time(user));
    page(&social, user, list, place).await
}

#[utoipa::path(
    get,
    path = "/users/{userId}/following",
    tag = "social",
    operation_id = "listFollowing",
    summary = "Whom a user follows, newest first",
    params(
        ("userId" = String, Path, description = "The user's id"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Entries on the page; 20 where left out"),
        ("cursor" = Option<String>, Query, description = "From a page of the same list"),
    ),
    responses(
        (status = 200, description = "A page of whom the user follows", body = Page<FollowEntry>),
        (status = 400, description = "`invalid_cursor`"),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 422, description = "A parameter breaks a rule"),
    )
)]
async fn following(
    State(social): State<Arc<Social>>,
    _caller: Caller,
    Path(user): Path<UserId>,
    Query(place): Query<Place>,
) -> Result<Json<Page<FollowEntry>>, Problem> {
    let list = (format!("followed by {user}"), follows::following_by_time(user));
    page(&social, user, list, place).await
}

/// A page of the list with this name and partition.
async fn page(
    social: &Social,
    user: UserId,
    (name, partition): (String, String),
    place: Place,
) -> Result<Json<Page<FollowEntry>>, Problem> {
    let limit = social.config.limits.page(place.limit.as_deref())?;
    let people = pages::people(social, &name, &partition, limit, place.cursor.as_deref());
    let ((), page) = tokio::try_join!(known(social, user), people)?;
    Ok(Json(page.map(|(user, followed_at)| FollowEntry { user, followed_at })))
}
