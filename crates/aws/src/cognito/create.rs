//! A user pool and its client as the templates declare them, for tests and for trying out.

use aws_sdk_cognitoidentityprovider::Client;
use aws_sdk_cognitoidentityprovider::error::BuildError;
use aws_sdk_cognitoidentityprovider::types::{
    AccountRecoverySettingType, AdminCreateUserConfigType, AliasAttributeType,
    ExplicitAuthFlowsType, FeatureType, PasswordPolicyType, PreventUserExistenceErrorTypes,
    RecoveryOptionNameType, RecoveryOptionType, RefreshTokenRotationType, TimeUnitsType,
    TokenValidityUnitsType, UserPoolPolicyType, UsernameConfigurationType,
};

use super::fault::Fault;

/// Seconds in which a used refresh token is still good with Cognito, so that an answer that was
/// lost on the way can be asked for again. With us it is good once all the same.
pub const REFRESH_GRACE_SECS: i32 = 10;

/// The ids of a pool and its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// `<region>_<name>`.
    pub user_pool_id: String,
    /// The one client.
    pub client_id: String,
}

fn built<T>(what: Result<T, BuildError>) -> Result<T, Fault> {
    what.map_err(|error| Fault::answer("CreateUserPool", error.to_string()))
}

/// Makes the pool `name` and its client.
pub async fn create(client: &Client, name: &str) -> Result<Created, Fault> {
    // "A letter" cannot be said here, only "a small letter": that rule is the service's alone.
    let password = PasswordPolicyType::builder()
        .minimum_length(8)
        .require_numbers(true)
        .require_symbols(true)
        .require_lowercase(false)
        .require_uppercase(false)
        .build();
    // Nobody proves to own their address here, so nobody may recover an account by it.
    let by_hand =
        RecoveryOptionType::builder().priority(1).name(RecoveryOptionNameType::AdminOnly).build();
    let recovery = AccountRecoverySettingType::builder().recovery_mechanisms(built(by_hand)?);
    let any_case = UsernameConfigurationType::builder().case_sensitive(false).build();
    let no_sign_up = AdminCreateUserConfigType::builder().allow_admin_create_user_only(true);
    let made = client
        .create_user_pool()
        .pool_name(name)
        .alias_attributes(AliasAttributeType::Email)
        .username_configuration(built(any_case)?)
        .policies(UserPoolPolicyType::builder().password_policy(password).build())
        .admin_create_user_config(no_sign_up.build())
        .account_recovery_setting(recovery.build())
        .send()
        .await
        .map_err(|error| Fault::of("CreateUserPool", &error))?;
    let id = made.user_pool.and_then(|pool| pool.id);
    let user_pool_id = id.ok_or_else(|| Fault::answer("CreateUserPool", "no id"))?;
    let client_id = create_client(client, &user_pool_id).await?;
    Ok(Created { user_pool_id, client_id })
}

async fn create_client(client: &Client, user_pool_id: &str) -> Result<String, Fault> {
    let units = TokenValidityUnitsType::builder()
        .access_token(TimeUnitsType::Hours)
        .refresh_token(TimeUnitsType::Days)
        .build();
    let rotation = RefreshTokenRotationType::builder()
        .feature(FeatureType::Enabled)
        .retry_grace_period_seconds(REFRESH_GRACE_SECS)
        .build();
    let made = client
        .create_user_pool_client()
        .user_pool_id(user_pool_id)
        .client_name("mini-sns")
        .access_token_validity(1)
        .refresh_token_validity(30)
        .token_validity_units(units)
        .refresh_token_rotation(built(rotation)?)
        .enable_token_revocation(true)
        .prevent_user_existence_errors(PreventUserExistenceErrorTypes::Enabled)
        // By IAM only, so that nobody signs in past the service and its limits. Rotation forbids
        // ALLOW_REFRESH_TOKEN_AUTH.
        .explicit_auth_flows(ExplicitAuthFlowsType::AllowAdminUserPasswordAuth)
        .read_attributes("email")
        // A user's own token may change nothing that matters here, above all not the address.
        .write_attributes("locale")
        .send()
        .await
        .map_err(|error| Fault::of("CreateUserPoolClient", &error))?;
    let id = made.user_pool_client.and_then(|client| client.client_id);
    id.ok_or_else(|| Fault::answer("CreateUserPoolClient", "no id"))
}
