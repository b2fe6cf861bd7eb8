//! The functions: which there are, how they run, and what each may do.

use serde_json::{Value, json};

use super::super::policy::{breaches, foreign, list};
use super::{SERVICES, Stack, everywhere, names, stack, stack_with, texts};

/// R1.1: each service ships as functions of its own, in a stack of its own.
#[test]
fn each_service_ships_its_own_functions() {
    for env in everywhere() {
        for (service, functions) in [
            ("user", &["react-users", "relay-user", "users"][..]),
            ("post", &["posts", "react-posts", "relay-post"]),
            ("social", &["react-social", "relay-social", "social"]),
            (
                "timeline",
                &[
                    "authorizer",
                    "react-timeline",
                    "socket-connect",
                    "socket-disconnect",
                    "socket-message",
                    "timeline",
                ],
            ),
            ("shared", &["pre-sign-up"]),
        ] {
            assert_eq!(names(&stack(service, env), env), functions);
        }
    }
}

fn each(check: impl Fn(&str, &Stack, &str, &Value)) {
    for env in everywhere() {
        for service in SERVICES.into_iter().chain(["shared"]) {
            let stack = stack(service, env);
            for (logical, function) in stack.all("AWS::Lambda::Function") {
                check(env, &stack, logical, function);
            }
        }
    }
}

/// Processors of Arm's, the runtime for programs that bring their own, and no function without a
/// limit of its time.
#[test]
fn functions_run_as_they_were_built() {
    each(|_, _, name, function| {
        assert_eq!(function["Architectures"], json!(["arm64"]), "{name}");
        assert_eq!(function["Runtime"], "provided.al2023");
        assert_eq!(function["Handler"], "bootstrap");
        assert!(function["Timeout"].as_u64().is_some_and(|secs| secs <= 10));
        assert!(function["MemorySize"].as_u64().is_some_and(|size| (128..=512).contains(&size)));
    });
}

/// R9.2: whoever calls a function calls the alias `live`, which a deployment does not move.
#[test]
fn everything_calls_the_alias_that_a_release_moves() {
    each(|_, stack, name, _| {
        let alias = stack.named(&format!("{name}Live"));
        assert_eq!(alias["Name"], "live");
        assert_eq!(alias["FunctionName"], json!({"Ref": name}));
        let first = json!({"Fn::GetAtt": [format!("{name}First"), "Version"]});
        assert_eq!(alias["FunctionVersion"], first);
        // Nothing in it changes, so CloudFormation never publishes another.
        assert_eq!(*stack.named(&format!("{name}First")), json!({"FunctionName": {"Ref": name}}));
    });
    for service in SERVICES {
        let stack = stack(service, "prod");
        for kind in ["AWS::Lambda::Permission", "AWS::Lambda::EventSourceMapping"] {
            for (name, it) in stack.all(kind) {
                let called = it["FunctionName"]["Ref"].as_str().unwrap();
                assert!(called.ends_with("Live"), "{name}");
            }
        }
    }
}

/// R6.1: 1,000 at once in an account, of which prod has 900 to itself; the others share the rest.
#[test]
fn a_thousand_functions_run_at_once() {
    for env in everywhere() {
        let reserved = SERVICES.iter().flat_map(|service| {
            let stack = stack(service, env);
            let all = stack.all("AWS::Lambda::Function");
            let all = all.iter().map(|(_, it)| it["ReservedConcurrentExecutions"].as_u64());
            all.collect::<Vec<_>>()
        });
        let reserved: Vec<_> = reserved.collect();
        if env == "prod" {
            assert!(reserved.iter().all(Option::is_some), "each has its own");
        }
        let sum: u64 = reserved.into_iter().flatten().sum();
        assert_eq!(sum, if env == "prod" { 900 } else { 0 });
    }
}

/// R2.10, R8.4: every function and the REST API are traced, 5 of 100 requests.
#[test]
fn five_of_a_hundred_requests_are_traced() {
    each(|_, _, name, function| {
        assert_eq!(function["TracingConfig"], json!({"Mode": "Active"}), "{name}");
    });
    for env in everywhere() {
        let stack = stack("shared", env);
        let stage = stack.one("AWS::ApiGateway::Stage");
        assert_eq!(stage["TracingEnabled"], true);
        let rule = &stack.one("AWS::XRay::SamplingRule")["SamplingRule"];
        assert_eq!(rule["FixedRate"], 0.05);
        assert_eq!(rule["ServiceName"], format!("mini-sns-{env}-rest/{env}"));
    }
}

