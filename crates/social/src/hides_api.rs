//! The routes about blocks and mutes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use edge::{Caller, Path, Query};
use kernel::{Page, Problem, Profile, Time, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Place, known};
use crate::store::hides::{self, Hide};
use crate::{Social, model, pages};

pub(crate) fn router() -> OpenApiRouter<Arc<Social>> {
    OpenApiRouter::new()
        .routes(routes!(block, unblock))
        .routes(routes!(mute, unmute))
        .routes(routes!(blocks))
        .routes(routes!(mutes))
}

/// Whether the caller blocks the user now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Blocking {
    blocking: bool,
}

/// Whether the caller mutes the user now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Muting {
    muting: bool,
}

/// Somebody whom the caller blocks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockEntry {
    /// Whom.
    user: Profile,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    blocked_at: Time,
}

/// Somebody whom the caller mutes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MuteEntry {
    /// Whom.
    user: Profile,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    muted_at: Time,
}

async fn turn(
    social: &Social,
    hide: Hide,
    (who, whom): (UserId, UserId),
    on: bool,
) -> Result<(), Problem> {
    if on {
        model::check_hide(hide, who, whom)?;
    }
    known(social, whom).await?;
    match on {
        true => hides::hide(social, hide, who, whom).await,
        false if who == whom => Ok(()),
        false => hides::show(social, hide, who, whom).await,
    }
}

#[utoipa::path(
    post,
    path = "/users/{userId}/block",
    tag = "social",
    operation_id = "block",
    summary = "Block a user",
    description = "Neither is shown the other's posts any more. The follows between the two end, \
        and neither can follow the other or like a post of theirs. Blocking somebody twice \
        changes nothing; the other is not told.",
    params(("userId" = String, Path, description = "Whom")),
    responses(
        (status = 200, description = "The caller blocks the user", body = Blocking),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "Other requests changed the same again and again"),
        (status = 422, description = "`self_block`"),
    )
)]
async fn block(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<Blocking>, Problem> {
    turn(&social, Hide::Block, (caller.user_id, user), true).await?;
    Ok(Json(Blocking { blocking: true }))
}

#[utoipa::path(
    delete,
    path = "/users/{userId}/block",
    tag = "social",
    operation_id = "unblock",
    summary = "Stop blocking a user",
    description = "The follows that the block ended do not come back. Unblocking somebody who is \
        not blocked changes nothing.",
    params(("userId" = String, Path, description = "Whom")),
    responses(
        (status = 200, description = "The caller does not block the user", body = Blocking),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "Other requests changed the same again and again"),
    )
)]
async fn unblock(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<Blocking>, Problem> {
    turn(&social, Hide::Block, (caller.user_id, user), false).await?;
    Ok(Json(Blocking { blocking: false }))
}

#[utoipa::path(
    post,
    path = "/users/{userId}/mute",
    tag = "social",
    operation_id = "mute",
    summary = "Mute a user",
    description = "Their posts are no longer in the caller's timeline, nor told live; everything \
        else stays as it is, and the other is not told. Muting somebody twice changes nothing.",
    params(("userId" = String, Path, description = "Whom")),
    responses(
        (status = 200, description = "The caller mutes the user", body = Muting),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "Other requests changed the same again and again"),
        (status = 422, description = "`self_mute`"),
    )
)]
async fn mute(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<Muting>, Problem> {
    turn(&social, Hide::Mute, (caller.user_id, user), true).await?;
    Ok(Json(Muting { muting: true }))
}

#[utoipa::path(
    delete,
    path = "/users/{userId}/mute",
    tag = "social",
    operation_id = "unmute",
    summary = "Stop muting a user",
    description = "Unmuting somebody who is not muted changes nothing.",
    params(("userId" = String, Path, description = "Whom")),
    responses(
        (status = 200, description = "The caller does not mute the user", body = Muting),
        (status = 401, description = "No good access token"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "Other requests changed the same again and again"),
    )
)]
async fn unmute(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Path(user): Path<UserId>,
) -> Result<Json<Muting>, Problem> {
    turn(&social, Hide::Mute, (caller.user_id, user), false).await?;
    Ok(Json(Muting { muting: false }))
}

#[utoipa::path(
    get,
    path = "/users/me/blocks",
    tag = "social",
    operation_id = "listBlocks",
    summary = "Whom the caller blocks, newest first",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Entries on the page; 20 where left out"),
        ("cursor" = Option<String>, Query, description = "From a page of the same list"),
    ),
    responses(
        (status = 200, description = "A page of whom the caller blocks", body = Page<BlockEntry>),
        (status = 400, description = "`invalid_cursor`"),
        (status = 401, description = "No good access token"),
        (status = 422, description = "A parameter breaks a rule"),
    )
)]
async fn blocks(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Query(place): Query<Place>,
) -> Result<Json<Page<BlockEntry>>, Problem> {
    let page = page(&social, Hide::Block, caller.user_id, &place).await?;
    Ok(Json(page.map(|(user, blocked_at)| BlockEntry { user, blocked_at })))
}

#[utoipa::path(
    get,
    path = "/users/me/mutes",
    tag = "social",
    operation_id = "listMutes",
    summary = "Whom the caller mutes, newest first",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Entries on the page; 20 where left out"),
        ("cursor" = Option<String>, Query, description = "From a page of the same list"),
    ),
    responses(
        (status = 200, description = "A page of whom the caller mutes", body = Page<MuteEntry>),
        (status = 400, description = "`invalid_cursor`"),
        (status = 401, description = "No good access token"),
        (status = 422, description = "A parameter breaks a rule"),
    )
)]
async fn mutes(
    State(social): State<Arc<Social>>,
    Caller(caller): Caller,
    Query(place): Query<Place>,
) -> Result<Json<Page<MuteEntry>>, Problem> {
    let page = page(&social, Hide::Mute, caller.user_id, &place).await?;
    Ok(Json(page.map(|(user, muted_at)| MuteEntry { user, muted_at })))
}

async fn page(
    social: &Social,
    hide: Hide,
    who: UserId,
    place: &Place,
) -> Result<Page<(Profile, Time)>, Problem> {
    let limit = social.config.limits.page(place.limit.as_deref())?;
    let partition = hide.by_time(who);
    pages::people(social, &partition, &partition, limit, place.cursor.as_deref()).await
}
