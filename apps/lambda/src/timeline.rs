//! The timeline service's functions: its routes, its reactions, and what people say on sockets.

use std::sync::Arc;

use aws::cognito::Verifier;
use aws::peers::RemotePeers;
use aws::redis::feed::FeedLimits;
use aws::redis::{Redis, RedisFeed, RedisLimiter};
use kernel::bus::Bus;
use kernel::sockets::Sockets;
use kernel::table::Table;
use timeline::{Config, Parts, QUEUES, Timeline};

use crate::absent::Absent;
use crate::function::Function;
use crate::http_api::{Api, health};
use crate::messages::Messages;
use crate::queues::Queues;
use crate::settings::Refused;
use crate::world::World;

/// What each of the functions stands on.
struct Ground {
    table: Arc<dyn Table>,
    redis: Redis,
    peers: Arc<RemotePeers>,
    identity: Arc<Verifier>,
}

impl Ground {
    fn new(world: &World) -> Result<Self, Refused> {
        let peers = world.peers()?;
        Ok(Self {
            table: world.table("timeline")?,
            redis: world.redis()?,
            identity: world.verifier(Arc::clone(&peers) as _)?,
            peers,
        })
    }

    fn service(
        &self,
        world: &World,
        bus: Arc<dyn Bus>,
        sockets: Arc<dyn Sockets>,
    ) -> Arc<Timeline> {
        let (clock, ids) = (Arc::clone(&world.clock), Arc::clone(&world.ids));
        let redis = self.redis.clone();
        let parts = Parts {
            table: Arc::clone(&self.table),
            bus,
            feed: RedisFeed::new(
                redis,
                FeedLimits::default(),
                Arc::clone(&clock),
                Arc::clone(&ids),
            ),
            sockets,
            connections: Arc::new(Absent),
            peers: Arc::clone(&self.peers) as _,
            identity: Arc::clone(&self.identity) as _,
            clock,
            ids,
        };
        Timeline::new(parts, Config::default().for_several_processes())
    }
}

/// Its routes. Sockets are the WebSocket API's.
pub fn api(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let ground = Ground::new(world)?;
    let timeline = ground.service(world, Arc::new(Absent), Arc::new(Absent));
    let redis = ground.redis.clone();
    let health = health(&ground.table).check("cache", move || {
        let redis = redis.clone();
        async move { redis.check().await }
    });
    let api = Api {
        routes: timeline.routes(),
        document: timeline::openapi(),
        shown: Some(include_str!(concat!(env!("OUT_DIR"), "/openapi.json"))),
        health,
        identity: ground.identity,
        limiter: RedisLimiter::new(ground.redis),
        reads: None,
    };
    api.function(world)
}

/// Its reactions, which tell open sockets.
pub fn react(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let (ground, bus) = (Ground::new(world)?, world.bus(QUEUES)?);
    let sockets = world.sockets(world.registry(&ground.redis))?;
    let timeline = ground.service(world, Arc::clone(&bus) as _, sockets);
    Ok(Arc::new(Queues { bus, subscriptions: timeline.subscriptions() }))
}

/// What people say on sockets.
pub fn messages(world: &World) -> Result<Arc<dyn Function>, Refused> {
    let ground = Ground::new(world)?;
    let registry = world.registry(&ground.redis);
    let sockets = world.sockets(registry.clone())?;
    let timeline = ground.service(world, Arc::new(Absent), Arc::new(Absent));
    Ok(Arc::new(Messages {
        timeline,
        sockets,
        registry,
        sessions: ground.peers,
        clock: Arc::clone(&world.clock),
    }))
}
