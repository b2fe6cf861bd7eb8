//! `mini-sns provision`: makes what the AWS backend stands on, where no template does: a table for
//! each service, the bus with its queues, and a user pool. For trying it out and for tests.

use std::sync::Arc;

use aws::bus::AwsBus;
use aws::config::Connection;
use aws::{bus, cognito, dynamodb};
use clap::Args;
use kernel::bus::QueuePolicy;
use kernel::clock::SystemClock;

use crate::failure::Failure;
use crate::output;
use crate::values::{EnvName, ServiceName, Span};
use crate::world::all_queues;

/// What to make, and where.
#[derive(Debug, Args)]
pub(crate) struct ProvisionArgs {
    /// The environment in the names of tables, bus and queues
    #[arg(long, env = "MINI_SNS_ENV_NAME", default_value = "dev")]
    env_name: EnvName,
    /// Region of AWS; the environment's where left out
    #[arg(long, env = "MINI_SNS_AWS_REGION")]
    aws_region: Option<String>,
    /// Address of DynamoDB in place of the region's, for emulators
    #[arg(long, env = "MINI_SNS_DYNAMODB_URL")]
    dynamodb_url: Option<String>,
    /// Address of EventBridge, SQS and Cognito in place of the region's, for emulators
    #[arg(long, env = "MINI_SNS_AWS_URL")]
    aws_url: Option<String>,
    /// Time a received event stays hidden before it comes again
    #[arg(long, env = "MINI_SNS_QUEUE_VISIBILITY", default_value = "30s")]
    queue_visibility: Span,
}

/// Makes what is missing, and a new pool; prints its ids as keys of the configuration file.
pub(crate) async fn run(args: ProvisionArgs) -> Result<(), Failure> {
    let sdk = Connection {
        region: args.aws_region,
        dynamodb_url: args.dynamodb_url.clone(),
        services_url: args.aws_url.clone(),
    };
    let sdk = sdk.load().await;
    if sdk.region().is_none() {
        return Err(Failure::usage("aws_region: name one, here or as AWS_REGION"));
    }
    let env = args.env_name.0;
    let client = dynamodb::client(&sdk, args.dynamodb_url.as_deref());
    for service in ServiceName::ALL {
        let name = dynamodb::name(&env, service.word());
        let made = dynamodb::create(&client, &name).await;
        made.map_err(|error| Failure::failed(format!("{name}: {error}")))?;
    }
    let policy = QueuePolicy { visibility: args.queue_visibility.0, ..QueuePolicy::default() };
    let services_url = args.aws_url.clone();
    let config = bus::Config { env: env.clone(), services_url, policy, ..bus::Config::default() };
    let bus = AwsBus::new(&sdk, config, Arc::new(SystemClock), &all_queues());
    bus.create().await.map_err(|error| Failure::failed(format!("the bus: {error}")))?;
    let client = cognito::client(&sdk, args.aws_url.as_deref());
    let made = cognito::create(&client, &format!("mini-sns-{env}-users")).await;
    let made = made.map_err(|error| Failure::failed(format!("the user pool: {error}")))?;
    output::line(&format!("env_name = \"{env}\""))?;
    output::line(&format!("cognito_pool_id = \"{}\"", made.user_pool_id))?;
    output::line(&format!("cognito_client_id = \"{}\"", made.client_id))
}
