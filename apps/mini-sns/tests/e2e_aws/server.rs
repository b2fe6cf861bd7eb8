//! A running Mini-SNS of one's own: a process a service, each with its own table.

use std::process::{Command, ExitStatus};
use std::time::Duration;

pub(crate) use crate::program::{client, eventually, program};

use crate::bed::{Bed, Redis, aws_environment, free_port};
use crate::front::Front;
use crate::program::Running;

/// How long anything that must happen may take on a slow machine, with emulators on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The services in the order in which they are started: each asks only those before it, but for
/// the post service, which asks the social service too.
pub(crate) const SERVICES: [&str; 4] = ["user", "post", "social", "timeline"];

/// The contract's number.
pub(crate) const VISIBILITY: &str = "30s";

#[derive(Clone, Copy)]
pub(crate) enum Service {
    User,
    Post,
    Social,
    Timeline,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    pub(crate) redis: Redis,
    running: Vec<Running>,
    /// Where the social service will be: the post service, which starts before, asks it.
    social: String,
    front: Option<Front>,
    bed: Bed,
    options: Vec<String>,
}

impl Server {
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::start_on(Bed::provision(VISIBILITY), options).await
    }

    pub(crate) async fn start_on(bed: Bed, options: &[&str]) -> Self {
        if let Some(at) = options.iter().position(|option| *option == "--access-token-ttl") {
            let secs = options[at + 1].trim_end_matches('s').parse().unwrap();
            bed.shorten_access_tokens(secs).await;
        }
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let (http, redis) = (client(), Redis::start());
        let (running, front, url) = (Vec::new(), None, String::new());
        let social = format!("127.0.0.1:{}", free_port());
        let mut server = Self { url, http, redis, running, social, front, bed, options };
        for name in SERVICES {
            let listen = if name == "social" { &server.social } else { "127.0.0.1:0" };
            let process = Running::spawn(server.command(name, listen)).await;
            server.running.push(process);
        }
        let urls = [0, 1, 2, 3].map(|index| server.running[index].url.as_str());
        let front = Front::start(urls).await;
        server.url.clone_from(&front.url);
        server.front = Some(front);
        server
    }

    fn command(&self, name: &str, listen: &str) -> Command {
        let bed = &self.bed;
        let mut command = program();
        aws_environment(&mut command);
        command.env("MINI_SNS_INTERNAL_SECRET", "one secret of thirty-two bytes or more");
        command.args(["serve", "--backend", "aws", "--services", name, "--listen", listen]);
        // Emulators on a busy machine take their time where AWS does not.
        command.args(["--request-timeout", "9s"]);
        command.args(["--env-name", &bed.env_name, "--queue-visibility", &bed.visibility]);
        command.args(["--dynamodb-url", &bed.dynamodb_url, "--aws-url", &bed.aws_url]);
        command.args(["--cognito-pool-id", &bed.pool_id, "--cognito-client-id", &bed.client_id]);
        command.args(["--cognito-keys-url", &bed.keys_url()]);
        command.args(["--redis-urls", &self.redis.url(), "--trusted-proxies", "127.0.0.1"]);
        for (peer, running) in SERVICES.iter().zip(&self.running).take(2) {
            if *peer != name {
                command.args([&format!("--peer-{peer}-url"), &running.url]);
            }
        }
        if name != "social" {
            command.args(["--peer-social-url", &format!("http://{}", self.social)]);
        }
        command.args(&self.options);
        command
    }

    /// `mini-sns restore` on this world's tables; what it takes more is added.
    pub(crate) fn restore(&self) -> Command {
        let bed = &self.bed;
        let mut command = program();
        aws_environment(&mut command);
        command.args(["restore", "--backend", "aws", "--env-name", &bed.env_name]);
        command.args(["--dynamodb-url", &bed.dynamodb_url, "--aws-url", &bed.aws_url]);
        command.args(["--cognito-pool-id", &bed.pool_id, "--cognito-client-id", &bed.client_id]);
        command.args(["--redis-urls", &self.redis.url()]);
        command
    }

    /// The process of a service.
    pub(crate) fn process(&self, service: Service) -> &Running {
        &self.running[service as usize]
    }

    pub(crate) fn kill_one(&mut self, service: Service) {
        self.running[service as usize].kill();
    }

    /// Starts a service's process again, where it was.
    pub(crate) async fn start_one(&mut self, service: Service) {
        let index = service as usize;
        let listen = self.running[index].url.trim_start_matches("http://").to_owned();
        self.running[index].kill();
        self.running[index] = Running::spawn(self.command(SERVICES[index], &listen)).await;
    }

    pub(crate) fn kill(&mut self) {
        self.running.iter_mut().for_each(Running::kill);
    }

    /// Starts the processes again.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        for service in [Service::User, Service::Post, Service::Social, Service::Timeline] {
            self.start_one(service).await;
        }
        self.http = client();
    }

    /// Asks all to stop, as an operator would.
    pub(crate) fn terminate(&self) {
        self.running.iter().for_each(Running::terminate);
    }

    /// Waits for the end of all, and gives the first bad one, if any is.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let mut ends = Vec::new();
        for process in &mut self.running {
            ends.push(process.exited().await);
        }
        let bad = ends.iter().find(|end| !end.success());
        *bad.unwrap_or(&ends[0])
    }

    /// Waits until every event has been handled, and demands that none ended in the dead letters.
    pub(crate) async fn settled(&self) {
        // The processes are asked one after the other, and an event may pass from one that was not
        // asked yet to one that was. It cannot do so twice in a row: it would be in a queue then.
        let mut quiet = 0;
        eventually("outboxes and queues are empty", async || {
            let mut left = 0;
            for process in &self.running {
                left += process.unhandled(&self.http).await?;
            }
            quiet = if left == 0 { quiet + 1 } else { 0 };
            (quiet == 2).then_some(())
        })
        .await;
    }

    /// Demands that nothing is left over, and a clean stop.
    pub(crate) async fn verified(mut self) {
        self.settled().await;
        self.terminate();
        assert_eq!(self.exited().await.code(), Some(0), "a clean stop");
    }
}
