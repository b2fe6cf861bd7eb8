//! What is kept: tables, accounts, Redis, logs.

use serde_json::json;

use super::{SERVICES, everywhere, stack};

/// R1.3, R2.1 to R2.4: a table for each service, by name, keyed as the code has it.
#[test]
fn each_service_has_its_own_table() {
    for env in everywhere() {
        for service in SERVICES {
            let stack = stack(service, env);
            let table = stack.one("AWS::DynamoDB::Table");
            assert_eq!(table["TableName"], format!("mini-sns-{env}-{service}-ddb"));
            let keys = json!([
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ]);
            assert_eq!(table["KeySchema"], keys);
            let strings = json!([
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ]);
            assert_eq!(table["AttributeDefinitions"], strings);
            let expiry = json!({"AttributeName": "exp", "Enabled": true});
            assert_eq!(table["TimeToLiveSpecification"], expiry);
        }
        for other in ["shared", "network"] {
            assert!(stack(other, env).all("AWS::DynamoDB::Table").is_empty());
        }
    }
}

/// R6.1, R6.2: tables are paid by use and grow by themselves.
#[test]
fn tables_are_on_demand() {
    for (env, service) in all() {
        let stack = stack(service, env);
        let table = stack.one("AWS::DynamoDB::Table");
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
        assert!(table["ProvisionedThroughput"].is_null());
    }
}

