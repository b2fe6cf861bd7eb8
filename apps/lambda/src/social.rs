//! The social service's functions.

use std::sync::Arc;

use kernel::bus::Bus;
use kernel::internal::Service;
use kernel::peers::Peers;
use kernel::table::Table;
use social::{Config, QUEUES, Social};

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
) -> Arc<Social> {
    let (clock, ids) = (Arc::clone(&world.clock), Arc::clone(&world.ids));
    let config = Config::default().for_several_processes();
    Social::new(Arc::clone(table), bus, clock, ids, peers, config)
}

/// Its routes.
pub fn api(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let table = world.table("social")?;
    let peers = world.peers()?;
    let social = service(world, &table, Arc::new(Absent), Arc::clone(&peers) as _);
    let reads = Reads { service: Service::Social, peers: Arc::clone(&social) as _, sessions: None };
    let api = Api {
        routes: social.routes(),
        document: social::openapi(),
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
    let (table, bus) = (world.table("social")?, world.bus(QUEUES)?);
    let social = service(world, &table, Arc::clone(&bus) as _, Arc::new(Absent));
    Ok(Arc::new(Queues { bus, subscriptions: social.subscriptions() }))
}
