//! Events as AWS documents them.

use std::collections::HashMap;

use kernel::Clock;
use kernel::clock::SystemClock;
use serde_json::{Value, json};

/// A request of a REST API with proxy integration.
pub(crate) struct Rest<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Names and values as the client means them.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
}

fn gather(pairs: &[(String, String)]) -> (Value, Value) {
    let mut all: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, value) in pairs {
        all.entry(name).or_default().push(value);
    }
    let last: HashMap<_, _> = all.iter().map(|(name, values)| (*name, values.last())).collect();
    if pairs.is_empty() { (Value::Null, Value::Null) } else { (json!(last), json!(all)) }
}

impl Rest<'_> {
    /// The event.
    pub(crate) fn event(&self) -> Value {
        let (headers, multi_headers) = gather(&self.headers);
        let (query, multi_query) = gather(&self.query);
        json!({
            "resource": "/{proxy+}",
            "path": self.path,
            "httpMethod": self.method,
            "headers": headers,
            "multiValueHeaders": multi_headers,
            "queryStringParameters": query,
            "multiValueQueryStringParameters": multi_query,
            "pathParameters": {"proxy": self.path.trim_start_matches('/')},
            "stageVariables": null,
            "requestContext": {
                "resourceId": "1a2b3c",
                "resourcePath": "/{proxy+}",
                "httpMethod": self.method,
                "extendedRequestId": "JJbxmPlRoAMFdIA=",
                "requestTime": "24/Nov/2026:12:00:00 +0000",
                "path": format!("/prod{}", self.path),
                "accountId": "000000000000",
                "protocol": "HTTP/1.1",
                "stage": "prod",
                "domainPrefix": "api",
                "requestTimeEpoch": 1_795_521_600_000_i64,
                "requestId": "2f8b1f0c-3b6f-4f0d-9f0a-2d4f1f6f3f3f",
                "identity": {
                    "cognitoIdentityPoolId": null,
                    "accountId": null,
                    "cognitoIdentityId": null,
                    "caller": null,
                    "sourceIp": "192.0.2.1",
                    "principalOrgId": null,
                    "accessKey": null,
                    "cognitoAuthenticationType": null,
                    "cognitoAuthenticationProvider": null,
                    "userArn": null,
                    "userAgent": "test",
                    "user": null,
                },
                "domainName": "api.execute-api.us-east-1.amazonaws.com",
                "apiId": "api",
            },
            "body": self.body,
            "isBase64Encoded": false,
        })
    }
}

/// The preflight of a page of `https://app.example`: answered without a call to anywhere.
pub(crate) fn preflight() -> Value {
    let headers = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Host", "api.execute-api.us-east-1.amazonaws.com"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let headers = headers.map(owned).to_vec();
    let request =
        Rest { method: "OPTIONS", path: "/posts", query: Vec::new(), headers, body: None };
    request.event()
}

/// Some messages of one queue: each its id, its body, and how often it was received.
pub(crate) fn sqs(queue: &str, messages: &[(&str, &str, u32)]) -> Value {
    let record = |(id, body, receives): &(&str, &str, u32)| {
        json!({
            "messageId": id,
            "receiptHandle": format!("handle of {id}"),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": receives.to_string(),
                "SentTimestamp": "1795521600000",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1795521600100",
            },
            "messageAttributes": {},
            "md5OfBody": "7b270e59b47ff90a553787216d55d91d",
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
            "awsRegion": "us-east-1",
        })
    };
    json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
}

/// A WebSocket API's question to its authorizer.
pub(crate) fn may_open(token: Option<&str>, origin: Option<&str>) -> Value {
    json!({
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:us-east-1:000000000000:ws/prod/$connect",
        "headers": origin.map_or(json!({"Host": "ws.example"}), |origin| {
            json!({"Host": "ws.example", "Origin": origin})
        }),
        "multiValueHeaders": {},
        "queryStringParameters": token.map(|token| json!({"token": token})),
        "multiValueQueryStringParameters": token.map(|token| json!({"token": [token]})),
        "stageVariables": {},
        "requestContext": socket_context("$connect", "CONNECT", "new", &Value::Null),
    })
}

/// What a WebSocket API tells of a socket.
pub(crate) fn socket_context(route: &str, kind: &str, id: &str, authorizer: &Value) -> Value {
    json!({
        "routeKey": route,
        "authorizer": authorizer,
        "eventType": kind,
        "extendedRequestId": "Hc9aVFeJIAMFW1g=",
        "requestTime": "24/Nov/2026:12:00:00 +0000",
        "messageDirection": "IN",
        "stage": "prod",
        "connectedAt": SystemClock.now().millis(),
        "requestTimeEpoch": SystemClock.now().millis(),
        "identity": {"sourceIp": "192.0.2.1"},
        "requestId": "Hc9aVFeJIAMFW1g=",
        "domainName": "ws.execute-api.us-east-1.amazonaws.com",
        "connectionId": id,
        "apiId": "ws",
    })
}

/// Something said on a socket.
pub(crate) fn said(id: &str, authorizer: &Value, text: &str) -> Value {
    json!({
        "requestContext": socket_context("$default", "MESSAGE", id, authorizer),
        "body": text,
        "isBase64Encoded": false,
    })
}

/// A socket that opens or ends.
pub(crate) fn socket(route: &str, id: &str, authorizer: &Value) -> Value {
    let kind = if route == "$connect" { "CONNECT" } else { "DISCONNECT" };
    json!({
        "headers": {"Host": "ws.example"},
        "multiValueHeaders": {"Host": ["ws.example"]},
        "requestContext": socket_context(route, kind, id, authorizer),
        "isBase64Encoded": false,
    })
}

/// A sign-up at the pool, asked about by its trigger.
pub(crate) fn sign_up(source: &str) -> Value {
    json!({
        "version": "1",
        "region": "us-east-1",
        "userPoolId": "us-east-1_example",
        "userName": "01arz3ndektsv4rrffq69g5fav",
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "example"},
        "triggerSource": source,
        "request": {"userAttributes": {"email": "hanako@example.com"}, "validationData": null},
        "response": {
            "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false,
        },
    })
}
