//! The routes of account care.

use std::sync::Arc;

use axum::extract::State;
use edge::{Caller, Json};
use http::StatusCode;
use kernel::Problem;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Users;
use crate::model::{self, Sent};

pub(crate) fn router() -> OpenApiRouter<Arc<Users>> {
    OpenApiRouter::new()
        .routes(routes!(ask_confirmation))
        .routes(routes!(confirm))
        .routes(routes!(forgot))
        .routes(routes!(reset))
}

/// The code of a letter; secret, so not `Debug`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Confirmation {
    /// As it stands in the letter; case and dashes do not matter.
    #[schema(value_type = String, example = "7H2K-9QXM")]
    code: Sent,
}

/// Whose password is lost.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Forgotten {
    /// The e-mail address.
    #[schema(value_type = String, example = "hanako@example.org")]
    email: Sent,
}

/// Another password and the code that allows it; secret, so not `Debug`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Reset {
    /// The e-mail address.
    #[schema(value_type = String, example = "hanako@example.org")]
    email: Sent,
    /// As it stands in the letter.
    #[schema(value_type = String, example = "7H2K-9QXM")]
    code: Sent,
    /// 8 to 256 characters with a letter, a digit and a symbol.
    #[schema(value_type = String, format = Password, min_length = 8)]
    password: Sent,
}

#[utoipa::path(
    post,
    path = "/users/me/email/confirmation",
    tag = "users",
    operation_id = "askConfirmation",
    summary = "Ask for a code that confirms one's e-mail address",
    description = "It comes by e-mail, and is good for an hour.",
    responses(
        (status = 202, description = "A letter is on its way, or the address is confirmed already"),
        (status = 401, description = "No good access token"),
        (status = 404, description = "This server sends no e-mail"),
        (status = 429, description = "A code was sent in the last minute, or too many requests"),
    )
)]
async fn ask_confirmation(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
) -> Result<StatusCode, Problem> {
    users.send_confirmation(caller.user_id).await?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(
    post,
    path = "/users/me/email/confirm",
    tag = "users",
    operation_id = "confirmEmail",
    summary = "Confirm one's e-mail address by the code",
    request_body = Confirmation,
    responses(
        (status = 204, description = "Confirmed, now or before"),
        (status = 400, description = "The body is not JSON"),
        (status = 401, description = "No good access token"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "`wrong_code`; five wrong tries end a code"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn confirm(
    State(users): State<Arc<Users>>,
    Caller(caller): Caller,
    Json(body): Json<Confirmation>,
) -> Result<StatusCode, Problem> {
    let [code] = model::texts([("code", body.code)])?;
    users.confirm_email(caller.user_id, &code).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post,
    path = "/auth/password/forgot",
    tag = "users",
    operation_id = "forgotPassword",
    summary = "Ask for a code that allows another password",
    description = "It comes by e-mail where there is an account with this address. The answer is \
        the same where there is none.",
    security(()),
    request_body = Forgotten,
    responses(
        (status = 202, description = "A letter is on its way, if there is such an account"),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "This server sends no e-mail"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "A field is missing"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn forgot(
    State(users): State<Arc<Users>>,
    Json(body): Json<Forgotten>,
) -> Result<StatusCode, Problem> {
    let [email] = model::texts([("email", body.email)])?;
    users.send_reset(model::kept_email(&email)).await?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(
    post,
    path = "/auth/password/reset",
    tag = "users",
    operation_id = "resetPassword",
    summary = "Choose another password by the code",
    description = "Every session of the user ends.",
    security(()),
    request_body = Reset,
    responses(
        (status = 204, description = "Changed"),
        (status = 400, description = "The body is not JSON"),
        (status = 413, description = "The body is over 64 KiB"),
        (status = 415, description = "The body is not `application/json`"),
        (status = 422, description = "`wrong_code`, alike for an unknown address; `weak_password`"),
        (status = 429, description = "Too many requests"),
    )
)]
async fn reset(
    State(users): State<Arc<Users>>,
    Json(body): Json<Reset>,
) -> Result<StatusCode, Problem> {
    let (email, code, password) =
        model::password_reset((body.email, body.code), body.password, &users.config)?;
    // A task of its own: a client that goes away must not stop it between code and password.
    let setting = tokio::spawn(async move { users.redeem_reset(&email, &code, &password).await });
    setting.await.map_err(Problem::internal)??;
    Ok(StatusCode::NO_CONTENT)
}
