//! What operators do to what is deployed, on the test bed: releases by the state machine of
//! `infra/canary.yaml`, which moves real aliases of real functions and looks at real alarms and
//! metrics, and the commands of docs/operate, run as they stand there.
//!
//! What MiniStack does otherwise than AWS: it keeps an alias's weights and does not apply them, so
//! that nobody is called here and the tests themselves write down the calls that failed; it gives
//! the values of a metric as text; it evaluates no alarm, so that tests set the states; and it has
//! no StartMessageMoveTask.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod aws;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use aws::{Aws, split};

const SUCCEEDED: &str = "SUCCEEDED";
const TENTH: fn(&str) -> Value = |version| json!({version: 0.1});
const NONE: Value = Value::Null;

/// The input of a run that gives each function this version.
fn to(version: &str, names: &[&String], step_secs: u32) -> Value {
    let function = |name: &&String| json!({"name": name, "version": version});
    let functions: Vec<_> = names.iter().map(function).collect();
    json!({"functions": functions, "stepSeconds": step_secs})
}

fn at(version: &str, weights: Value) -> (String, Value) {
    (version.to_owned(), weights)
}

/// Waits until the alias is there.
fn reaches(aws: &mut Aws, name: &str, place: &(String, Value)) {
    aws.until("the alias moves", |aws| (aws.alias(name) == *place).then_some(()));
}

#[test]
fn a_good_version_gets_10_then_50_then_100_percent_of_the_calls() {
    let mut aws = Aws::with_canary();
    let (users, relay) = (aws.function("users", 2), aws.function("relay-user", 2));
    let begin = Instant::now();
    let run = aws.start(&to("2", &[&users, &relay], 1));
    assert_eq!(aws.end(&run).0, SUCCEEDED);
    assert!(begin.elapsed() >= Duration::from_secs(3), "three steps were waited for");

    let calls = aws.calls(&run);
    for name in [&users, &relay] {
        let moves = calls.iter().filter(|(action, answer)| {
            action == "updateAlias" && answer["AliasArn"].as_str().unwrap().contains(name.as_str())
        });
        let moves: Vec<_> = moves.map(|(_, alias)| split(alias)).collect();
        let half = json!({"2": 0.5});
        let steps = [at("1", TENTH("2")), at("1", half), at("2", NONE), at("2", NONE)];
        assert_eq!(moves, steps);
        assert_eq!(aws.alias(name), at("2", NONE));
    }
    // Both looks before each step, but for the first, before which there are no calls yet.
    let looks: Vec<_> = calls.iter().map(|(action, _)| action.as_str()).collect();
    let looks: Vec<_> = looks.iter().filter(|action| !action.starts_with("getF")).collect();
    let step = ["describeAlarms", "getMetricData", "updateAlias", "updateAlias"];
    let first = ["getAlias", "getAlias", "describeAlarms", "updateAlias", "updateAlias"];
    let wanted: Vec<_> = first.iter().chain(&step).chain(&step).chain(&step).collect();
    assert_eq!(looks, wanted);

    // Again, it has nothing to do, and does nothing.
    let again = aws.start(&to("2", &[&users, &relay], 1));
    assert_eq!(aws.end(&again).0, SUCCEEDED);
    assert!(!aws.calls(&again).iter().any(|(action, _)| action == "updateAlias"));
}

#[test]
fn an_alarm_sends_all_functions_back_and_lets_none_begin() {
    let mut aws = Aws::with_canary();
    let (posts, react) = (aws.function("posts", 2), aws.function("react-posts", 2));
    let input = to("2", &[&posts, &react], 3);
    let run = aws.start(&input);
    reaches(&mut aws, &react, &at("1", TENTH("2")));
    aws.set_alarm("ALARM");
    let (error, cause) = aws.end(&run);
    assert_eq!(
        (error.as_str(), cause.as_str()),
        ("RolledBack", "firing: mini-sns-dev-canary-errors")
    );
    assert_eq!(aws.alias(&posts), at("1", NONE));
    assert_eq!(aws.alias(&react), at("1", NONE));

    let run = aws.start(&input);
    assert_eq!(aws.end(&run).0, "RolledBack");
    let moves = aws.calls(&run).into_iter().filter(|(action, _)| action == "updateAlias");
    assert!(moves.into_iter().all(|(_, alias)| split(&alias) == at("1", NONE)));

    // One that is not there is no silence.
    let mut unknown = to("2", &[&posts], 1);
    unknown["alarms"] = json!(["mini-sns-dev-no-such"]);
    let (error, cause) = aws.run(&unknown);
    assert_eq!(error, "RolledBack");
    assert_eq!(cause, "there is no alarm mini-sns-dev-no-such");

    // What mends the alarm can be rolled out while it fires.
    let mut all_the_same = to("2", &[&posts], 1);
    all_the_same["alarms"] = json!([]);
    assert_eq!(aws.run(&all_the_same).0, SUCCEEDED);
    assert_eq!(aws.alias(&posts), at("2", NONE));
}