/// Letters come from the domain that the stack was given, sent by the function of the routes alone;
/// without a domain nobody may send any.
#[test]
fn letters_are_sent_from_the_own_domain_alone() {
    let may_send = |stack: &Stack| -> Vec<(String, Value)> {
        let roles = stack.all("AWS::IAM::Role");
        let statements = roles.iter().flat_map(|(role, it)| {
            let policies = list(&it["Policies"]).iter();
            let all = policies.flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]));
            all.map(move |statement| ((*role).to_owned(), statement.clone()))
        });
        statements.filter(|(_, it)| it["Action"].to_string().contains("ses:")).collect()
    };
    let from = |stack: &Stack| stack.named("Users")["Environment"]["Variables"].clone();
    for env in everywhere() {
        let without = stack("user", env);
        assert_eq!(may_send(&without), []);
        assert_eq!(from(&without)["MINI_SNS_MAIL_FROM"], "");
        let with = [("Env", env), ("MailDomain", "example.org"), ("EmailConfirmation", "limit")];
        let with = stack_with("user", &with);
        let [(role, statement)] = &may_send(&with)[..] else { panic!("one role sends") };
        assert_eq!((role.as_str(), &statement["Action"]), ("UsersRole", &json!("ses:SendEmail")));
        let identity = statement["Resource"].as_str().unwrap();
        assert!(identity.contains(":ses:") && identity.ends_with(":identity/example.org"));
        assert_eq!(from(&with)["MINI_SNS_MAIL_FROM"], "Mini-SNS <no-reply@example.org>");
        assert_eq!(from(&with)["MINI_SNS_EMAIL_CONFIRMATION"], "limit");
        assert!(breaches(&with.0).is_empty());
    }
}

/// R8.1 and the settings in docs/operate/lambda.md: what a function needs is set.
#[test]
fn functions_have_the_settings_that_they_need() {
    each(|env, _, name, function| {
        let set = &function["Environment"]["Variables"];
        let sets = |variable: &str| !set[variable].is_null();
        if name != "PreSignUp" {
            assert_eq!(set["MINI_SNS_ENV_NAME"], env, "{name}");
        }
        let is = |names: &[&str]| names.contains(&name);
        let is_timelines = is(&["Timeline", "ReactTimeline", "SocketMessage"]);
        let knows_pool =
            is_timelines || is(&["Users", "ReactUsers", "Posts", "Social", "Authorizer"]);
        for (variable, wanted) in [
            ("MINI_SNS_COGNITO_POOL_ID", knows_pool),
            ("MINI_SNS_COGNITO_CLIENT_ID", knows_pool),
            ("MINI_SNS_REDIS_URLS", is_timelines || is(&["SocketConnect", "SocketDisconnect"])),
            ("MINI_SNS_CONNECTIONS_URL", is(&["ReactTimeline", "SocketMessage"])),
            ("MINI_SNS_SERVICE", name.starts_with("Relay")),
        ] {
            assert_eq!(sets(variable), wanted, "{variable} of {name}");
        }
        let text = set.to_string().to_lowercase();
        assert!(!text.contains("secret") && !text.contains("password"), "{name}");
    });
}

/// The resources that a role may use, each with the actions; what has no name of ours (traces, the
/// network) left out.
fn allowed(stack: &Stack, role: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for statement in list(&stack.named(role)["Policies"][0]["PolicyDocument"]["Statement"]) {
        if statement["Effect"] == "Deny" {
            continue;
        }
        for resource in list(&statement["Resource"]) {
            let text = resource.as_str().map_or_else(|| resource.to_string(), str::to_owned);
            for action in texts(&statement["Action"]) {
                all.push((action.to_owned(), text.clone()));
            }
        }
    }
    all
}

/// R1.5, R5.3: one role a function, and in it its own log, its service's own table and queues, the
/// bus for who publishes, the pool for who keeps accounts, and nothing else.
#[test]
fn each_role_reaches_its_own_things_alone() {
    for env in everywhere() {
        for service in SERVICES.into_iter().chain(["shared"]) {
            let stack = stack(service, env);
            assert_eq!(breaches(&stack.0), Vec::<String>::new());
            assert_eq!(foreign(service, &stack.0), Vec::<String>::new());
            for (logical, (_, function)) in stack.functions() {
                let role = function["Role"]["Fn::GetAtt"][0].as_str().unwrap();
                assert_eq!(stack.named(role)["RoleName"], logical, "the role is its own");
                assert!(stack.named(role)["ManagedPolicyArns"].is_null());
                for (action, resource) in allowed(&stack, role) {
                    assert!(is_own(&action, &resource, role), "{role} may {action} {resource}");
                }
            }
        }
    }
}