/// R7.2: any second of the last 35 days can be had back, and nobody deletes production by mistake.
#[test]
fn tables_can_be_restored_for_35_days() {
    for (env, service) in all() {
        let stack = stack(service, env);
        let table = stack.one("AWS::DynamoDB::Table");
        let recovery = json!({"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 35});
        assert_eq!(table["PointInTimeRecoverySpecification"], recovery);
        assert_eq!(table["DeletionProtectionEnabled"], env == "prod", "{env}");
        let pool = super::stack("shared", env);
        let pool = pool.one("AWS::Cognito::UserPool");
        let expected = if env == "prod" { "ACTIVE" } else { "INACTIVE" };
        assert_eq!(pool["DeletionProtection"], expected);
    }
}

/// R5.2: tables by AWS's managed key, queues by SQS's own, Redis at rest and on the way.
#[test]
fn everything_is_encrypted_at_rest() {
    for (env, service) in all() {
        let stack = stack(service, env);
        assert_eq!(stack.one("AWS::DynamoDB::Table")["SSESpecification"]["SSEEnabled"], true);
        for (name, queue) in stack.all("AWS::SQS::Queue") {
            assert_eq!(queue["SqsManagedSseEnabled"], true, "{name}");
        }
    }
    for env in everywhere() {
        let network = stack("network", env);
        let redis = network.one("AWS::ElastiCache::ReplicationGroup");
        assert_eq!(redis["AtRestEncryptionEnabled"], true);
        assert_eq!(redis["TransitEncryptionEnabled"], true);
        let undelivered = stack("shared", env);
        assert_eq!(undelivered.named("Undelivered")["SqsManagedSseEnabled"], true);
    }
}

/// R2.6: e-mail and password, 1 h and 30 days, at least 8 characters with digits and symbols.
#[test]
fn accounts_are_as_the_requirements_say() {
    for env in everywhere() {
        let stack = stack("shared", env);
        let pool = stack.one("AWS::Cognito::UserPool");
        assert_eq!(pool["UserPoolName"], format!("mini-sns-{env}-users"));
        assert_eq!(pool["AliasAttributes"], json!(["email"]));
        let password = &pool["Policies"]["PasswordPolicy"];
        assert_eq!(password["MinimumLength"], 8);
        assert_eq!(
            (&password["RequireNumbers"], &password["RequireSymbols"]),
            (&json!(true), &json!(true))
        );
        // Nobody comes in past the user service.
        assert_eq!(pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"], true);
        assert_eq!(pool["LambdaConfig"], json!({"PreSignUp": {"Ref": "PreSignUpLive"}}));
        let client = stack.one("AWS::Cognito::UserPoolClient");
        assert_eq!(client["AccessTokenValidity"], 1);
        assert_eq!(client["RefreshTokenValidity"], 30);
        let units = json!({"AccessToken": "hours", "RefreshToken": "days"});
        assert_eq!(client["TokenValidityUnits"], units);
        assert_eq!(client["RefreshTokenRotation"]["Feature"], "ENABLED");
        assert_eq!(client["EnableTokenRevocation"], true);
        assert_eq!(client["PreventUserExistenceErrors"], "ENABLED");
        assert_eq!(client["ExplicitAuthFlows"], json!(["ALLOW_ADMIN_USER_PASSWORD_AUTH"]));
    }
}

/// R2.8, R6.1, R7.1: one small node in dev; in prod a cluster in two zones that fails over.
#[test]
fn redis_is_small_in_dev_and_a_cluster_in_two_zones_in_prod() {
    let network = stack("network", "dev");
    let dev = network.one("AWS::ElastiCache::ReplicationGroup");
    assert_eq!(dev["CacheNodeType"], "cache.t3.micro");
    assert_eq!(dev["NumCacheClusters"], 1);
    let network = stack("network", "prod");
    let prod = network.one("AWS::ElastiCache::ReplicationGroup");
    assert_eq!(prod["CacheNodeType"], "cache.r6g.large");
    assert_eq!(prod["ClusterMode"], "enabled");
    assert_eq!(prod["MultiAZEnabled"], true);
    assert_eq!(prod["AutomaticFailoverEnabled"], true);
    assert_eq!(prod["ReplicasPerNodeGroup"], 1);
    // Several addresses are how a function knows a cluster.
    let urls = network.0["Outputs"]["RedisUrls"]["Value"].to_string();
    assert_eq!(urls.matches("rediss://").count(), 2, "{urls}");
}

/// R2.8, R10.1: in dev Redis is away at night and at weekends, unless somebody wants it; elsewhere
/// it never is.
#[test]
fn redis_is_away_out_of_hours_in_dev_alone() {
    let templates = super::translated(&super::Signals::listen().unwrap()).unwrap();
    let template = &super::read(&templates).unwrap()["network"];
    let schedules = |env, schedule| {
        let given = [("Env", env), ("RedisSchedule", schedule)];
        super::Stack(super::resolved(template, &given)).all("AWS::Scheduler::Schedule").len()
    };
    assert_eq!((schedules("dev", "on"), schedules("dev", "off")), (2, 0));
    assert_eq!((schedules("staging", "on"), schedules("prod", "on")), (0, 0));
    let network = stack("network", "dev");
    let schedules = network.all("AWS::Scheduler::Schedule");
    assert_eq!(schedules.len(), 2, "without a word");
    // What is made in the morning is what the stack has made.
    let made = network.one("AWS::ElastiCache::ReplicationGroup");
    let again = network.named("RedisMorning")["Target"]["Input"].as_str().unwrap();
    let again: serde_json::Value = serde_json::from_str(again).unwrap();
    for (name, value) in again.as_object().unwrap() {
        if !["CacheSubnetGroupName", "SecurityGroupIds"].contains(&name.as_str()) {
            assert_eq!(*value, made[name], "{name}");
        }
    }
}

/// R2.9, R8.1: the logs of every function under its name, for 30 days, in dev for 7.
#[test]
fn logs_are_kept_as_long_as_they_must() {
    for env in everywhere() {
        let days = if env == "dev" { 7 } else { 30 };
        for name in SERVICES.into_iter().chain(["shared"]) {
            let stack = stack(name, env);
            let groups = stack.all("AWS::Logs::LogGroup");
            assert!(groups.iter().all(|(_, it)| it["RetentionInDays"] == days), "{name} {env}");
            for function in stack.functions().keys() {
                let group = format!("/aws/lambda/{function}");
                assert!(groups.iter().any(|(_, it)| it["LogGroupName"] == group), "{group}");
            }
        }
    }
}

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    everywhere().flat_map(|env| SERVICES.map(|service| (env, service)))
}
