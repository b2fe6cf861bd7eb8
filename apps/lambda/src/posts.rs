//! The post service's functions.

use std::sync::Arc;

use kernel::bus::Bus;
use kernel::internal::Service;
use kernel::peers::Peers;
use kernel::table::Table;
use posts::{Config, Posts, QUEUES};

use crate::absent::Absent;
use crate::function::Function;
use crate::http_api::{Api, Reads, health};
use crate::queues::Queues;
use crate::settings::Refused;
use crate::world::World;

fn service(
    world: &World,
    table: &Arc<dyn Table>,
    bus: Arc<dyn Bus>,
    peers: Arc<dyn Peers>,
) -> Result<Arc<Posts>, Refused> {
    let (clock, ids) = (Arc::clone(&world.clock), Arc::clone(&world.ids));
    let config = Config::default().confirming(world.confirmation()?).for_several_processes();
    Ok(Posts::new(Arc::clone(table), bus, clock, ids, peers, config))
}

/// Its routes.
pub fn api(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let table = world.table("post")?;
    let peers = world.peers()?;
    let posts = service(world, &table, Arc::new(Absent), Arc::clone(&peers) as _)?;
    let reads = Reads { service: Service::Post, peers: Arc::clone(&posts) as _, sessions: None };
    let api = Api {
        routes: posts.routes(),
        document: posts::openapi(),
        shown: None,
        health: health(&table),
        identity: world.verifier(peers)?,
        limiter: world.limiter(&table),
        reads: Some(reads),
    };
    api.function(world)
}

/// Its reactions, which ask nobody else.
pub fn react(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let bus = world.bus(QUEUES)?;
    let posts = service(world, &world.table("post")?, Arc::clone(&bus) as _, Arc::new(Absent))?;
    Ok(Arc::new(Queues { bus, subscriptions: posts.subscriptions() }))
}
