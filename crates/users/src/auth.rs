//! The routes of signing in.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use edge::{Caller, Json};
use http::header::{CACHE_CONTROL, HOST, VARY};
use http::{HeaderMap, StatusCode};
use kernel::identity::{Revoke, Tokens};
use kernel::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Users;
use crate::api::OwnProfile;
use crate::model::{self, Registration, Sent};

pub(crate) fn router() -> OpenApiRouter<Arc<Users>> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(change_password))
        .routes(routes!(key_set))
        .routes(routes!(configuration))
}

/// An account to make; holds a password, so not `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewAccount {
    /// The e-mail address to sign in with; compared trimmed and without case.
    #[schema(value_type = String, format = Email, example = "hanako@example.org")]
    email: Sent,
    /// 8 to 256 characters with a letter, a digit and a symbol.
    #[schema(value_type = String, format = Password, min_length = 8, example = "correct-horse-1")]
    password: Sent,
    /// 3 to 30 of `a-z0-9_`, unique; made up where left out.
    #[schema(value_type = Option<String>, min_length = 3, max_length = 30,
        pattern = "^[A-Za-z0-9_]+$", example = "hanako")]
    handle: Sent,
    /// Name to show, up to 50 user-perceived characters.
    #[schema(value_type = Option<String>, example = "Hanako")]
    display_name: Sent,
}

/// What to sign in with; holds a password, so not `Debug`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Credentials {
    /// The e-mail address.
    #[schema(value_type = String, example = "hanako@example.org")]
    email: Sent,
    /// The password.
    #[schema(value_type = String, format = Password, example = "correct-horse-1")]
    password: Sent,
}

/// A refresh token to exchange; secret, so not `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refresh {
    /// The newest refresh token of the session.
    #[schema(value_type = String)]
    refresh_token: Sent,
}

/// Which sessions to end; holds a token, so not `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logout {
    /// A refresh token of the session to end.
    #[schema(value_type = String)]
    refresh_token: Sent,
    /// Whether to end every session of the user instead.
    #[serde(default)]
    everywhere: Option<bool>,
}

/// A change of password; holds passwords, so not `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PasswordChange {
    /// The password until now.
    #[schema(value_type = String, format = Password)]
    current_password: Sent,
    /// 8 to 256 characters with a letter, a digit and a symbol.
    #[schema(value_type = String, format = Password, min_length = 8)]
    new_password: Sent,
}

/// A session: who is signed in and the tokens; secret, so not `Debug`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    /// The signed-in person.
    user: OwnProfile,
    /// To send as `Authorization: Bearer`.
    access_token: String,
    /// Good once, for the next pair of tokens.
    refresh_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good.
    #[schema(example = 3600)]
    expires_in: u64,
}

impl Session {
    async fn of(users: &Users, tokens: Tokens) -> Result<Self, Problem> {
        Ok(Self {
            user: OwnProfile::of(users, tokens.user_id).await?,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
        })
    }

    fn answer(self, status: StatusCode) -> Response {
        (status, [(CACHE_CONTROL, "no-store")], axum::Json(self)).into_response()
    }
}

#[utoipa::path(
    post,
    path = "/auth/register",
    tag = "users",
    operation_id = "register",
    summary = "Make an account and sign in",
    security(()),
    request_body = NewAccount,
    responses(
        (status = 201, description = "Made and signed in", body = Session),
        (status = 400, description = "The body is not JSON"),
        (status = 409, description = "`email_taken` or `handle_taken`"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A field breaks a rule; `weak_password` names each unmet one"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn register(
    State(users): State<Arc<Users>>,
    Json(body): Json<NewAccount>,
) -> Result<Response, Problem> {
    let who = (body.handle, body.display_name);
    let new = Registration::parse((body.email, body.password), who, &users.config)?;
    let tokens = users.register(&new).await?;
    users.welcome(tokens.user_id).await;
    Ok(Session::of(&users, tokens).await?.answer(StatusCode::CREATED))
}

#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "users",
    operation_id = "logIn",
    summary = "Sign in",
    security(()),
    request_body = Credentials,
    responses(
        (status = 200, description = "Signed in", body = Session),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "`bad_credentials`, alike for an unknown address"),
        (status = 403, description = "`account_suspended`"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A field is missing"),
        (status = 429, description = "`too_many_attempts` on this account, or too many requests"),
    )
)]
async fn login(
    State(users): State<Arc<Users>>,
    Json(body): Json<Credentials>,
) -> Result<Response, Problem> {
    let [email, password] = model::texts([("email", body.email), ("password", body.password)])?;
    let email = model::kept_email(&email);
    let tokens = users.log_in(&email, &model::password(&password)).await?;
    Ok(Session::of(&users, tokens).await?.answer(StatusCode::OK))
}

#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "users",
    operation_id = "refresh",
    summary = "Exchange a refresh token for the next pair of tokens",
    description = "Each refresh token is good once. One that is used again ends its session.",
    security(()),
    request_body = Refresh,
    responses(
        (status = 200, description = "The next pair", body = Session),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "`invalid_refresh_token`"),
        (status = 403, description = "`account_suspended`"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A field is missing"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn refresh(
    State(users): State<Arc<Users>>,
    Json(body): Json<Refresh>,
) -> Result<Response, Problem> {
    let [token] = model::texts([("refreshToken", body.refresh_token)])?;
    let tokens = users.identity.refresh(&token).await?;
    let session = Session::of(&users, tokens).await.map_err(|problem| match problem.code {
        // Deleted in this very moment.
        Code::Unauthenticated => {
            Problem::new(Code::InvalidRefreshToken, "The account has been deleted.")
        }
        _ => problem,
    });
    Ok(session?.answer(StatusCode::OK))
}