#[test]
fn more_than_5_percent_of_errors_of_a_new_version_send_all_functions_back() {
    let mut aws = Aws::with_canary();
    let (posts, react) = (aws.function("posts", 2), aws.function("react-posts", 2));
    // Another version's errors are not this one's.
    aws.count(&posts, "1", 100, 100);
    let run = aws.start(&to("2", &[&posts, &react], 3));
    reaches(&mut aws, &react, &at("1", TENTH("2")));
    aws.count(&posts, "2", 100, 5);
    reaches(&mut aws, &react, &at("1", json!({"2": 0.5})));
    aws.count(&react, "2", 100, 6);
    let (error, cause) = aws.end(&run);
    assert_eq!(error, "RolledBack");
    assert!(cause.starts_with("mini-sns-dev-react-posts:2 failed 6 of 100 calls"), "{cause}");
    assert_eq!(aws.alias(&posts), at("1", NONE));
    assert_eq!(aws.alias(&react), at("1", NONE));
}

#[test]
fn what_an_interrupted_run_left_is_mended_by_the_next_or_by_hand() {
    let mut aws = Aws::with_canary();
    let (users, react) = (aws.function("users", 3), aws.function("react-users", 3));
    let mut without = to("2", &[&users, &react], 1);
    without.as_object_mut().unwrap().remove("stepSeconds");
    let run = aws.start(&without);
    for name in [&users, &react] {
        reaches(&mut aws, name, &at("1", TENTH("2")));
    }
    // Five minutes are the default, so nothing has moved yet.
    thread::sleep(Duration::from_secs(3));
    aws.stop(&run);
    assert_eq!(aws.end(&run).0, "ABORTED");
    assert_eq!(aws.alias(&users), at("1", TENTH("2")), "left as it was");

    // By hand, as docs/operate/rollback.md says.
    let command = "aws lambda update-alias --function-name mini-sns-dev-users --name live \
                   --routing-config AdditionalVersionWeights={}";
    assert!(aws.shell(command).status.success());
    assert_eq!(aws.alias(&users), at("1", NONE));

    // By the next run, which goes on from what was live before: here back to it.
    aws.set_alarm("ALARM");
    assert_eq!(aws.run(&to("3", &[&users, &react], 1)).0, "RolledBack");
    assert_eq!(aws.alias(&react), at("1", NONE));
    aws.set_alarm("OK");

    // Stopped at 100 %, before that was watched: such a version is not one to go back to.
    let run = aws.start(&to("2", &[&users, &react], 2));
    for name in [&users, &react] {
        reaches(&mut aws, name, &at("2", NONE));
    }
    aws.stop(&run);
    let next = aws.start(&to("3", &[&users, &react], 2));
    reaches(&mut aws, &users, &at("1", TENTH("3")));
    aws.set_alarm("ALARM");
    assert_eq!(aws.end(&next).0, "RolledBack");
    for name in [&users, &react] {
        assert_eq!(aws.alias(name), at("1", NONE));
    }
}

#[test]
fn a_run_that_starts_meanwhile_takes_over_and_the_older_one_stops() {
    let mut aws = Aws::with_canary();
    let (social, react) = (aws.function("social", 3), aws.function("react-social", 3));
    let older = aws.start(&to("2", &[&social, &react], 3));
    reaches(&mut aws, &react, &at("1", TENTH("2")));
    let newer = aws.start(&to("3", &[&react], 3));
    let (error, cause) = aws.end(&older);
    assert_eq!(error, "RolledBackInPart");
    let told = "left as it is: mini-sns-dev-react-social: somebody else has changed it since";
    assert!(cause.contains(told), "{cause}");
    assert_eq!(aws.alias(&social), at("1", NONE));
    assert_eq!(aws.end(&newer).0, SUCCEEDED);
    assert_eq!(aws.alias(&react), at("3", NONE));
}

