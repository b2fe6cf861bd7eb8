//! The pool's trigger before a sign-up. People come into the pool by the user service alone, which
//! creates them by `AdminCreateUser`, after its own rules; whatever else would add somebody is
//! refused, should the pool ever be opened by mistake (ADR 0010).

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::function::{Failure, Function, read};
use crate::settings::Refused;
use crate::world::World;

/// What Cognito asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    trigger_source: String,
}

struct SignUp;

/// The trigger.
pub fn wire(_world: &World) -> Result<Arc<dyn Function>, Refused> {
    Ok(Arc::new(SignUp))
}

#[async_trait]
impl Function for SignUp {
    /// The event itself is the answer: nothing is confirmed or verified by it.
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let asked: Asked = read(event)?;
        match asked.trigger_source.as_str() {
            "PreSignUp_AdminCreateUser" => Ok(event.to_owned()),
            other => Err(Failure {
                kind: "SignUpRefused",
                message: format!("People register with the user service, not by {other}."),
            }),
        }
    }
}
