//! Where requests come in, and from where to where they may go: both APIs, and the network.

use serde_json::{Value, json};

use super::{SERVICES, everywhere, names, stack, texts};

/// The routes of the REST API in `env`.
fn paths(env: &str) -> Value {
    stack("shared", env).one("AWS::ApiGateway::RestApi")["Body"]["paths"].clone()
}

/// Each operation: method, path, and what the API knows of it.
fn operations(paths: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in paths.as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    all
}

/// R2.1 to R2.5: each path of the document at its service's function, whose alias serves.
#[test]
fn each_route_leads_to_its_services_function() {
    for env in everywhere() {
        let paths = paths(env);
        let function = |path: &str, method: &str| {
            let uri = &paths[path][method]["x-amazon-apigateway-integration"]["uri"];
            let uri = uri.as_str().unwrap_or_else(|| panic!("{method} {path} is a route"));
            let (_, name) = uri.split_once(":function:").unwrap();
            name.strip_suffix(":live/invocations").expect("the alias serves").to_owned()
        };
        for (method, path, name) in [
            ("post", "/auth/register", "users"),
            ("get", "/users/me", "users"),
            ("post", "/posts", "posts"),
            ("delete", "/posts/{postId}", "posts"),
            ("post", "/users/{userId}/follow", "social"),
            ("post", "/posts/{postId}/likes", "social"),
            ("get", "/timeline", "timeline"),
            // R7.1
            ("get", "/health", "timeline"),
        ] {
            assert_eq!(function(path, method), format!("mini-sns-{env}-{name}"), "{path}");
        }
        // Whatever a route names is a function of some stack.
        let all: Vec<_> = SERVICES.iter().flat_map(|it| names(&stack(it, env), env)).collect();
        for (method, path, _) in operations(&paths) {
            let name = function(&path, &method).replace(&format!("mini-sns-{env}-"), "");
            assert!(all.contains(&name), "{name} of {method} {path}");
        }
    }
}

/// R2.5, R5.1: a token wherever the document wants one, with the scope by which access tokens are
/// known. What is between the services has no route.
#[test]
fn the_gateway_asks_for_tokens_where_the_document_does() {
    let document =
        std::fs::read_to_string(crate::shell::root().unwrap().join(super::super::OPENAPI));
    let document: Value = serde_json::from_str(&document.unwrap()).unwrap();
    let paths = paths("prod");
    for (method, path, operation) in operations(&paths) {
        assert!(!path.starts_with("/internal"), "{path}");
        let security = &operation["security"];
        let documented = &document["paths"][&path][&method];
        // Preflights, which browsers send without a token.
        let open = method == "options" || documented["security"] == json!([{}]);
        let wanted = json!([{"cognito": ["aws.cognito.signin.user.admin"]}]);
        assert_eq!(*security, if open { json!([]) } else { wanted }, "{method} {path}");
    }
    let stack = stack("shared", "prod");
    let schemes = &stack.one("AWS::ApiGateway::RestApi")["Body"]["components"]["securitySchemes"];
    let authorizer = &schemes["cognito"]["x-amazon-apigateway-authorizer"];
    assert_eq!(authorizer["type"], "cognito_user_pools");
    assert_eq!(authorizer["providerARNs"], json!([{"Fn::GetAtt": ["UserPool", "Arn"]}]));
}

