//! `infra/api.json`: docs/openapi.json as API Gateway reads it, with the function behind each
//! route, the authorizer, the checks of requests, and the gateway's own answers.
//!
//! API Gateway checks that parameters are there and that a body is JSON. It has one answer for all
//! that it finds wrong with a body, and the contract has two: 400 for what is not JSON, and 422
//! with the name of each field for what is. So fields are left to the service.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Time that an integration has, in milliseconds (R4.1).
const EDGE_TIMEOUT_MILLIS: u32 = 3_000;
/// The scope of an access token that nobody has narrowed. Without a scope to look for, the
/// authorizer would take identity tokens and refuse access tokens.
const SCOPE: &str = "aws.cognito.signin.user.admin";
/// The one model of bodies.
const JSON: &str = "Json";
/// What API Gateway answers by itself: its name for it, status, code and title of the problem, and
/// what happened. The codes are those of the services, but for the gateway's own failures.
const GATEWAY_ANSWERS: [(&str, u16, &str, &str, &str); 12] = [
    (
        "BAD_REQUEST_BODY",
        400,
        "malformed_request",
        "The request cannot be read",
        "The body is not JSON.",
    ),
    (
        "BAD_REQUEST_PARAMETERS",
        422,
        "validation_failed",
        "The input breaks a rule",
        "A parameter is missing.",
    ),
    (
        "UNAUTHORIZED",
        401,
        "unauthenticated",
        "Sign in first",
        "An access token is wanted, and one that is good.",
    ),
    ("EXPIRED_TOKEN", 401, "unauthenticated", "Sign in first", "The access token has expired."),
    ("ACCESS_DENIED", 404, "not_found", "Not found", "There is nothing here."),
    // What API Gateway says where there is no such route.
    ("MISSING_AUTHENTICATION_TOKEN", 404, "not_found", "Not found", "There is nothing here."),
    ("RESOURCE_NOT_FOUND", 404, "not_found", "Not found", "There is nothing here."),
    (
        "REQUEST_TOO_LARGE",
        413,
        "body_too_large",
        "The body is too large",
        "The body is over the limit.",
    ),
    (
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "unsupported_media_type",
        "The media type is not supported",
        "The body must be application/json.",
    ),
    (
        "THROTTLED",
        429,
        "rate_limited",
        "Too many requests",
        "There are too many requests at present.",
    ),
    (
        "INTEGRATION_TIMEOUT",
        504,
        "deadline_exceeded",
        "The request took too long",
        "The service did not answer in time.",
    ),
    (
        "DEFAULT_5XX",
        503,
        "unavailable",
        "Not available at present",
        "The service does not answer at present.",
    ),
];

/// The document of API Gateway for the services' own.
pub(super) fn made_of(document: &Value) -> Result<Value> {
    let mut paths = Map::new();
    let documented = document["paths"].as_object().context("the document has no paths")?;
    // Sockets are the WebSocket API's.
    for (path, item) in documented.iter().filter(|(path, _)| *path != "/ws") {
        let operations = item.as_object().context("a path has no operations")?;
        let mut made = Map::new();
        for (method, operation) in operations {
            let function = function(operation)
                .with_context(|| format!("whose is {method} {path}? it has no tag that tells"))?;
            made.insert(method.clone(), public(operation, function));
            // A browser asks before it sends a page's request to another origin.
            let parameters = in_path(operation);
            made.insert("options".to_owned(), route(function, &json!([]), &parameters));
        }
        paths.insert(path.clone(), Value::Object(made));
    }
    let version = &document["info"]["version"];
    Ok(json!({
        "openapi": "3.0.1",
        "info": {"title": {"Fn::Sub": "mini-sns-${Env}-rest"}, "version": version},
        "paths": paths,
        "components": {
            "schemas": {JSON: {"title": "Whatever is JSON"}},
            "securitySchemes": schemes(),
        },
        "x-amazon-apigateway-request-validators": {
            "readable": {"validateRequestBody": true, "validateRequestParameters": true},
        },
        "x-amazon-apigateway-request-validator": "readable",
        "x-amazon-apigateway-gateway-responses": gateway_answers(),
    }))
}

/// The function that answers an operation, by the tag of its service.
fn function(operation: &Value) -> Option<&str> {
    let tag = operation["tags"][0].as_str()?;
    // One function can answer for the service as a whole: the one that stands on the most.
    let function = if tag == "service" { "timeline" } else { tag };
    ["users", "posts", "social", "timeline"].contains(&function).then_some(function)
}

/// A route of the document.
fn public(operation: &Value, function: &str) -> Value {
    let is_open = operation["security"] == json!([{}]);
    let security = if is_open { json!([]) } else { json!([{"cognito": [SCOPE]}]) };
    let mut made = route(function, &security, &parameters(operation));
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        let any = |media_type: &String| (media_type.clone(), json!({"schema": reference(JSON)}));
        let content: Map<_, _> = content.keys().map(any).collect();
        made["requestBody"] = json!({"required": true, "content": content});
    }
    made
}