#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "users",
    operation_id = "logOut",
    summary = "End a session, or all of them",
    request_body = Logout,
    responses(
        (status = 204, description = "Ended, or a refresh token that is good for nothing"),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token"),
        (status = 403, description = "The session is somebody else's"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A field is missing"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn logout(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
    Json(body): Json<Logout>,
) -> Result<StatusCode, Problem> {
    let [token] = model::texts([("refreshToken", body.refresh_token)])?;
    let which = match body.everywhere {
        Some(true) => Revoke::All,
        _ => Revoke::Session(&token),
    };
    users.identity.revoke(caller.user_id, which).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post,
    path = "/auth/password",
    tag = "users",
    operation_id = "changePassword",
    summary = "Change the password",
    description = "Every other session of the user ends.",
    request_body = PasswordChange,
    responses(
        (status = 204, description = "Changed"),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token, or `bad_credentials`"),
        (status = 409, description = "`conflict`: changed by another request at the same time"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "`weak_password`, or a field is missing"),
        (status = 429, description = "`too_many_attempts` on this account, or too many requests"),
    )
)]
async fn change_password(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
    Json(body): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    let (current, new) = (body.current_password, body.new_password);
    let (current, new) = model::password_change(current, new, &users.config)?;
    // A task of its own: a client that goes away must not stop it between the new password and the
    // end of the sessions that the old one may have opened for somebody else.
    let changing =
        tokio::spawn(async move { users.identity.change_password(&caller, &current, &new).await });
    changing.await.map_err(Problem::internal)??;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "users",
    operation_id = "keySet",
    summary = "The keys that access tokens are signed with",
    security(()),
    responses((status = 200, description = "A JSON Web Key Set", body = serde_json::Value))
)]
async fn key_set(State(users): State<Arc<Users>>) -> Result<Response, Problem> {
    let keys = users.identity.key_set().await?;
    Ok(([(CACHE_CONTROL, "public, max-age=300")], axum::Json(keys)).into_response())
}

/// What other programs need to know to verify access tokens (OpenID Connect Discovery 1.0).
#[derive(Serialize, ToSchema)]
pub(crate) struct Configuration {
    /// The `iss` of access tokens.
    issuer: String,
    /// Where the keys are.
    jwks_uri: String,
    /// Algorithms of the signatures.
    id_token_signing_alg_values_supported: Vec<String>,
    /// How users are named to clients.
    subject_types_supported: Vec<String>,
    /// Responses of an authorization endpoint; there is none.
    response_types_supported: Vec<String>,
    /// Claims in an access token.
    claims_supported: Vec<String>,
}

#[utoipa::path(
    get,
    path = "/.well-known/openid-configuration",
    tag = "users",
    operation_id = "openidConfiguration",
    summary = "How access tokens can be verified",
    security(()),
    responses((status = 200, description = "The configuration", body = Configuration))
)]
async fn configuration(
    State(users): State<Arc<Users>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let keys = users.identity.key_set().await?;
    let keys = keys["keys"].as_array().cloned().unwrap_or_default();
    let mut algorithms: Vec<String> =
        keys.iter().filter_map(|key| key["alg"].as_str().map(str::to_owned)).collect();
    algorithms.dedup();
    let issuer = users.identity.issuer().to_owned();
    let claims = ["sub", "iss", "client_id", "origin_jti", "token_use", "jti", "iat", "exp"];
    let configuration = Configuration {
        jwks_uri: format!("{}/.well-known/jwks.json", reached_at(&headers, &issuer)),
        issuer,
        id_token_signing_alg_values_supported: algorithms,
        subject_types_supported: vec!["public".into()],
        response_types_supported: vec!["none".into()],
        claims_supported: claims.map(str::to_owned).to_vec(),
    };
    let headers = [(CACHE_CONTROL, "public, max-age=300"), (VARY, "x-forwarded-proto")];
    Ok((headers, axum::Json(configuration)).into_response())
}

/// The address that this client reaches us by: the host it named, by the scheme that a proxy says
/// it came by, else by the issuer's. Tokens keep their issuer wherever the server moves to, but the
/// keys are to be had here.
fn reached_at(headers: &HeaderMap, issuer: &str) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let told = headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok());
    let told = told.filter(|scheme| ["http", "https"].contains(scheme));
    match (issuer.split_once("://"), host) {
        (Some((scheme, _)), Some(host)) => format!("{}://{host}", told.unwrap_or(scheme)),
        _ => issuer.trim_end_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_to_be_had_where_the_client_is() {
        let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a";
        let mut headers = HeaderMap::new();
        assert_eq!(reached_at(&headers, issuer), issuer);
        headers.insert(HOST, "sns.example:8080".parse().unwrap());
        assert_eq!(reached_at(&headers, issuer), "https://sns.example:8080");
        for (told, scheme) in [("http", "http"), ("https", "https"), ("gopher", "https")] {
            headers.insert("x-forwarded-proto", told.parse().unwrap());
            assert_eq!(reached_at(&headers, issuer), format!("{scheme}://sns.example:8080"));
        }
    }
}
