//! The calls to the user pool, each with what its refusals mean.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::Client;
use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cognitoidentityprovider::types::{
    AttributeType, AuthFlowType, AuthenticationResultType, MessageActionType,
};
use kernel::problem::FieldError;
use kernel::{Code, Problem, UserId};

use super::access::Claims;
use super::fault::{Fault, unavailable};

/// Characters of a password that Cognito looks at, at most.
const PASSWORD_CHARS_MAX: usize = 256;

/// Refusals of a sign-in that say nothing but no: which of them it was must not be told, for some
/// exist for accounts only. "Password attempts exceeded" is a `NotAuthorizedException` too.
const NO: [&str; 5] = [
    "NotAuthorizedException",
    "UserNotFoundException",
    "UserNotConfirmedException",
    "PasswordResetRequiredException",
    "RefreshTokenReuseException",
];

/// The user pool and its one client.
pub(super) struct Pool {
    pub(super) client: Client,
    pub(super) user_pool_id: String,
    pub(super) client_id: String,
}

/// Tokens of a sign-in or a refresh; secret, so not `Debug`.
pub(super) struct Grant {
    pub(super) user: UserId,
    pub(super) session: String,
    pub(super) access_token: String,
    /// None where the client does not rotate: then the former stays.
    pub(super) refresh_token: Option<String>,
    pub(super) expires_in: Duration,
}

/// How making a user ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Making {
    /// Made.
    Made,
    /// The name or the address is in use.
    InUse,
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.code().unwrap_or_default()
}

fn says<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, word: &str) -> bool {
    error.message().is_some_and(|message| message.to_lowercase().contains(word))
}

fn grant(operation: &'static str, result: AuthenticationResultType) -> Result<Grant, Problem> {
    let odd = |what: &str| Problem::internal(Fault::answer(operation, what));
    let expires_in = u64::try_from(result.expires_in).map_err(|_| odd("a negative lifetime"))?;
    let access_token = result.access_token.ok_or_else(|| odd("no access token"))?;
    let claims = Claims::unproved(&access_token).ok_or_else(|| odd("not a JWT of ours"))?;
    let user = claims.user().ok_or_else(|| odd("a username that is no user id"))?;
    // Without token revocation there is no `origin_jti`, and sessions could not be told apart.
    let session = claims.session().ok_or_else(|| odd("no origin_jti"))?.to_owned();
    let expires_in = Duration::from_secs(expires_in);
    Ok(Grant { user, session, access_token, refresh_token: result.refresh_token, expires_in })
}

