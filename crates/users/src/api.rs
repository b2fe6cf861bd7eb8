//! The routes of profiles.

use std::sync::Arc;

use axum::extract::State;
use edge::{Caller, Json, Path, Query};
use http::StatusCode;
use kernel::peers::Peers;
use kernel::{Page, Problem, Profile, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::model::{self, Patch, Sent};
use crate::search::Search;
use crate::{Users, store};

pub(crate) fn router() -> OpenApiRouter<Arc<Users>> {
    OpenApiRouter::new()
        .routes(routes!(me, change_me, delete_me))
        .routes(routes!(list))
        .routes(routes!(search))
        .routes(routes!(by_handle))
        .routes(routes!(show))
}

/// A person's own profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnProfile {
    /// What everybody sees.
    #[serde(flatten)]
    profile: Profile,
    /// The e-mail address, trimmed and in lower case; only its owner sees it.
    #[schema(example = "hanako@example.org")]
    email: String,
    /// Whether the address is confirmed; left out where this server does not ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_confirmed: Option<bool>,
}

impl OwnProfile {
    pub(crate) async fn of(users: &Users, user: UserId) -> Result<Self, Problem> {
        let (profile, email) = users.own(user).await?;
        Ok(Self { profile, email, email_confirmed: users.is_confirmed(user).await? })
    }
}

/// Profiles in the order asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profiles {
    /// Those that there are.
    items: Vec<Profile>,
}

/// What to change; what is left out stays.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents the body, which is read as a map to tell null from absent")]
pub(crate) struct ProfilePatch {
    /// 3 to 30 of `a-z0-9_`, unique.
    #[schema(min_length = 3, max_length = 30, pattern = "^[A-Za-z0-9_]+$", nullable = false)]
    handle: Option<String>,
    /// Name to show, up to 50 user-perceived characters; null clears it.
    display_name: Option<String>,
    /// A few words of one's own, up to 300 user-perceived characters; null clears them.
    bio: Option<String>,
}

/// Consent to a deletion; holds a password, so not `Debug`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Deletion {
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: Sent,
}

/// Whose profiles to list.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    ids: Option<String>,
}

