//! An account of one's own on the test bed.

use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// An archive with no files in it: nobody calls these functions.
const NOTHING: &str = "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==";

/// boto3, in the environment that the test bed has for MiniStack.
pub(crate) struct Aws {
    account: String,
    boto: Child,
    answers: BufReader<ChildStdout>,
    machine: String,
}

impl Aws {
    /// An empty account.
    pub(crate) fn in_an_account() -> Self {
        let (mut boto, account) = boto();
        let answers = BufReader::new(boto.stdout.take().unwrap());
        Self { account, boto, answers, machine: String::new() }
    }

    /// An empty account, and the stack of the canary deployed to it.
    pub(crate) fn with_canary() -> Self {
        let mut aws = Self::in_an_account();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/canary.yaml");
        let template = fs::read_to_string(template).unwrap();
        let made = aws.deploy("mini-sns-dev-canary", &template);
        aws.machine = made["Outputs"][0]["OutputValue"].as_str().unwrap().to_owned();
        aws
    }

    /// Makes a stack, and waits until it is there.
    pub(crate) fn deploy(&mut self, name: &str, template: &str) -> Value {
        let stack = json!({"StackName": name});
        let mut create = stack.clone();
        create["TemplateBody"] = template.into();
        create["Capabilities"] = json!(["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]);
        self.call("cloudformation", "create_stack", &create);
        self.until("the stack is there", |aws| {
            let found = aws.call("cloudformation", "describe_stacks", &stack);
            let found = &found["Stacks"][0];
            let status = found["StackStatus"].as_str().unwrap();
            assert!(!status.contains("ROLLBACK"), "{found}");
            (status == "CREATE_COMPLETE").then(|| found.clone())
        })
    }

    pub(crate) fn try_call(
        &mut self,
        service: &str,
        operation: &str,
        arguments: &Value,
    ) -> Result<Value, String> {
        let line = json!([service, operation, arguments]).to_string();
        writeln!(self.boto.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    pub(crate) fn call(&mut self, service: &str, operation: &str, arguments: &Value) -> Value {
        let answer = self.try_call(service, operation, arguments);
        answer.unwrap_or_else(|error| panic!("{service} {operation} {arguments}: {error}"))
    }

    /// Asks again and again until there is an answer.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let begin = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "never: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A function with this many versions, whose alias `live` is at the first.
    pub(crate) fn function(&mut self, name: &str, versions: usize) -> String {
        let name = format!("mini-sns-dev-{name}");
        self.call(
            "lambda",
            "create_function",
            &json!({
                "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap",
                "Role": "arn:aws:iam::000000000000:role/none", "Code": {"ZipFile": NOTHING},
            }),
        );
        for version in 1..=versions {
            let change = json!({"FunctionName": name, "Description": version.to_string()});
            self.call("lambda", "update_function_configuration", &change);
            let made = self.call("lambda", "publish_version", &json!({"FunctionName": name}));
            assert_eq!(made["Version"], version.to_string());
        }
        let alias = json!({"FunctionName": name, "Name": "live", "FunctionVersion": "1"});
        self.call("lambda", "create_alias", &alias);
        name
    }

    /// Where the alias is: its version, and the part of the calls that another one gets.
    pub(crate) fn alias(&mut self, name: &str) -> (String, Value) {
        let alias =
            self.call("lambda", "get_alias", &json!({"FunctionName": name, "Name": "live"}));
        split(&alias)
    }

    /// The role that the state machine has.
    pub(crate) fn role(&mut self) -> String {
        let machine = json!({"stateMachineArn": self.machine});
        let machine = self.call("stepfunctions", "describe_state_machine", &machine);
        machine["roleArn"].as_str().unwrap().to_owned()
    }

    /// The account's number.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn set_alarm(&mut self, state: &str) {
        let alarm = json!({
            "AlarmName": "mini-sns-dev-canary-errors", "StateValue": state, "StateReason": "a test",
        });
        self.call("cloudwatch", "set_alarm_state", &alarm);
    }

    /// What Lambda would have counted of a version behind a split alias.
    pub(crate) fn count(&mut self, name: &str, version: &str, calls: u32, errors: u32) {
        let dimensions = json!([
            {"Name": "FunctionName", "Value": name},
            {"Name": "Resource", "Value": format!("{name}:live")},
            {"Name": "ExecutedVersion", "Value": version},
        ]);
        for (metric, value) in [("Invocations", calls), ("Errors", errors)] {
            let data = json!([{"MetricName": metric, "Value": value, "Dimensions": dimensions}]);
            let put = json!({"Namespace": "AWS/Lambda", "MetricData": data});
            self.call("cloudwatch", "put_metric_data", &put);
        }
    }

    /// Starts a run.
    pub(crate) fn start(&mut self, input: &Value) -> String {
        let start = json!({"stateMachineArn": self.machine, "input": input.to_string()});
        let run = self.call("stepfunctions", "start_execution", &start);
        run["executionArn"].as_str().unwrap().to_owned()
    }

    /// Waits for a run's end: its status, or the error that it ended with, and the cause.
    pub(crate) fn end(&mut self, run: &str) -> (String, String) {
        self.until("the run ends", |aws| {
            let run = json!({"executionArn": run});
            let run = aws.call("stepfunctions", "describe_execution", &run);
            let text = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
            match text("status").as_str() {
                "RUNNING" => None,
                "FAILED" => Some((text("error"), text("cause"))),
                status => Some((status.to_owned(), String::new())),
            }
        })
    }

    pub(crate) fn run(&mut self, input: &Value) -> (String, String) {
        let run = self.start(input);
        self.end(&run)
    }

    /// Runs a command of the shell, with the AWS CLI where the account is; and what it says.
    pub(crate) fn shell(&self, command: &str) -> Output {
        let folder = installed("aws-cli/bin");
        let path = env::join_paths(
            [folder].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())),
        );
        let mut bash = Command::new("bash");
        // This release of the CLI takes the variable for some services only.
        let there = "aws() { command aws --endpoint-url \"$SERVICES\" \"$@\"; }; export -f aws";
        bash.args(["-euo", "pipefail", "-c", &format!("{there}\n{command}")]);
        bash.env("PATH", path.unwrap());
        bash.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        credentials(&mut bash, &self.account).env("SERVICES", services());
        bash.output().unwrap()
    }

    /// Breaks a run off, as an operator or a lost account would.
    pub(crate) fn stop(&mut self, run: &str) {
        self.call("stepfunctions", "stop_execution", &json!({"executionArn": run}));
    }

    /// The calls that a run has made, in turn: the action, and the answer.
    pub(crate) fn calls(&mut self, run: &str) -> Vec<(String, Value)> {
        let history = json!({"executionArn": run, "maxResults": 1000});
        let history = self.call("stepfunctions", "get_execution_history", &history);
        let events = history["events"].as_array().unwrap().iter();
        let done = events.filter(|event| event["type"] == "TaskSucceeded");
        done.map(|event| {
            let details = &event["taskSucceededEventDetails"];
            let action = details["resource"].as_str().unwrap().rsplit(':').next().unwrap();
            let answer = serde_json::from_str(details["output"].as_str().unwrap()).unwrap();
            (action.to_owned(), answer)
        })
        .collect()
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        let _ = self.boto.kill();
        let _ = self.boto.wait();
    }
}

/// The version of an alias, and the weights of others.
pub(crate) fn split(alias: &Value) -> (String, Value) {
    let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].clone();
    (alias["FunctionVersion"].as_str().unwrap().to_owned(), weights)
}

