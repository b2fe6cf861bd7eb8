//! Where the emulator is not AWS: each difference with its reason, applied to what is deployed and
//! nowhere else. The templates know nothing of it.

use serde_json::{Map, Value, json};

/// Types that the emulator does not know. What they do shows in no answer.
const UNKNOWN: [&str; 2] = ["AWS::Events::Archive", "AWS::XRay::SamplingRule"];
/// Debug builds on a busy machine, and an emulator that takes its time: the limits of time are left
/// to the tests of the templates.
const PATIENCE_SECS: u32 = 60;

/// Where the emulator is, and the bucket that the code is in.
pub(crate) struct Place<'a> {
    pub(crate) services: &'a str,
    pub(crate) bucket: &'a str,
}

/// A template as the emulator takes it.
pub(crate) fn emulated(template: &Value, place: &Place<'_>) -> Value {
    let mut made = template.clone();
    let resources = made["Resources"].as_object_mut().unwrap();
    resources.retain(|_, it| !UNKNOWN.iter().any(|kind| it["Type"] == *kind));
    for resource in resources.values_mut() {
        match resource["Type"].as_str() {
            Some("AWS::Lambda::Function") => function(&mut resource["Properties"], place),
            Some("AWS::SQS::QueuePolicy" | "AWS::SNS::TopicPolicy") => {
                without_tls(&mut resource["Properties"]["PolicyDocument"]);
            }
            _ => {}
        }
    }
    if let Some(outputs) = made["Outputs"].as_object_mut() {
        addresses(outputs, place);
    }
    made
}

/// A function finds AWS at other addresses, its code in our bucket, and more time.
fn function(properties: &mut Value, place: &Place<'_>) {
    properties["Code"]["S3Bucket"] = json!(place.bucket);
    properties["Timeout"] = json!(PATIENCE_SECS);
    if properties["Environment"]["Variables"].is_null() {
        return;
    }
    let set = properties["Environment"]["Variables"].as_object_mut().unwrap();
    for name in ["MINI_SNS_AWS_URL", "MINI_SNS_DYNAMODB_URL", "MINI_SNS_LAMBDA_URL"] {
        set.insert(name.to_owned(), json!(place.services));
    }
    set.insert("MINI_SNS_REQUEST_TIMEOUT".to_owned(), json!(format!("{PATIENCE_SECS}s")));
    set.insert("MINI_SNS_LOG_FILTER".to_owned(), json!("debug"));
    // The issuer's real address is nowhere here. Functions in the VPC have another anyway.
    if let Some(pool) = set.get("MINI_SNS_COGNITO_POOL_ID").cloned() {
        let at = format!("{}/${{Pool}}/.well-known/jwks.json", place.services);
        let url = json!({"Fn::Sub": [at, {"Pool": pool}]});
        set.entry("MINI_SNS_COGNITO_KEYS_URL").or_insert(url);
    }
}

/// The emulator speaks no TLS, and does refuse whom a policy refuses for that. (A policy must say
/// something, so the refusal is kept and meets nobody.)
fn without_tls(policy: &mut Value) {
    for statement in policy["Statement"].as_array_mut().unwrap() {
        if statement["Condition"]["Bool"]["aws:SecureTransport"] == "false" {
            statement["Condition"] = json!({"Bool": {"aws:SecureTransport": "never"}});
        }
    }
}

/// Both APIs are found at paths of the emulator, not at names of their own.
fn addresses(outputs: &mut Map<String, Value>, place: &Place<'_>) {
    let services = place.services;
    let rest = format!("{services}/restapis/${{RestApi}}/${{Env}}/_user_request_");
    let sockets = format!("{services}/_aws/execute-api/${{WebSocketApi}}/${{Env}}");
    for (name, address) in [
        ("RestApiUrl", rest),
        ("WebSocketUrl", sockets.replacen("http:", "ws:", 1)),
        ("ConnectionsUrl", sockets),
    ] {
        if let Some(output) = outputs.get_mut(name) {
            output["Value"] = json!({"Fn::Sub": address});
        }
    }
}

/// What stands in for the network's stack, which the emulator refuses: a Redis that is there, and
/// names for a network that is not.
pub(crate) fn network(redis: &str) -> Value {
    let exported = |name: &str, value: &str| {
        let name = format!("mini-sns-${{Env}}-{name}");
        json!({"Value": value, "Export": {"Name": {"Fn::Sub": name}}})
    };
    json!({
        "Parameters": {"Env": {"Type": "String"}},
        "Resources": {"Nothing": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {
            "RedisUrls": exported("redis-urls", redis),
            "FunctionSubnets": exported("function-subnets", "subnet-0a,subnet-0b"),
            "FunctionSecurityGroup": exported("function-security-group", "sg-0a"),
        },
    })
}
