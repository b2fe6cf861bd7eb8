//! The seams on AWS, as functions fill them: each is made when a wiring asks for it, and none calls
//! anybody before it is used.

use std::sync::Arc;

use aws::bus::{self, AwsBus};
use aws::cognito::{self, CognitoIdentity, TableSessions, Verifier};
use aws::dynamodb::{self, DynamoTable};
use aws::gateway::{GatewayLimits, GatewaySockets};
use aws::limiter::TableLimiter;
use aws::peers::{Functions, PeersLimits, RemotePeers, SigV4};
use aws::redis::sockets::RegistryLimits;
use aws::redis::{self, Redis, SocketRegistry};
use aws::ses::Ses;
use aws::{config, limiter};
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use kernel::bus::QueueSpec;
use kernel::clock::SystemClock;
use kernel::identity::session::Sessions;
use kernel::ids::SystemIds;
use kernel::limiter::Limiter;
use kernel::mail::{EmailConfirmation, Mailer};
use kernel::table::Table;
use kernel::{Clock, Ids};

use crate::settings::{Refused, Settings};

/// The environment in the names of tables, bus and queues, such as `prod`.
const ENV_NAME: &str = "MINI_SNS_ENV_NAME";
/// The region, which Lambda sets.
const REGION: &str = "AWS_REGION";

/// What a function's seams are made of.
pub struct World {
    /// The settings.
    pub settings: Settings,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and randomness.
    pub ids: Arc<dyn Ids>,
    env: String,
    /// Shared by every client of the process.
    sdk: SdkConfig,
}