#[test]
fn an_input_that_cannot_be_meant_changes_nothing() {
    let mut aws = Aws::with_canary();
    let name = aws.function("posts", 2);
    let good = to("2", &[&name], 1);
    let with = |key: &str, value: Value| {
        let mut input = good.clone();
        input[key] = value;
        input
    };
    let functions = |value: Value| with("functions", value);
    let one = &good["functions"][0];
    for input in [
        json!({}),
        json!([]),
        json!("2"),
        functions(json!([])),
        functions(json!([7])),
        functions(one.clone()),
        functions(json!([one, one])),
        functions(
            (0..21).map(|n| json!({"name": format!("{name}-{n}"), "version": "2"})).collect(),
        ),
        functions(json!([{"name": "other", "version": "2"}])),
        functions(json!([{"name": "mini-sns-prod-posts", "version": "2"}])),
        functions(json!([{"name": name, "version": "$LATEST"}])),
        functions(json!([{"name": name, "version": 2}])),
        functions(json!([{"name": name, "version": "2", "weight": 10}])),
        with("stepSeconds", json!(0)),
        with("stepSeconds", json!(1.5)),
        with("stepSeconds", json!("300")),
        with("stepSeconds", json!(3601)),
        with("alarms", json!("mini-sns-dev-canary-errors")),
        with("alarms", json!(["other"])),
        with("stepSecond", json!(1)),
    ] {
        let run = aws.start(&input);
        assert_eq!(aws.end(&run).0, "BadInput", "{input}");
        assert!(aws.calls(&run).is_empty());
    }
    let (error, cause) = aws.run(&to("9", &[&name], 1));
    assert_eq!(error, "NotReadable");
    assert!(cause.contains("ResourceNotFoundException"), "{cause}");
    assert_eq!(aws.alias(&name), at("1", NONE));
}

#[test]
fn a_stack_is_released_by_one_command_and_taken_back_by_another() {
    let mut aws = Aws::with_canary();
    let function = json!({
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": "mini-sns-dev-posts", "Runtime": "provided.al2023",
            "Handler": "bootstrap", "Role": "arn:aws:iam::000000000000:role/none",
            "Code": {"ZipFile": "none"},
        },
    });
    let first = json!({"FunctionName": {"Ref": "Posts"}});
    let live = json!({
        "FunctionName": {"Ref": "Posts"}, "Name": "live",
        "FunctionVersion": {"Fn::GetAtt": ["PostsFirst", "Version"]},
    });
    let resources = json!({
        "Posts": function,
        "PostsFirst": {"Type": "AWS::Lambda::Version", "Properties": first},
        "PostsLive": {"Type": "AWS::Lambda::Alias", "Properties": live},
    });
    aws.deploy("mini-sns-dev-post", &json!({"Resources": resources}).to_string());
    let name = "mini-sns-dev-posts";
    assert_eq!(aws.alias(name), at("1", NONE));
    let change = json!({"FunctionName": name, "Description": "another"});
    aws.call("lambda", "update_function_configuration", &change);

    let released = aws.shell("infra/release.sh dev post '\"stepSeconds\": 1'");
    let said = String::from_utf8_lossy(&released.stdout).into_owned();
    assert!(released.status.success(), "{released:?}");
    assert!(said.starts_with("mini-sns-dev-posts: version 2\n"), "{said}");
    assert!(said.ends_with("SUCCEEDED\n"), "{said}");
    assert_eq!(aws.alias(name), at("2", NONE));

    let back = aws.shell(
        "aws lambda update-alias --function-name mini-sns-dev-posts --name live \
         --function-version 1 --routing-config AdditionalVersionWeights={}",
    );
    assert!(back.status.success(), "{back:?}");
    assert_eq!(aws.alias(name), at("1", NONE));

    aws.set_alarm("ALARM");
    let refused = aws.shell("infra/release.sh dev post");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("RolledBack\tfiring: mini-sns-dev-canary-errors"), "{said}");
    assert_eq!(aws.alias(name), at("1", NONE));
}

