//! `infra/api.json`: docs/openapi.json as API Gateway reads it, with the function behind each
//! route, the authorizer, the checks of requests, and the gateway's own answers.
//!
//! API Gateway's checks stop at a body's shape: which fields there must be, and of what type.
//! Whatever is a rule of the service (lengths, patterns, addresses) stays with the service, whose
//! answer names each field and what it wants, where API Gateway's cannot.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Time that an integration has, in milliseconds (R4.1).
const EDGE_TIMEOUT_MILLIS: u32 = 3_000;
/// The scope of an access token that nobody has narrowed. Without a scope to look for, the
/// authorizer would take identity tokens and refuse access tokens.
const SCOPE: &str = "aws.cognito.signin.user.admin";
/// What API Gateway answers by itself: its name for it, status, code and title of the problem, and
/// what happened. The codes are those of the services, but for the gateway's own failures.
const GATEWAY_ANSWERS: [(&str, u16, &str, &str, &str); 12] = [
    (
        "BAD_REQUEST_BODY",
        422,
        "validation_failed",
        "The input breaks a rule",
        "The body is no JSON, or a field is missing or of the wrong type.",
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
    let schemas = &document["components"]["schemas"];
    let mut paths = Map::new();
    let mut models = Map::new();
    let documented = document["paths"].as_object().context("the document has no paths")?;
    // Sockets are the WebSocket API's.
    for (path, item) in documented.iter().filter(|(path, _)| *path != "/ws") {
        let operations = item.as_object().context("a path has no operations")?;
        let mut made = Map::new();
        for (method, operation) in operations {
            let function = function(operation)
                .with_context(|| format!("whose is {method} {path}? it has no tag that tells"))?;
            made.insert(method.clone(), public(operation, function, schemas, &mut models)?);
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
        "components": {"schemas": models, "securitySchemes": schemes()},
        "x-amazon-apigateway-request-validators": {
            "shape": {"validateRequestBody": true, "validateRequestParameters": true},
        },
        "x-amazon-apigateway-request-validator": "shape",
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
fn public(
    operation: &Value,
    function: &str,
    schemas: &Value,
    models: &mut Map<String, Value>,
) -> Result<Value> {
    let is_open = operation["security"] == json!([{}]);
    let security = if is_open { json!([]) } else { json!([{"cognito": [SCOPE]}]) };
    let mut made = route(function, &security, &parameters(operation));
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        let mut accepted = Map::new();
        for (media_type, body) in content {
            let reference = body["schema"]["$ref"].as_str().context("a body without a name")?;
            let name = reference.rsplit('/').next().unwrap_or(reference);
            models.insert(name.to_owned(), shape(&schemas[name], schemas));
            accepted.insert(media_type.clone(), json!({"schema": {"$ref": reference}}));
        }
        made["requestBody"] = json!({"required": true, "content": accepted});
    }
    Ok(made)
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

/// What of a schema is a body's shape: required fields, and types where there is one type.
fn shape(schema: &Value, schemas: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()) {
        return shape(&schemas[name], schemas);
    }
    let mut made = Map::new();
    // What may be null has two types, which this version of OpenAPI cannot say.
    if schema["type"].is_string() {
        made.insert("type".to_owned(), schema["type"].clone());
    }
    if schema["required"].is_array() {
        made.insert("required".to_owned(), schema["required"].clone());
    }
    if let Some(properties) = schema["properties"].as_object() {
        let each = properties.iter();
        let each = each.map(|(name, field)| (name.clone(), shape(field, schemas)));
        made.insert("properties".to_owned(), Value::Object(each.collect()));
    }
    if schema["items"].is_object() {
        made.insert("items".to_owned(), shape(&schema["items"], schemas));
    }
    Value::Object(made)
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
            "components": {"schemas": {
                "New": {
                    "type": "object", "required": ["text"], "description": "x",
                    "properties": {
                        "text": {"type": "string", "minLength": 1, "pattern": "x"},
                        "other": {"type": ["string", "null"], "maxLength": 3},
                        "list": {"type": "array", "items": {"$ref": "#/components/schemas/In"}},
                    },
                },
                "In": {"type": "object", "properties": {"n": {"type": "integer"}}},
            }},
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
    fn a_body_is_checked_for_its_shape_alone() {
        let body = json!({"$ref": "#/components/schemas/New"});
        let operation = json!({
            "tags": ["posts"],
            "parameters": [{"name": "id", "in": "path", "required": true, "schema": {}}],
            "requestBody": {"content": {"application/json": {"schema": body}}},
        });
        let made = made(&operation);
        let shape = json!({
            "type": "object", "required": ["text"],
            "properties": {
                "text": {"type": "string"}, "other": {},
                "list": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
                },
            },
        });
        assert_eq!(made["components"]["schemas"], json!({"New": shape}));
        let post = &made["paths"]["/a/{id}"]["post"];
        assert_eq!(post["requestBody"]["content"]["application/json"]["schema"], body);
        assert_eq!(post["parameters"][0]["required"], true);
    }

    #[test]
    fn an_operation_of_nobody_is_refused_and_sockets_are_left_out() {
        let document = json!({"paths": {"/a": {"get": {"tags": ["other"]}}}});
        assert!(made_of(&document).unwrap_err().to_string().contains("get /a"));
        assert!(made(&json!({"tags": ["users"]}))["paths"]["/ws"].is_null());
    }
}
