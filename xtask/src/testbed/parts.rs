//! The parts of the bed: how each is started, and what it is asked to know that it works.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::answer::{aws_call, redis_call};
use super::install::Programs;

/// Hash slots of a Redis cluster.
const SLOTS: u16 = 16_384;
/// Processes of the cluster: the fewest that can be one.
const CLUSTER_NODES: u16 = 3;

/// A part of the bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Part {
    /// `DynamoDB` and its streams.
    Dynamodb,
    /// The same by others, for whole processes: it takes transactions of a hundred writes.
    Dynoxide,
    /// Every other service of AWS.
    Services,
    /// All of AWS, for stacks: it looks at what roles may do.
    Guarded,
    /// One Redis.
    Redis,
    /// Redis in cluster mode.
    RedisCluster,
}

impl Part {
    /// All of them, the slowest to start first.
    pub(super) const ALL: [Self; 6] = [
        Self::Dynamodb,
        Self::Services,
        Self::Guarded,
        Self::Dynoxide,
        Self::Redis,
        Self::RedisCluster,
    ];

    /// Its name in `testbed.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dynamodb => "dynamodb",
            Self::Dynoxide => "dynoxide",
            Self::Services => "services",
            Self::Guarded => "guarded",
            Self::Redis => "redis",
            Self::RedisCluster => "redisCluster",
        }
    }

    /// How many processes it is.
    pub(super) fn processes(self) -> u16 {
        if self == Self::RedisCluster { CLUSTER_NODES } else { 1 }
    }

    /// The address of its process at this port.
    pub(super) fn url(self, port: u16) -> String {
        match self {
            Self::Dynamodb | Self::Dynoxide | Self::Services | Self::Guarded => {
                format!("http://127.0.0.1:{port}")
            }
            Self::Redis | Self::RedisCluster => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// Its command line, with whatever it writes in `folder`.
    pub(super) fn command(self, port: u16, programs: &Programs, folder: &Path) -> Command {
        let mut command = match self {
            Self::Dynamodb => dynamodb(port, programs),
            Self::Dynoxide => dynoxide(port, programs, folder),
            Self::Services | Self::Guarded => services(port, programs, folder),
            Self::Redis | Self::RedisCluster => redis(port, programs),
        };
        if self == Self::RedisCluster {
            command.args(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
        }
        if self == Self::Guarded {
            command.env("AUTH", "true");
        }
        command.env("TMPDIR", folder);
        command
    }

    /// Asks for something that only works when the part does.
    pub(super) fn ask(self, ports: &[u16]) -> Result<()> {
        match (self, ports) {
            (Self::Dynamodb | Self::Dynoxide, [port]) => {
                aws_call(*port, "dynamodb", "DynamoDB_20120810.ListTables").map(|_| ())
            }
            (Self::Services | Self::Guarded, [port]) => {
                aws_call(*port, "sqs", "AmazonSQS.ListQueues")?;
                aws_call(*port, "events", "AWSEvents.ListEventBuses").map(|_| ())
            }
            (Self::Redis, [port]) => match redis_call(*port, "PING")?.as_str() {
                "PONG" => Ok(()),
                other => bail!("answered {other:?} to PING"),
            },
            (Self::RedisCluster, [_, ..]) => cluster(ports),
            _ => bail!("is not running"),
        }
    }
}

/// In memory, and one world for whatever credentials and region come: as many tests as like share
/// it. The program has no option to listen on loopback alone.
fn dynamodb(port: u16, programs: &Programs) -> Command {
    let mut command = Command::new("java");
    command
        .current_dir(&programs.dynamodb)
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-Djava.library.path=./DynamoDBLocal_lib"])
        .args(["-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", "-port"])
        .arg(port.to_string());
    command
}

/// In memory: what it holds goes with it.
fn dynoxide(port: u16, programs: &Programs, folder: &Path) -> Command {
    let mut command = Command::new(&programs.dynoxide);
    command
        .current_dir(folder)
        .args(["serve", "--host", "127.0.0.1", "--log", "quiet", "--port"])
        .arg(port.to_string());
    command
}

fn services(port: u16, programs: &Programs, folder: &Path) -> Command {
    let mut command = Command::new(programs.ministack.join("bin/python"));
    command
        .current_dir(folder)
        .args(["-m", "ministack"])
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("IOT_MTLS_ENABLED", "0")
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("STATE_DIR", folder.join("state"))
        .env("S3_DATA_DIR", folder.join("s3"))
        .env_remove("PYTHONPATH")
        .env_remove("AWS_ENDPOINT_URL");
    command
}

fn redis(port: u16, programs: &Programs) -> Command {
    let mut command = Command::new(&programs.redis);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]).args([
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command
}

/// Makes the nodes one cluster where they are not yet, and asks each whether it thinks so.
fn cluster(ports: &[u16]) -> Result<()> {
    for (port, (from, to)) in ports.iter().zip(slots(ports.len())) {
        let info = redis_call(*port, "CLUSTER INFO")?;
        if field(&info, "cluster_slots_assigned") == Some("0") {
            expect_ok(*port, &format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?;
        }
        if field(&info, "cluster_known_nodes") == Some("1") {
            for other in ports.iter().filter(|other| *other != port) {
                expect_ok(*port, &format!("CLUSTER MEET 127.0.0.1 {other}"))?;
            }
        }
    }
    for port in ports {
        let info = redis_call(*port, "CLUSTER INFO")?;
        let is = |name, value: &str| field(&info, name) == Some(value);
        let whole = is("cluster_state", "ok")
            && is("cluster_slots_ok", &SLOTS.to_string())
            && is("cluster_size", &ports.len().to_string());
        if !whole {
            bail!("the node at port {port} does not know the whole cluster yet");
        }
    }
    Ok(())
}

fn expect_ok(port: u16, command: &str) -> Result<()> {
    match redis_call(port, command).with_context(|| command.to_owned())?.as_str() {
        "OK" => Ok(()),
        other => bail!("answered {other:?} to {command}"),
    }
}

/// The first and last slot of each node.
fn slots(nodes: usize) -> Vec<(usize, usize)> {
    let all = usize::from(SLOTS);
    (0..nodes).map(|node| (node * all / nodes, (node + 1) * all / nodes - 1)).collect()
}

/// The value of `name:value` in what INFO tells.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_belongs_to_one_node() {
        assert_eq!(slots(3), [(0, 5_460), (5_461, 10_921), (10_922, 16_383)]);
        assert_eq!(slots(1), [(0, 16_383)]);
    }

    #[test]
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "cluster_state:ok\r\ncluster_slots_ok:5\r\n";
        assert_eq!(field(info, "cluster_state"), Some("ok"));
        assert_eq!(field(info, "cluster_slots_ok"), Some("5"));
        assert_eq!(field(info, "cluster_slots"), None);
    }

    #[test]
    fn a_part_without_processes_does_not_answer() {
        for part in Part::ALL {
            assert!(part.ask(&[]).is_err());
        }
    }

    #[test]
    fn names_are_those_of_the_file() {
        for part in Part::ALL {
            assert_eq!(serde_json::to_value(part).unwrap(), part.name());
        }
    }
}