/// R5.4: the gateway asks for the parameters that the document wants, and refuses a body that is no
/// JSON, for every route that takes one. What a body says is the services' to judge.
#[test]
fn the_gateway_validates_requests() {
    let stack = stack("shared", "prod");
    let body = &stack.one("AWS::ApiGateway::RestApi")["Body"];
    let validator = body["x-amazon-apigateway-request-validator"].as_str().unwrap();
    let validators = &body["x-amazon-apigateway-request-validators"];
    let both = json!({"validateRequestBody": true, "validateRequestParameters": true});
    assert_eq!(validators[validator], both);
    let mut count = 0;
    for (method, path, operation) in operations(&body["paths"]) {
        let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
        for accepted in content.values() {
            let name = accepted["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            let schema = body["components"]["schemas"][name].as_object();
            let schema = schema.unwrap_or_else(|| panic!("{method} {path} has a model"));
            assert!(schema.keys().all(|key| key == "title"), "{method} {path}");
        }
        count += 1;
    }
    assert_eq!(count, 12);
    let likes = body["paths"]["/likes"]["get"]["parameters"].as_array().unwrap();
    assert!(likes.iter().any(|it| it["name"] == "postIds" && it["required"] == true), "{likes:?}");
    let answers = &body["x-amazon-apigateway-gateway-responses"];
    assert_eq!(answers["BAD_REQUEST_BODY"]["statusCode"], 400);
    assert_eq!(answers["BAD_REQUEST_PARAMETERS"]["statusCode"], 422);
}

/// R4.1, R5.2: TLS 1.2 or newer; 3 s at the edge, for the integration and the function behind it.
#[test]
fn the_edge_speaks_tls_and_waits_three_seconds() {
    for env in everywhere() {
        let shared = stack("shared", env);
        let api = shared.one("AWS::ApiGateway::RestApi");
        let policy = api["SecurityPolicy"].as_str().unwrap();
        assert!(policy.starts_with("SecurityPolicy_TLS13_1_2"), "{policy}");
        assert_eq!(api["EndpointAccessMode"], "STRICT");
        for (method, path, operation) in operations(&paths(env)) {
            let integration = &operation["x-amazon-apigateway-integration"];
            assert_eq!(integration["timeoutInMillis"], 3_000, "{method} {path}");
        }
        for (service, function) in
            [("user", "users"), ("post", "posts"), ("social", "social"), ("timeline", "timeline")]
        {
            let stack = stack(service, env);
            let (_, function) = stack.functions()[&*format!("mini-sns-{env}-{function}")];
            assert_eq!(function["Timeout"], 3);
        }
    }
}

/// R2.5, R6.3: the stages take 1,000 requests a second, with as many again at once. What one person
/// may is the services' own (R5.5).
#[test]
fn stages_are_throttled() {
    for env in everywhere() {
        let stack = stack("shared", env);
        let rest = &stack.one("AWS::ApiGateway::Stage")["MethodSettings"][0];
        let sockets = &stack.one("AWS::ApiGatewayV2::Stage")["DefaultRouteSettings"];
        for settings in [rest, sockets] {
            assert_eq!(settings["ThrottlingRateLimit"], 1_000);
            assert_eq!(settings["ThrottlingBurstLimit"], 2_000);
        }
        // R8.2
        assert_eq!(rest["MetricsEnabled"], true);
    }
}

/// R2.4, R4.3: who opens a socket is asked for a token; what is said goes to the timeline's.
#[test]
fn sockets_are_opened_with_a_token() {
    for env in everywhere() {
        let stack = stack("shared", env);
        let api = stack.one("AWS::ApiGatewayV2::Api");
        assert_eq!(api["Name"], format!("mini-sns-{env}-ws"));
        assert_eq!(api["ProtocolType"], "WEBSOCKET");
        let authorizer = stack.one("AWS::ApiGatewayV2::Authorizer");
        assert_eq!(authorizer["AuthorizerType"], "REQUEST");
        let of = |name: &str| format!(":function:mini-sns-{env}-{name}:live/invocations");
        assert!(authorizer["AuthorizerUri"].as_str().unwrap().ends_with(&of("authorizer")));
        for (route, authorization, name) in [
            ("$connect", "CUSTOM", "socket-connect"),
            ("$default", "NONE", "socket-message"),
            ("$disconnect", "NONE", "socket-disconnect"),
        ] {
            let routes = stack.all("AWS::ApiGatewayV2::Route");
            let (_, route) = routes.iter().find(|(_, it)| it["RouteKey"] == route).unwrap();
            assert_eq!(route["AuthorizationType"], authorization);
            let target = route["Target"].as_str().unwrap();
            let target = target.strip_prefix("integrations/${").unwrap().strip_suffix('}').unwrap();
            let uri = stack.named(target)["IntegrationUri"].as_str().unwrap();
            assert!(uri.ends_with(&of(name)), "{uri}");
        }
    }
}

/// Access logs name the route, not the address as it was sent: a token may be in its query.
#[test]
fn access_logs_hold_no_token() {
    let stack = stack("shared", "prod");
    let rest = &stack.one("AWS::ApiGateway::Stage")["AccessLogSetting"]["Format"];
    let sockets = &stack.one("AWS::ApiGatewayV2::Stage")["AccessLogSettings"]["Format"];
    for format in [rest, sockets] {
        let format = format.as_str().unwrap();
        assert!(format.contains("$context.requestId"));
        for secret in ["querystring", "$context.path\"", "header", "authorizer", "$input"] {
            assert!(!format.contains(secret), "{format}");
        }
    }
    let settings = &stack.one("AWS::ApiGateway::Stage")["MethodSettings"][0];
    assert_eq!(
        (&settings["LoggingLevel"], &settings["DataTraceEnabled"]),
        (&json!("OFF"), &json!(false))
    );
}

/// R5.3: only what needs Redis is in the VPC; nobody comes in, only the functions reach Redis, and
/// there is no NAT. R7.1: two zones.
#[test]
fn the_network_lets_nobody_in() {
    for env in everywhere() {
        let network = stack("network", env);
        for kind in ["AWS::EC2::NatGateway", "AWS::EC2::InternetGateway"] {
            assert!(network.all(kind).is_empty(), "{kind}");
        }
        assert_eq!(network.all("AWS::EC2::EgressOnlyInternetGateway").len(), 1);
        let endpoint = network.one("AWS::EC2::VPCEndpoint");
        assert_eq!(endpoint["VpcEndpointType"], "Gateway");
        assert_eq!(endpoint["ServiceName"], "com.amazonaws.eu-west-1.dynamodb");
        for (name, group) in network.all("AWS::EC2::SecurityGroup") {
            assert!(group["SecurityGroupIngress"].is_null(), "{name}");
        }
        let ingress = network.one("AWS::EC2::SecurityGroupIngress");
        assert_eq!(ingress["GroupId"], json!({"Ref": "RedisGroup"}));
        assert_eq!(ingress["SourceSecurityGroupId"], json!({"Ref": "FunctionGroup"}));
        assert_eq!((&ingress["FromPort"], &ingress["ToPort"]), (&json!(6379), &json!(6379)));
        let redis = network.one("AWS::ElastiCache::ReplicationGroup");
        assert_eq!(redis["SecurityGroupIds"], json!([{"Ref": "RedisGroup"}]));
        let subnets = network.all("AWS::EC2::Subnet");
        assert!(subnets.iter().all(|(_, it)| it["MapPublicIpOnLaunch"] == false));
        let zones: Vec<_> =
            subnets.iter().map(|(_, it)| it["AvailabilityZone"]["Fn::Select"][0].clone()).collect();
        assert_eq!(zones, [json!(0), json!(1)]);
        for service in SERVICES {
            let stack = stack(service, env);
            for (name, (_, function)) in stack.functions() {
                let variables = &function["Environment"]["Variables"];
                let needs_redis = !variables["MINI_SNS_REDIS_URLS"].is_null();
                assert_eq!(!function["VpcConfig"].is_null(), needs_redis, "{name}");
                let dual = &function["VpcConfig"]["Ipv6AllowedForDualStack"];
                assert_eq!(*dual, if needs_redis { json!(true) } else { Value::Null });
            }
        }
    }
}

/// What stands in the VPC comes to both APIs over IPv6.
#[test]
fn both_apis_answer_over_ipv6() {
    let stack = stack("shared", "prod");
    let rest = &stack.one("AWS::ApiGateway::RestApi")["EndpointConfiguration"];
    assert_eq!(rest["IpAddressType"], "dualstack");
    assert_eq!(texts(&rest["Types"]), ["REGIONAL"]);
    assert_eq!(stack.one("AWS::ApiGatewayV2::Api")["IpAddressType"], "dualstack");
}

/// The firewall is there when it is asked for, and its rules look into no text of people.
#[test]
fn the_firewall_is_there_when_asked_for() {
    let templates = super::translated(&super::Signals::listen().unwrap()).unwrap();
    let template = &super::read(&templates).unwrap()["shared"];
    let of = |waf| super::Stack(super::resolved(template, &[("Env", "prod"), ("Waf", waf)]));
    assert!(of("off").all("AWS::WAFv2::WebACL").is_empty());
    let on = of("on");
    assert_eq!(on.all("AWS::WAFv2::WebACLAssociation").len(), 1);
    let rules = on.one("AWS::WAFv2::WebACL")["Rules"].to_string();
    assert!(!rules.contains("CommonRuleSet"), "it takes markup in a post for an attack");
}
