//! The AWS backend: any of the services in this process, each on a table of `DynamoDB`, with
//! `EventBridge` and SQS between them, Cognito, and Redis where it is at hand. What this process
//! does not serve itself it asks of the others over HTTP. Sockets are this process's own.
//!
//! Nothing is asked of AWS at the start: a process starts whether AWS answers or not, and `/ready`
//! tells.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws::bus::{AwsBus, relay};
use aws::cognito::{self, CognitoIdentity, TableSessions, Verifier};
use aws::config::SdkConfig;
use aws::dynamodb::{self, DynamoTable};
use aws::limiter::TableLimiter;
use aws::peers::{RemotePeers, SigV4};
use aws::redis::{Redis, RedisFeed, RedisLimiter};
use aws::ses::Ses;
use embedded::feed::MemoryFeed;
use futures_util::future::try_join_all;
use kernel::bus::{Bus, QueueSpec, Subscription};
use kernel::clock::SystemClock;
use kernel::feed::Feed;
use kernel::identity::Identity;
use kernel::identity::session::Sessions;
use kernel::ids::SystemIds;
use kernel::limiter::Limiter;
use kernel::mail::Mailer;
use kernel::outbox::{self, OutboxStream, Relay};
use kernel::table::{Key, Table, TableError, Write, get_one};
use kernel::{Clock, Ids, Problem};
use tokio::task::JoinSet;

use super::{Elsewhere, Engine, Seams, Stop, World, queues};
use crate::failure::Failure;
use crate::mail;
use crate::settings::Settings;
use crate::values::ServiceName;

/// Committed rows of an outbox that may wait in memory for their relay; it looks for the others.
const OUTBOX_ROWS_MAX: usize = 10_000;
/// Between two looks for rows of processes that ended before they relayed them.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The queue that proves that messages get through to processes whose first service this is. All
/// that receive from it share that service's table.
pub(super) const fn heartbeat(service: ServiceName) -> QueueSpec {
    let name = match service {
        ServiceName::User => "heartbeat-user",
        ServiceName::Post => "heartbeat-post",
        ServiceName::Social => "heartbeat-social",
        ServiceName::Timeline => "heartbeat-timeline",
    };
    QueueSpec { name, kinds: &[] }
}

/// Wires the services that were asked for.
pub(super) async fn open(settings: &Settings) -> Result<Arc<World>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids: Arc<dyn Ids> = Arc::new(SystemIds::new(Arc::clone(&clock)));
    let sdk = settings.aws_connection().load().await;
    if sdk.region().is_none() {
        return Err(Failure::usage("aws_region: name one, here or as AWS_REGION"));
    }
    let place = Place { settings, sdk, clock, ids };
    let stores = place.stores();
    let first = settings.services.0[0];
    let queues = settings.services.0.iter().flat_map(|service| queues(*service));
    let queues: Vec<_> = queues.copied().chain([heartbeat(first)]).collect();
    let bus = AwsBus::new(&place.sdk, settings.aws_bus(), Arc::clone(&place.clock), &queues);
    let redis = settings.redis()?;
    let of_users = stores.iter().find(|store| store.service == ServiceName::User);
    let of_users = of_users.map(|store| Arc::clone(&store.table));
    let peers = settings.http_peers(&place.clock)?;
    let seams = Seams {
        tables: stores.iter().map(|one| (one.service, Arc::clone(&one.table))).collect(),
        bus: Arc::clone(&bus) as _,
        queues: Arc::clone(&bus) as _,
        heartbeat: heartbeat(first),
        mailer: place.mailer()?,
        identity: place.identity(of_users.as_ref(), peers.as_ref())?,
        limiter: place.limiter(redis.as_ref(), &stores[0].table),
        feed: place.feed(redis),
        elsewhere: peers.map(|peers| place.elsewhere(peers, of_users)).transpose()?,
        clock: place.clock,
        ids: place.ids,
    };
    World::new(settings, seams, Arc::new(Aws { bus, stores }))
}

/// A service's table, and the rows of its outbox that this process commits.
struct Store {
    service: ServiceName,
    table: Arc<dyn Table>,
    /// Taken by the relay.
    outbox: Mutex<Option<OutboxStream>>,
}