impl Pool {
    /// Makes a user who cannot sign in yet.
    pub(super) async fn create_user(&self, user: UserId, email: &str) -> Result<Making, Problem> {
        let email = AttributeType::builder().name("email").value(email).build();
        // Only a verified address is an alias. That the person reads it was never asked here.
        let verified = AttributeType::builder().name("email_verified").value("true").build();
        let (Ok(email), Ok(verified)) = (email, verified) else {
            return Err(Problem::internal(Fault::answer("AdminCreateUser", "attributes")));
        };
        let sent = self
            .client
            .admin_create_user()
            .user_pool_id(&self.user_pool_id)
            .username(user.text())
            .user_attributes(email)
            .user_attributes(verified)
            .message_action(MessageActionType::Suppress)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Making::Made),
            Err(error) => match code(&error) {
                "UsernameExistsException" | "AliasExistsException" => Ok(Making::InUse),
                "InvalidParameterException" if says(&error, "email") => {
                    let fault = Fault::of("AdminCreateUser", &error);
                    Err(Problem::invalid("email", "Not an e-mail address.").because(fault))
                }
                _ => Err(unavailable("AdminCreateUser", &error)),
            },
        }
    }

    /// Gives a user a lasting password.
    pub(super) async fn set_password(&self, user: UserId, password: &str) -> Result<(), Problem> {
        let sent = self
            .client
            .admin_set_user_password()
            .user_pool_id(&self.user_pool_id)
            .username(user.text())
            .password(password)
            .permanent(true)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) => match code(&error) {
                "InvalidPasswordException" | "PasswordHistoryPolicyViolationException" => {
                    Err(weak_password(Fault::of("AdminSetUserPassword", &error)))
                }
                "InvalidParameterException" if says(&error, "password") => {
                    Err(weak_password(Fault::of("AdminSetUserPassword", &error)))
                }
                _ => Err(unavailable("AdminSetUserPassword", &error)),
            },
        }
    }

    /// A sign-in; none when it is refused.
    pub(super) async fn sign_in(
        &self,
        user: UserId,
        password: &str,
    ) -> Result<Option<Grant>, Problem> {
        if password.is_empty() || password.chars().count() > PASSWORD_CHARS_MAX {
            return Ok(None);
        }
        let sent = self
            .client
            .admin_initiate_auth()
            .user_pool_id(&self.user_pool_id)
            .client_id(&self.client_id)
            .auth_flow(AuthFlowType::AdminUserPasswordAuth)
            .auth_parameters("USERNAME", user.text())
            .auth_parameters("PASSWORD", password)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                if let Some(challenge) = &answer.challenge_name {
                    // Somebody gave this user a temporary password or a second factor by hand.
                    tracing::warn!(%user, challenge = challenge.as_str(), "sign-in is challenged");
                }
                answer.authentication_result.map(|one| grant("AdminInitiateAuth", one)).transpose()
            }
            Err(error) if NO.contains(&code(&error)) => Ok(None),
            // A text that Cognito cannot read as a password; but a flow that is not enabled is a
            // defect of the client's configuration.
            Err(error) if code(&error) == "InvalidParameterException" && !says(&error, "flow") => {
                Ok(None)
            }
            Err(error) => Err(unavailable("AdminInitiateAuth", &error)),
        }
    }

    /// The next tokens; none when the refresh token is good no longer.
    pub(super) async fn refresh(&self, refresh_token: &str) -> Result<Option<Grant>, Problem> {
        let sent = self
            .client
            .get_tokens_from_refresh_token()
            .client_id(&self.client_id)
            .refresh_token(refresh_token)
            .send()
            .await;
        let operation = "GetTokensFromRefreshToken";
        match sent {
            Ok(answer) => {
                let result = answer.authentication_result;
                let result = result
                    .ok_or_else(|| Problem::internal(Fault::answer(operation, "no tokens")))?;
                grant(operation, result).map(Some)
            }
            Err(error) if NO.contains(&code(&error)) => Ok(None),
            Err(error) => Err(unavailable(operation, &error)),
        }
    }

    /// Ends a refresh token and what it gave. One that is good for nothing is no error.
    pub(super) async fn revoke(&self, refresh_token: &str) -> Result<(), Problem> {
        let sent =
            self.client.revoke_token().client_id(&self.client_id).token(refresh_token).send().await;
        sent.map(|_| ()).map_err(|error| unavailable("RevokeToken", &error))
    }

    /// Ends all tokens of a user; no error where there is none such.
    pub(super) async fn sign_out(&self, user: UserId) -> Result<(), Problem> {
        let sent = self
            .client
            .admin_user_global_sign_out()
            .user_pool_id(&self.user_pool_id)
            .username(user.text())
            .send()
            .await;
        match sent {
            Err(error) if code(&error) != "UserNotFoundException" => {
                Err(unavailable("AdminUserGlobalSignOut", &error))
            }
            _ => Ok(()),
        }
    }

    /// Lets a user sign in, or no longer; no error where there is none such.
    pub(super) async fn enable_user(&self, user: UserId, enabled: bool) -> Result<(), Problem> {
        let (pool, name) = (&self.user_pool_id, user.text());
        let failed = if enabled {
            let call = self.client.admin_enable_user().user_pool_id(pool).username(name);
            let failed = call.send().await.err().filter(|e| code(e) != "UserNotFoundException");
            failed.map(|error| unavailable("AdminEnableUser", &error))
        } else {
            let call = self.client.admin_disable_user().user_pool_id(pool).username(name);
            let failed = call.send().await.err().filter(|e| code(e) != "UserNotFoundException");
            failed.map(|error| unavailable("AdminDisableUser", &error))
        };
        failed.map_or(Ok(()), Err)
    }

    /// Removes a user; no error where there is none such.
    pub(super) async fn delete_user(&self, user: UserId) -> Result<(), Problem> {
        let sent = self
            .client
            .admin_delete_user()
            .user_pool_id(&self.user_pool_id)
            .username(user.text())
            .send()
            .await;
        match sent {
            Err(error) if code(&error) != "UserNotFoundException" => {
                Err(unavailable("AdminDeleteUser", &error))
            }
            _ => Ok(()),
        }
    }

    /// The username behind a name or alias.
    pub(super) async fn find(&self, name: &str) -> Result<Option<String>, Problem> {
        let sent = self
            .client
            .admin_get_user()
            .user_pool_id(&self.user_pool_id)
            .username(name)
            .send()
            .await;
        match sent {
            Ok(found) => Ok(Some(found.username)),
            Err(error) if code(&error) == "UserNotFoundException" => Ok(None),
            Err(error) => Err(unavailable("AdminGetUser", &error)),
        }
    }
}

/// The pool's policy is not stricter than ours, but its idea of a symbol is narrower.
fn weak_password(fault: Fault) -> Problem {
    let detail = "Choose another password: letters, digits and symbols of the keyboard.";
    let mut problem = Problem::new(Code::WeakPassword, detail).because(fault);
    problem.errors = vec![FieldError::new("password", detail)];
    problem
}