/// Whether an action on a resource is among the duties of the function that has the role.
fn is_own(action: &str, resource: &str, role: &str) -> bool {
    let attribute = |of: &str| json!({"Fn::GetAtt": [of, "Arn"]}).to_string();
    let (service, _) = action.split_once(':').unwrap();
    match service {
        "logs" => resource == attribute(&role.replace("Role", "Log")),
        "xray" => true,
        "dynamodb" if role.starts_with("Relay") => {
            let stream = json!({"Fn::GetAtt": ["Table", "StreamArn"]}).to_string();
            let streams = "${Table.Arn}/stream/*";
            match action {
                "dynamodb:BatchWriteItem" => resource == attribute("Table"),
                "dynamodb:ListStreams" => resource == streams,
                _ => resource == stream,
            }
        }
        "dynamodb" => {
            resource == attribute("Table")
                && !["Authorizer", "SocketConnect", "SocketDisconnect", "PreSignUp"]
                    .iter()
                    .any(|it| role.starts_with(it))
        }
        // Every queue of a stack belongs to its one consumer.
        "sqs" if role.starts_with("Relay") => resource == attribute("RelayDead"),
        "sqs" => role.starts_with("React") && !resource.contains("RelayDead"),
        "events" => role.starts_with("Relay") && resource.contains("-event-bus-arn"),
        "cognito-idp" => {
            ["UsersRole", "ReactUsersRole"].contains(&role) && resource.contains("-user-pool-arn")
        }
        "execute-api" if action == "execute-api:ManageConnections" => {
            ["ReactTimelineRole", "SocketMessageRole"].contains(&role)
                && resource.contains("/@connections/*")
        }
        // Whom exactly: `only_functions_that_ask_may_invoke_and_only_whom_they_ask`.
        "lambda" => action == "lambda:InvokeFunction" && resource.ends_with(":live"),
        "ec2" => ["Timeline", "ReactTimeline", "Socket"].iter().any(|it| role.starts_with(it)),
        _ => false,
    }
}

/// R1.2, R1.5: a function invokes those whom it asks, by their aliases, and a gateway or the pool
/// those that it names. No other leave to invoke them is given.
#[test]
fn only_functions_that_ask_may_invoke_and_only_whom_they_ask() {
    for env in everywhere() {
        let alias = |name: &str| {
            format!("arn:aws:lambda:eu-west-1:123456789012:function:mini-sns-{env}-{name}:live")
        };
        let all: Vec<_> = SERVICES.iter().flat_map(|it| names(&stack(it, env), env)).collect();
        for service in SERVICES.into_iter().chain(["shared"]) {
            let stack = stack(service, env);
            for (_, (logical, function)) in stack.functions() {
                let asks: &[&str] = match logical {
                    "Authorizer" => &["users"],
                    "Posts" => &["users", "social"],
                    "Social" => &["users", "posts"],
                    "Timeline" | "ReactTimeline" | "SocketMessage" => &["users", "posts", "social"],
                    _ => &[],
                };
                assert!(asks.iter().all(|name| all.contains(&(*name).to_owned())), "{asks:?}");
                let role = function["Role"]["Fn::GetAtt"][0].as_str().unwrap();
                let may = allowed(&stack, role).into_iter();
                let may = may.filter(|(action, _)| action.starts_with("lambda:"));
                let may: Vec<_> = may.map(|(_, resource)| resource).collect();
                let wanted: Vec<_> = asks.iter().map(|name| alias(name)).collect();
                assert_eq!(may, wanted, "{logical}");
            }
            for (name, permission) in stack.all("AWS::Lambda::Permission") {
                let by = permission["Principal"].as_str().unwrap();
                let known = ["apigateway.amazonaws.com", "cognito-idp.amazonaws.com"];
                assert!(known.contains(&by), "{name}: {by}");
                assert!(!permission["SourceArn"].is_null(), "{name}");
            }
        }
    }
}
