//! The user service's functions. They alone know the pool's users.

use std::sync::Arc;
use std::time::Duration;

use kernel::identity::Identity;
use kernel::internal::Service;
use kernel::mail::EmailConfirmation;
use kernel::table::Table;
use users::{Config, QUEUES, Users};

use crate::function::Function;
use crate::http_api::{Api, Reads, health};
use crate::queues::Queues;
use crate::settings::Refused;
use crate::world::World;

/// A letter is written in less, and the function has 3 s for an answer.
const LETTERS_WAIT: Duration = Duration::from_secs(1);

fn service(
    world: &World,
    table: &Arc<dyn Table>,
    identity: &Arc<dyn Identity>,
) -> Result<Arc<Users>, Refused> {
    let (clock, ids) = (Arc::clone(&world.clock), Arc::clone(&world.ids));
    let config = Config {
        asks_for_confirmation: world.confirmation()? != EmailConfirmation::Off,
        letters_wait: Some(LETTERS_WAIT),
        ..Config::default()
    };
    let (table, identity) = (Arc::clone(table), Arc::clone(identity));
    Ok(Users::new(table, identity, clock, ids, world.mailer()?, config))
}

/// Its routes.
pub fn api(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let table = world.table("user")?;
    let identity: Arc<dyn Identity> = world.identity(&table)?;
    let users = service(world, &table, &identity)?;
    let reads = Reads {
        service: Service::User,
        peers: Arc::clone(&users) as _,
        sessions: Some(world.sessions(&table)),
    };
    let api = Api {
        routes: users.routes(),
        document: users::openapi(),
        shown: None,
        health: health(&table),
        identity,
        limiter: world.limiter(&table),
        reads: Some(reads),
    };
    api.function(world)
}

/// Its reactions.
pub fn react(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let table = world.table("user")?;
    let identity: Arc<dyn Identity> = world.identity(&table)?;
    let subscriptions = service(world, &table, &identity)?.subscriptions();
    Ok(Arc::new(Queues { bus: world.bus(QUEUES)?, subscriptions }))
}