impl World {
    /// What these settings say.
    pub fn new(settings: Settings) -> Result<Self, Refused> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds::new(Arc::clone(&clock)));
        let env = settings.get(ENV_NAME).unwrap_or_default().to_owned();
        let region = Region::new(settings.required(REGION)?.to_owned());
        // Lambda gives a function its role's credentials in the environment; to look for others
        // would take time at each start, and code.
        let credentials = EnvironmentVariableCredentialsProvider::new();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .timeout_config(config::timeouts())
            .retry_config(config::retries())
            .build();
        Ok(Self { settings, clock, ids, env, sdk })
    }

    fn env(&self) -> Result<&str, Refused> {
        if self.env.is_empty() {
            return Err(Refused::setting(ENV_NAME, "is not set"));
        }
        Ok(&self.env)
    }

    fn services_url(&self) -> Option<String> {
        self.settings.get("MINI_SNS_AWS_URL").map(str::to_owned)
    }

    /// The table of a service.
    pub fn table(&self, service: &str) -> Result<Arc<dyn Table>, Refused> {
        let client = dynamodb::client(&self.sdk, self.settings.get("MINI_SNS_DYNAMODB_URL"));
        let name = dynamodb::name(self.env()?, service);
        Ok(Arc::new(DynamoTable::new(client, name, Arc::clone(&self.clock))))
    }

    /// The bus, with these queues to write to or to consume.
    pub fn bus(&self, queues: &[QueueSpec]) -> Result<Arc<AwsBus>, Refused> {
        let config = bus::Config {
            env: self.env()?.to_owned(),
            services_url: self.services_url(),
            ..bus::Config::default()
        };
        // Out of the VPC there is a way over IPv6 alone, which AWS answers at other addresses.
        // DynamoDB is not among them: the VPC has a gateway to it.
        let dual_stack = self.settings.get("AWS_USE_DUALSTACK_ENDPOINT") == Some("true");
        let sdk = self.sdk.to_builder().use_dual_stack(dual_stack).build();
        Ok(AwsBus::new(&sdk, config, Arc::clone(&self.clock), queues))
    }

    fn pool(&self) -> Result<cognito::Config, Refused> {
        let pool = self.settings.required("MINI_SNS_COGNITO_POOL_ID")?;
        let client = self.settings.required("MINI_SNS_COGNITO_CLIENT_ID")?;
        let mut config = cognito::Config::of_pool(pool, client);
        if let Some(url) = self.settings.get("MINI_SNS_COGNITO_KEYS_URL") {
            config.key_set_url = url.to_owned();
        }
        Ok(config)
    }

    /// The keeper of credentials, on the user service's table.
    pub fn identity(&self, table: &Arc<dyn Table>) -> Result<Arc<CognitoIdentity>, Refused> {
        let client = cognito::client(&self.sdk, self.services_url().as_deref());
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        CognitoIdentity::open(self.pool()?, client, Arc::clone(table), clock, ids)
            .map_err(|error| Refused(error.to_string()))
    }

    /// Which sessions are open, as the user service's table knows.
    pub fn sessions(&self, table: &Arc<dyn Table>) -> Arc<dyn Sessions> {
        Arc::new(TableSessions(Arc::clone(table)))
    }

    /// Who access tokens speak for, for a service that asks the user service for sessions.
    pub fn verifier(&self, sessions: Arc<dyn Sessions>) -> Result<Arc<Verifier>, Refused> {
        Ok(Verifier::new(&self.pool()?, sessions, Arc::clone(&self.clock)))
    }

    /// The other services, by invoking their functions with the role of this one.
    pub fn peers(&self) -> Result<Arc<RemotePeers>, Refused> {
        let region = self.settings.required(REGION)?;
        let mut functions = Functions::of(self.env()?, region);
        if let Some(url) = self.settings.get("MINI_SNS_LAMBDA_URL") {
            functions.url = url.to_owned();
        }
        let signature = self.signature(region);
        Ok(RemotePeers::by_invoke(functions, signature, PeersLimits::default(), &self.clock))
    }

    /// Redis: one address is a server, several are nodes of a cluster.
    pub fn redis(&self) -> Result<Redis, Refused> {
        const NAME: &str = "MINI_SNS_REDIS_URLS";
        self.settings.required(NAME)?;
        let urls = self.settings.list(NAME);
        let settings = redis::Settings {
            cluster: urls.len() > 1,
            urls,
            prefix: format!("mini-sns:{}", self.env()?),
            ..redis::Settings::default()
        };
        Redis::open(&settings).map_err(|error| Refused::setting(NAME, error))
    }

    /// Which sockets everybody has.
    pub fn registry(&self, redis: &Redis) -> SocketRegistry {
        SocketRegistry::new(redis.clone(), RegistryLimits::default())
    }

    /// The sockets that the WebSocket API keeps.
    pub fn sockets(&self, registry: SocketRegistry) -> Result<Arc<GatewaySockets>, Refused> {
        let endpoint = self.settings.required("MINI_SNS_CONNECTIONS_URL")?;
        Ok(GatewaySockets::new(&self.sdk, endpoint, registry, GatewayLimits::default()))
    }

    /// Token buckets in a service's table.
    pub fn limiter(&self, table: &Arc<dyn Table>) -> Arc<dyn Limiter> {
        let config = limiter::Config::default();
        TableLimiter::new(Arc::clone(table), Arc::clone(&self.clock), config)
    }

    /// Who brings letters; nobody where no sender is named.
    pub fn mailer(&self) -> Result<Option<Arc<dyn Mailer>>, Refused> {
        const NAME: &str = "MINI_SNS_MAIL_FROM";
        let Some(from) = self.settings.get(NAME) else { return Ok(None) };
        let region = self.settings.required(REGION)?;
        let signature = self.signature(region);
        let ses = Ses::new(self.services_url().as_deref(), region, from, signature);
        let wanted = || Refused::setting(NAME, "`Mini-SNS <sns@example.org>` is wanted");
        Ok(Some(Arc::new(ses.ok_or_else(wanted)?)))
    }

    fn signature(&self, region: &str) -> SigV4 {
        let credentials = EnvironmentVariableCredentialsProvider::new();
        let credentials = SharedCredentialsProvider::new(credentials);
        SigV4::new(credentials, region, Arc::clone(&self.clock))
    }

    /// What people may do before their addresses are confirmed.
    pub fn confirmation(&self) -> Result<EmailConfirmation, Refused> {
        const NAME: &str = "MINI_SNS_EMAIL_CONFIRMATION";
        let word = self.settings.get(NAME).unwrap_or("off");
        word.parse().map_err(|reason| Refused::setting(NAME, reason))
    }

    /// Web origins that may call from a browser and open sockets.
    pub fn origins(&self) -> Vec<String> {
        self.settings.list("MINI_SNS_CORS_ORIGINS")
    }
}