fn reference(model: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{model}")})
}

/// A route to a function.
fn route(function: &str, security: &Value, parameters: &Value) -> Value {
    let uri = format!(
        "arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/\
         arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:\
         mini-sns-${{Env}}-{function}:live/invocations"
    );
    json!({
        "security": security,
        "parameters": parameters,
        "responses": {"200": {"description": "What the function answers"}},
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": {"Fn::Sub": uri},
            "timeoutInMillis": EDGE_TIMEOUT_MILLIS,
            "passthroughBehavior": "when_no_match",
        },
    })
}

/// An operation's parameters: that they are there is checked, what they say is not.
fn parameters(operation: &Value) -> Value {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shape = |it: &Value| {
        json!({
            "name": it["name"], "in": it["in"], "required": it["required"],
            "schema": {"type": "string"},
        })
    };
    all.iter().map(shape).collect()
}

fn in_path(operation: &Value) -> Value {
    let Value::Array(mut all) = parameters(operation) else { return json!([]) };
    all.retain(|it| it["in"] == "path");
    Value::Array(all)
}

fn schemes() -> Value {
    json!({
        "cognito": {
            "type": "apiKey", "name": "Authorization", "in": "header",
            "x-amazon-apigateway-authtype": "cognito_user_pools",
            "x-amazon-apigateway-authorizer": {
                "type": "cognito_user_pools",
                "providerARNs": [{"Fn::GetAtt": ["UserPool", "Arn"]}],
            },
        },
    })
}

/// Problems, as the services answer them. Any page may read them: they tell nothing.
fn gateway_answers() -> Value {
    let mut made = Map::new();
    for (kind, status, code, title, detail) in GATEWAY_ANSWERS {
        let header = |name: &str| format!("gatewayresponse.header.{name}");
        let mut headers = Map::from_iter([
            (header("Content-Type"), json!("'application/problem+json'")),
            (header("Cache-Control"), json!("'no-store'")),
            (header("X-Request-Id"), json!("context.requestId")),
            (header("Access-Control-Allow-Origin"), json!("'*'")),
        ]);
        if status == 401 {
            headers.insert(header("WWW-Authenticate"), json!("'Bearer'"));
        }
        if status == 429 {
            headers.insert(header("Retry-After"), json!("'1'"));
        }
        let problem = json!({
            "type": format!("urn:mini-sns:problem:{code}"),
            "title": title, "status": status, "detail": detail, "code": code,
            "requestId": "$context.requestId",
        });
        let answer = json!({
            "statusCode": status,
            "responseParameters": headers,
            "responseTemplates": {"application/json": problem.to_string()},
        });
        made.insert(kind.to_owned(), answer);
    }
    Value::Object(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(operation: &Value) -> Value {
        let document = json!({
            "info": {"version": "1"},
            "paths": {"/a/{id}": {"post": operation}, "/ws": {"get": {}}},
        });
        made_of(&document).unwrap()
    }

    #[test]
    fn a_route_wants_a_token_unless_the_document_opens_it() {
        let route = |security: Value| {
            made(&json!({"tags": ["posts"], "security": security}))["paths"]["/a/{id}"].clone()
        };
        let closed = route(Value::Null);
        assert_eq!(closed["post"]["security"], json!([{"cognito": [SCOPE]}]));
        assert_eq!(closed["options"]["security"], json!([]));
        assert_eq!(route(json!([{}]))["post"]["security"], json!([]));
        let uri = &closed["post"]["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"];
        assert!(uri.as_str().unwrap().ends_with("mini-sns-${Env}-posts:live/invocations"));
    }

    #[test]
    fn a_body_must_be_json_and_what_it_says_is_the_services_to_judge() {
        let operation = json!({
            "tags": ["posts"],
            "parameters": [{"name": "id", "in": "path", "required": true, "schema": {}}],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
        });
        let made = made(&operation);
        let model = &made["components"]["schemas"]["Json"];
        assert_eq!(model.as_object().unwrap().keys().collect::<Vec<_>>(), ["title"]);
        let post = &made["paths"]["/a/{id}"]["post"];
        let body = &post["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(*body, json!({"$ref": "#/components/schemas/Json"}));
        assert_eq!(post["parameters"][0]["required"], true);
        let answer = &made["x-amazon-apigateway-gateway-responses"]["BAD_REQUEST_BODY"];
        assert_eq!(answer["statusCode"], 400);
    }

    #[test]
    fn an_operation_of_nobody_is_refused_and_sockets_are_left_out() {
        let document = json!({"paths": {"/a": {"get": {"tags": ["other"]}}}});
        assert!(made_of(&document).unwrap_err().to_string().contains("get /a"));
        assert!(made(&json!({"tags": ["users"]}))["paths"]["/ws"].is_null());
    }
}