/// Whom to search for.
#[derive(Debug, Deserialize)]
pub(crate) struct Sought {
    q: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn own(users: &Users, user: UserId) -> Result<axum::Json<OwnProfile>, Problem> {
    Ok(axum::Json(OwnProfile::of(users, user).await?))
}

#[utoipa::path(
    get,
    path = "/users/me",
    tag = "users",
    operation_id = "getMe",
    summary = "One's own profile",
    responses(
        (status = 200, description = "The profile", body = OwnProfile),
        (status = 401, description = "No good access token"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn me(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
) -> Result<axum::Json<OwnProfile>, Problem> {
    own(&users, caller.user_id).await
}

#[utoipa::path(
    patch,
    path = "/users/me",
    tag = "users",
    operation_id = "changeMe",
    summary = "Change one's own profile",
    description = "A JSON merge patch (RFC 7396).",
    request_body(
        description = "What to change",
        content(
            (ProfilePatch = "application/json"),
            (ProfilePatch = "application/merge-patch+json"),
        )
    ),
    responses(
        (status = 200, description = "The profile as it is now", body = OwnProfile),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token"),
        (status = 409, description = "`handle_taken`"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not JSON by its media type"),
        (status = 422, description = "A field breaks a rule"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn change_me(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
    Json(patch): Json<Map<String, Value>>,
) -> Result<axum::Json<OwnProfile>, Problem> {
    let patch = Patch::parse(&patch, &users.config)?;
    users.change(caller.user_id, &patch).await?;
    own(&users, caller.user_id).await
}

#[utoipa::path(
    delete,
    path = "/users/me",
    tag = "users",
    operation_id = "deleteMe",
    summary = "Delete one's own account",
    description = "The profile and every session are gone at once; posts, likes, follows and \
        timeline entries within seconds.",
    request_body = Deletion,
    responses(
        (status = 202, description = "The deletion is under way"),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token, or `bad_credentials`"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A field is missing"),
        (status = 429, description = "`too_many_attempts` on this account, or too many requests"),
    )
)]
async fn delete_me(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
    Json(body): Json<Deletion>,
) -> Result<StatusCode, Problem> {
    let [password] = model::texts([("password", body.password)])?;
    users.delete(&caller, &model::password(&password)).await?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    operation_id = "listUsers",
    summary = "Profiles by id",
    params(("ids" = String, Query, description = "Up to 100 ids, separated by commas")),
    responses(
        (status = 200, description = "In the order asked for; unknown ones left out",
            body = Profiles),
        (status = 401, description = "No good access token"),
        (status = 422, description = "No `ids`, or more than 100"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn list(
    State(users): State<Arc<Users>>,
    Query(wanted): Query<Wanted>,
) -> Result<axum::Json<Profiles>, Problem> {
    let missing = || Problem::invalid("ids", "This parameter is required.");
    let wanted: Vec<UserId> = users.config.limits.ids("ids", &wanted.ids.ok_or_else(missing)?)?;
    let items = users.profiles(&wanted).await?.into_iter().flatten().collect();
    Ok(axum::Json(Profiles { items }))
}

#[utoipa::path(
    get,
    path = "/users/search",
    tag = "users",
    operation_id = "searchUsers",
    summary = "People by the beginning of their handle or display name",
    description = "In the order of the alphabet. Case does not matter, nor do forms of a letter.",
    params(
        ("q" = String, Query, description = "The beginning to search for", min_length = 1),
        ("limit" = Option<u8>, Query, description = "Entries on a page, 20 where left out",
            minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "Where to go on"),
    ),
    responses(
        (status = 200, description = "A page of profiles", body = Page<Profile>),
        (status = 400, description = "The cursor is not this list's"),
        (status = 401, description = "No good access token"),
        (status = 422, description = "`q` or `limit` breaks a rule"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn search(
    State(users): State<Arc<Users>>,
    Query(sought): Query<Sought>,
) -> Result<axum::Json<Page<Profile>>, Problem> {
    let search = Search::parse(sought.q.as_deref())?;
    let limit = users.config.limits.page(sought.limit.as_deref())?;
    Ok(axum::Json(search.page(&*users.table, limit, sought.cursor.as_deref()).await?))
}

#[utoipa::path(
    get,
    path = "/users/by-handle/{handle}",
    tag = "users",
    operation_id = "getUserByHandle",
    summary = "A profile by its handle",
    params(("handle" = String, Path, description = "The handle; case does not matter")),
    responses(
        (status = 200, description = "The profile", body = Profile),
        (status = 401, description = "No good access token"),
        (status = 404, description = "Nobody has this handle"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn by_handle(
    State(users): State<Arc<Users>>,
    Path(handle): Path<String>,
) -> Result<axum::Json<Profile>, Problem> {
    let nobody = || Problem::not_found("user");
    let handle = model::kept_handle(&handle).ok_or_else(nobody)?;
    let profile = store::by_handle(&*users.table, &handle).await?;
    profile.map(axum::Json).ok_or_else(nobody)
}

#[utoipa::path(
    get,
    path = "/users/{userId}",
    tag = "users",
    operation_id = "getUser",
    summary = "A profile",
    params(("userId" = String, Path, description = "The person's id")),
    responses(
        (status = 200, description = "The profile", body = Profile),
        (status = 401, description = "No good access token"),
        (status = 404, description = "Unknown or deleted"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn show(
    State(users): State<Arc<Users>>,
    Path(user): Path<UserId>,
) -> Result<axum::Json<Profile>, Problem> {
    let profile = store::profile(&*users.table, user).await?;
    profile.map(axum::Json).ok_or_else(|| Problem::not_found("user"))
}