/// What the seams are made of.
struct Place<'a> {
    settings: &'a Settings,
    sdk: SdkConfig,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl Place<'_> {
    fn stores(&self) -> Vec<Store> {
        let settings = self.settings;
        let client = dynamodb::client(&self.sdk, settings.dynamodb_url.as_deref());
        let store = |service: &ServiceName| {
            let (sender, stream) = outbox::stream(OUTBOX_ROWS_MAX);
            let name = dynamodb::name(&settings.env_name.0, service.word());
            let table = DynamoTable::new(client.clone(), name, Arc::clone(&self.clock));
            // What it costs is among the metrics.
            let table = table.metered(Arc::default());
            Store {
                service: *service,
                table: Arc::new(table.telling(sender)),
                outbox: Mutex::new(Some(stream)),
            }
        };
        settings.services.0.iter().map(store).collect()
    }

    /// SES, where no other server is named.
    fn mailer(&self) -> Result<Arc<dyn Mailer>, Failure> {
        let (from, sdk) = (self.settings.mail_from.as_deref(), &self.sdk);
        let credentials = sdk.credentials_provider();
        let (None, Some(from), Some(region), Some(credentials)) =
            (&self.settings.smtp_url, from, sdk.region(), credentials)
        else {
            return mail::mailer(self.settings);
        };
        let signature = SigV4::new(credentials, region.as_ref(), Arc::clone(&self.clock));
        let ses = Ses::new(self.settings.aws_url.as_deref(), region.as_ref(), from, signature);
        let wanted = || Failure::usage("mail_from: `Mini-SNS <sns@example.org>` is wanted");
        Ok(Arc::new(ses.ok_or_else(wanted)?))
    }

    /// Cognito where this process serves people; else who verifies tokens and asks those who do.
    fn identity(
        &self,
        users: Option<&Arc<dyn Table>>,
        peers: Option<&Arc<RemotePeers>>,
    ) -> Result<Arc<dyn Identity>, Failure> {
        let pool = self.settings.cognito();
        let clock = Arc::clone(&self.clock);
        match (users, peers) {
            (Some(table), _) => {
                let client = cognito::client(&self.sdk, self.settings.aws_url.as_deref());
                let (table, ids) = (Arc::clone(table), Arc::clone(&self.ids));
                let opened = CognitoIdentity::open(pool, client, table, clock, ids);
                Ok(opened.map_err(|error| Failure::usage(format!("cognito: {error}")))?)
            }
            (None, Some(peers)) => Ok(Verifier::new(&pool, Arc::clone(peers) as _, clock)),
            (None, None) => Err(Failure::usage("services: nobody serves people")),
        }
    }

    /// Without Redis each service counts its own requests, in its table.
    fn limiter(&self, redis: Option<&Redis>, table: &Arc<dyn Table>) -> Arc<dyn Limiter> {
        match redis {
            Some(redis) => RedisLimiter::new(redis.clone()),
            None => {
                let limits = aws::limiter::Config::default();
                TableLimiter::new(Arc::clone(table), Arc::clone(&self.clock), limits)
            }
        }
    }

    /// Without Redis a process hears only of the changes that it makes itself.
    fn feed(&self, redis: Option<Redis>) -> Arc<dyn Feed> {
        let clock = Arc::clone(&self.clock);
        match redis {
            Some(redis) => {
                RedisFeed::new(redis, self.settings.redis_feed(), clock, Arc::clone(&self.ids))
            }
            None => MemoryFeed::new(self.settings.feed(), clock),
        }
    }

    fn elsewhere(
        &self,
        peers: Arc<RemotePeers>,
        users: Option<Arc<dyn Table>>,
    ) -> Result<Elsewhere, Failure> {
        let guard = self.settings.guard(&self.clock)?;
        let sessions = users.map(|table| Arc::new(TableSessions(table)) as Arc<dyn Sessions>);
        Ok(Elsewhere { peers, guard, sessions })
    }
}

/// The backend as it runs.
struct Aws {
    bus: Arc<AwsBus>,
    stores: Vec<Store>,
}

#[async_trait]
impl Engine for Aws {
    fn start(
        &self,
        bus: &Arc<dyn Bus>,
        subscriptions: Vec<Subscription>,
        stop: &Stop,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for store in &self.stores {
            let stream = store.outbox.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(stream) = stream else { continue };
            let relaying = Relay::new(Arc::clone(&store.table), Arc::clone(bus));
            tasks.spawn(relay::run(relaying, stream, SWEEP_EVERY, stop.end.clone()));
        }
        // What SQS hands out during the stop would be hidden for a while: so polls end first.
        let (bus, intake) = (Arc::clone(&self.bus), stop.intake.clone());
        tasks.spawn(async move {
            if let Err(problem) = bus.run(subscriptions, intake).await {
                tracing::error!(error = ?problem, "the queues are not consumed");
            }
        });
        tasks
    }

    async fn check_stores(&self) -> Result<(), Problem> {
        let checks = self.stores.iter().map(|store| check(store.table.as_ref()));
        try_join_all(checks).await?;
        Ok(())
    }

    async fn record_metrics(&self) {
        if let Err(problem) = self.bus.record_metrics().await {
            tracing::warn!(error = ?problem, "the queues' numbers cannot be had");
        }
    }
}

/// Whether a table keeps what is written.
async fn check(table: &dyn Table) -> Result<(), TableError> {
    let key = Key::new("heartbeat", "store");
    table.commit(vec![Write::put(key.clone(), "here")]).await?;
    match get_one(table, key).await? {
        Some(_) => Ok(()),
        None => Err(TableError::Unavailable("what was written is not there".to_owned())),
    }
}
