//! The post service's functions.

use std::sync::Arc;

use kernel::bus::Bus;
use kernel::internal::Service;
use kernel::table::Table;
use posts::{Config, Posts, QUEUES};

use crate::absent::Absent;
use crate::function::Function;
use crate::http_api::{Api, Reads, health};
use crate::queues::Queues;
use crate::settings::Refused;
use crate::world::World;

fn service(world: &World, table: &Arc<dyn Table>, bus: Arc<dyn Bus>) -> Arc<Posts> {
    let (clock, ids) = (Arc::clone(&world.clock), Arc::clone(&world.ids));
    let config = Config::default().for_several_processes();
    Posts::new(Arc::clone(table), bus, clock, ids, config)
}

/// Its routes.
pub fn api(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let table = world.table("post")?;
    let posts = service(world, &table, Arc::new(Absent));
    let reads = Reads { service: Service::Post, peers: Arc::clone(&posts) as _, sessions: None };
    let api = Api {
        routes: posts.routes(),
        document: posts::openapi(),
        shown: None,
        health: health(&table),
        identity: world.verifier(world.peers()?)?,
        limiter: world.limiter(&table),
        reads: Some(reads),
    };
    api.function(world)
}

/// Its reactions.
pub fn react(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let bus = world.bus(QUEUES)?;
    let posts = service(world, &world.table("post")?, Arc::clone(&bus) as _);
    Ok(Arc::new(Queues { bus, subscriptions: posts.subscriptions() }))
}
