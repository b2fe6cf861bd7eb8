//! The user service's functions. They alone know the pool's users.

use std::sync::Arc;

use kernel::identity::Identity;
use kernel::internal::Service;
use kernel::table::Table;
use users::{Config, QUEUES, Users};

use crate::function::Function;
use crate::http_api::{Api, Reads, health};
use crate::queues::Queues;
use crate::settings::Refused;
use crate::world::World;

fn service(world: &World, table: &Arc<dyn Table>, identity: &Arc<dyn Identity>) -> Arc<Users> {
    let (clock, ids) = (Arc::clone(&world.clock), Arc::clone(&world.ids));
    // No letters: who sends them on Lambda is not built.
    Users::new(Arc::clone(table), Arc::clone(identity), clock, ids, None, Config::default())
}

/// Its routes.
pub fn api(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let table = world.table("user")?;
    let identity: Arc<dyn Identity> = world.identity(&table)?;
    let users = service(world, &table, &identity);
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
    let subscriptions = service(world, &table, &identity).subscriptions();
    Ok(Arc::new(Queues { bus: world.bus(QUEUES)?, subscriptions }))
}