fn boto() -> (Child, String) {
    // MiniStack takes twelve digits for the number of an account, and keeps accounts apart.
    let random = RandomState::new().build_hasher().finish();
    let account = format!("{:012}", random % 1_000_000_000_000);
    let mut boto = Command::new(installed("ministack/bin/python"));
    boto.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/delivery/boto.py")).arg(services());
    credentials(&mut boto, &account).stdin(Stdio::piped()).stdout(Stdio::piped());
    (boto.spawn().expect("the test bed's Python is there: cargo xtask testbed install"), account)
}

/// Any secret does, and the machine's own credentials are never used.
fn credentials<'a>(command: &'a mut Command, account: &str) -> &'a mut Command {
    command.env("AWS_ACCESS_KEY_ID", account).env("AWS_SECRET_ACCESS_KEY", "test");
    command.env("AWS_DEFAULT_REGION", "us-east-1")
}

/// Where MiniStack is.
fn services() -> String {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/testbed.json");
    let path = env::var_os("MINI_SNS_TESTBED").map_or_else(usual, PathBuf::from);
    let bed = fs::read(&path)
        .unwrap_or_else(|_| panic!("start the test bed: cargo xtask testbed up ({path:?})"));
    let bed: Value = serde_json::from_slice(&bed).unwrap();
    bed["services"].as_str().unwrap().to_owned()
}

/// What the test bed has installed.
fn installed(path: &str) -> PathBuf {
    let cache = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(cache) if cache.is_absolute() => cache,
        _ => PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"),
    };
    cache.join("mini-sns/testbed").join(path)
}
