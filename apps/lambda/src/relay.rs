//! The relay of one service: what DynamoDB's stream tells of its table's outbox goes to the bus.

use std::sync::Arc;

use async_trait::async_trait;
use aws::bus::streams::{self, StreamEvent};
use kernel::outbox::Relay;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::function::{Failure, Function, read, written};
use crate::settings::Refused;
use crate::world::World;

struct Relaying(Relay);

/// The relay of the service that `MINI_SNS_SERVICE` names: `user`, `post` or `social`.
pub fn wire(world: &World) -> Result<Arc<dyn Function>, Refused> {
    const NAME: &str = "MINI_SNS_SERVICE";
    let service = world.settings.required(NAME)?;
    if !["user", "post", "social"].contains(&service) {
        return Err(Refused::setting(NAME, "user, post or social is wanted"));
    }
    Ok(Arc::new(Relaying(Relay::new(world.table(service)?, world.bus(&[])?))))
}

#[async_trait]
impl Function for Relaying {
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let event: StreamEvent = read(event)?;
        written(&streams::relay(&self.0, event).await)
    }
}