#[test]
fn dead_letters_are_moved_to_a_queue_by_one_command() {
    let mut aws = Aws::in_an_account();
    let url = |aws: &mut Aws, name: &str| {
        let made = aws.call("sqs", "create_queue", &json!({"QueueName": name}));
        made["QueueUrl"].as_str().unwrap().to_owned()
    };
    let (dead, live) =
        (url(&mut aws, "mini-sns-dev-event-bus-dlq"), url(&mut aws, "mini-sns-dev-a"));
    let letters =
        [r#"{"detail-type": "PostCreated", "detail": {"text": "a \\ b \n \"c\" 東京 %s"}}"#, "2"];
    for letter in letters {
        let attributes = json!({"RULE_ARN": {"DataType": "String", "StringValue": "a"}});
        let send = json!({
            "QueueUrl": dead, "MessageBody": letter, "MessageAttributes": attributes,
        });
        aws.call("sqs", "send_message", &send);
    }
    let moved = aws.shell("infra/redrive.sh mini-sns-dev-event-bus-dlq mini-sns-dev-a");
    let said = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert_eq!(said, "2 moved from mini-sns-dev-event-bus-dlq to mini-sns-dev-a\n", "{moved:?}");
    let all = |aws: &mut Aws, url: &str| {
        let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
        let got = aws.call("sqs", "receive_message", &receive);
        let bodies = got["Messages"].as_array().into_iter().flatten();
        let mut bodies: Vec<_> = bodies.map(|it| it["Body"].as_str().unwrap().to_owned()).collect();
        bodies.sort_by_key(String::len);
        bodies
    };
    assert_eq!(all(&mut aws, &live), [letters[1], letters[0]]);
    assert!(all(&mut aws, &dead).is_empty());
    let again = aws.shell("infra/redrive.sh mini-sns-dev-event-bus-dlq mini-sns-dev-a");
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("0 moved"), "{again:?}");
}

#[test]
fn all_functions_of_an_environment_are_taken_out_and_put_back() {
    let mut aws = Aws::in_an_account();
    let (limited, free) = (aws.function("posts", 1), aws.function("users", 1));
    let limit = json!({"FunctionName": limited, "ReservedConcurrentExecutions": 150});
    aws.call("lambda", "put_function_concurrency", &limit);
    let limits = |aws: &mut Aws| {
        [&limited, &free].map(|name| {
            let asked = json!({"FunctionName": name});
            let limit = aws.call("lambda", "get_function_concurrency", &asked);
            limit["ReservedConcurrentExecutions"].clone()
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits");
    // Twice, as after a run that was broken off.
    for _ in 0..2 {
        let paused = aws.shell(&format!("infra/pause.sh dev >>{}", file.display()));
        assert!(paused.status.success(), "{paused:?}");
        assert_eq!(limits(&mut aws), [json!(0), json!(0)]);
    }
    let resumed = aws.shell(&format!("infra/pause.sh dev --resume <{}", file.display()));
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(limits(&mut aws), [json!(150), NONE]);
}

/// MiniStack lets a state machine do everything, so the deployed role is asked what it allows.
#[test]
fn the_canary_may_do_what_it_does_and_nothing_else() {
    let mut aws = Aws::with_canary();
    let role = aws.role();
    let function = "arn:aws:lambda:us-east-1:000000000000:function:mini-sns-";
    let alarm = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:mini-sns-";
    for (action, resource, allowed) in [
        ("lambda:GetFunctionConfiguration", format!("{function}dev-posts:2"), true),
        ("lambda:GetAlias", format!("{function}dev-posts"), true),
        ("lambda:UpdateAlias", format!("{function}dev-posts"), true),
        ("lambda:UpdateAlias", format!("{function}prod-posts"), false),
        ("lambda:UpdateFunctionCode", format!("{function}dev-posts"), false),
        ("lambda:InvokeFunction", format!("{function}dev-posts"), false),
        ("cloudwatch:DescribeAlarms", format!("{alarm}dev-canary-errors"), true),
        ("cloudwatch:SetAlarmState", format!("{alarm}dev-canary-errors"), false),
        ("cloudwatch:GetMetricData", "*".to_owned(), true),
        ("cloudwatch:PutMetricData", "*".to_owned(), false),
    ] {
        // The account is this test's own.
        let resource = resource.replace("000000000000", aws.account());
        let asked = json!({
            "PolicySourceArn": role, "ActionNames": [action], "ResourceArns": [resource],
        });
        let answer = aws.call("iam", "simulate_principal_policy", &asked);
        let decision = answer["EvaluationResults"][0]["EvalDecision"].as_str().unwrap();
        assert_eq!(decision == "allowed", allowed, "{action} on {resource}: {decision}");
    }
}
