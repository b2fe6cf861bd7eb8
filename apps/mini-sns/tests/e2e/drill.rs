//! The pages for operators, done as they are written, on a machine of the test's own.
//!
//! The machine is this one seen through namespaces: its own network, its own `/etc`, `/var/lib` and
//! `/usr/local/bin`, which are gone with it. There is no systemd in it, so a script does with the
//! units what the pages ask of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::collector::Collector;
use crate::person::PASSWORD;
use crate::server::eventually;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const CONFIGURATION: &str = "/etc/mini-sns/mini-sns.toml";
const URL: &str = "http://127.0.0.1:8080";

/// Makes the machine, and then runs what it is told.
const MACHINE: &str = r#"
set -e
ip link set lo up
cp -a /etc "$DRILL/etc" 2>/dev/null || true
mount --bind "$DRILL/etc" /etc
mount -t tmpfs none /var/lib
mount -t tmpfs none /usr/local/bin
cp "$DRILL/systemctl" /usr/local/bin/systemctl
printf '#!/bin/sh\nexec "$@"\n' > /usr/local/bin/sudo
# What the page builds is what is tested.
printf '#!/bin/sh\n' > /usr/local/bin/cargo
chmod 755 /usr/local/bin/*
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
systemd-socket-activate --listen=127.0.0.1:4318 \
    /usr/lib/systemd/systemd-socket-proxyd "$DRILL/collector" 2>/dev/null &
cd "$DRILL/checkout"
while IFS= read -r script; do
    status=0
    bash -e -c "$(printf '%s' "$script" | base64 --decode)" < /dev/null 2>&1 || status=$?
    printf '\nended with %s\n' "$status"
done
"#;

/// `systemctl` for these two units, without the sandbox.
const SYSTEMCTL: &str = r#"#!/bin/bash -e
units=/etc/systemd/system/mini-sns
start() {
    listen=$(sed -n 's/^ListenStream=/--listen=/p' $units.socket)
    command=$(sed -n '/^ExecStart=/,/[^\\]$/p' $units.service | tr -d '\\\n')
    command=${command#ExecStart=}
    (cd /var/lib && mkdir -p $(sed -n 's/^StateDirectory=//p' $units.service))
    systemd-socket-activate $listen $command >> "$DRILL/log" 2>&1 < /dev/null &
    echo $! > "$DRILL/pid"
    # As with systemd, the sockets are there when this returns; whoever comes early waits.
    for port in $(sed -n 's/^ListenStream=.*://p' $units.socket); do
        listens=$(printf ':%04X 00000000:0000 0A' "$port")
        until grep -q "$listens" /proc/net/tcp; do kill -0 $!; sleep 0.02; done
    done
}
stop() {
    kill "$(cat "$DRILL/pid")"
    tail --pid="$(cat "$DRILL/pid")" -f /dev/null
}
case $1 in
    daemon-reload) ;;
    enable | start) start ;;
    stop) stop ;;
    restart) stop; start ;;
    *) echo "not in a drill: $1" >&2; exit 1 ;;
esac
"#;

struct Machine {
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let build = dir.path().join("checkout/target/dist");
        fs::create_dir_all(&build).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_mini-sns"), build.join("mini-sns")).unwrap();
        std::os::unix::fs::symlink(
            fs::canonicalize(REPOSITORY).unwrap().join("docs"),
            dir.path().join("checkout/docs"),
        )
        .unwrap();
        fs::write(dir.path().join("systemctl"), SYSTEMCTL).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount-proc", "bash", "-c", MACHINE]).env("DRILL", dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let input = shell.stdin.take().unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap());
        Self { shell, input, output, dir }
    }

    /// Runs a script; what it prints, and its exit code.
    fn tries(&mut self, script: &str) -> (String, i32) {
        use base64::Engine;
        let script = base64::engine::general_purpose::STANDARD.encode(script);
        writeln!(self.input, "{script}").unwrap();
        let mut told = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the machine runs: {told}");
            match line.strip_prefix("ended with ") {
                Some(code) => return (told.trim().to_owned(), code.trim().parse().unwrap()),
                None => told.push_str(&line),
            }
        }
    }

    /// Runs a script that has to succeed.
    #[track_caller]
    fn does(&mut self, script: &str) -> String {
        let (told, code) = self.tries(script);
        assert_eq!(code, 0, "{script}\n{told}\n{}", self.log());
        told
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Calls the API, with a person's token.
    fn calls(&mut self, method: &str, path: &str, token: &str, body: &str) -> Value {
        let sent = if body.is_empty() { String::new() } else { format!("-d '{body}'") };
        let told = self.does(&format!(
            "curl -sS --fail-with-body -X {method} {URL}{path} -H 'authorization: Bearer {token}' \
             -H 'content-type: application/json' {sent}"
        ));
        if told.is_empty() { Value::Null } else { serde_json::from_str(&told).unwrap() }
    }

    fn registers(&mut self, handle: &str) -> Value {
        let email = format!("{handle}@example.org");
        let person = json!({
            "email": email, "password": PASSWORD, "handle": handle, "displayName": handle,
        });
        self.calls("POST", "/auth/register", "", &person.to_string())
    }

    fn posts(&mut self, token: &str, text: &str) -> String {
        let post = self.calls("POST", "/posts", token, &format!(r#"{{"text":"{text}"}}"#));
        post["postId"].as_str().unwrap().to_owned()
    }

    /// Waits until the timeline of the token's owner begins with these.
    async fn shows(&mut self, token: &str, texts: &[&str]) {
        eventually("the timeline shows them", async || {
            let page = self.calls("GET", "/timeline", token, "");
            let items = page["items"].as_array().unwrap();
            let first = items.iter().map(|item| item["post"]["text"].as_str().unwrap());
            first.take(texts.len()).eq(texts.iter().copied()).then_some(())
        })
        .await;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The commands of a page's section, one string for each block.
fn commands(page: &str, section: &str) -> Vec<String> {
    let path = PathBuf::from(REPOSITORY).join("docs/operate").join(page);
    let text = fs::read_to_string(path).unwrap();
    let heading = format!("\n## {section}\n");
    let (_, rest) = text.split_once(&heading).expect("the page has the section");
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("\n```sh\n").skip(1);
    let blocks: Vec<String> =
        blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect();
    assert!(!blocks.is_empty(), "the section has commands");
    blocks
}

/// The one line of a section's commands that holds this.
fn line(page: &str, section: &str, holds: &str) -> String {
    let blocks = commands(page, section).join("\n");
    let found: Vec<&str> = blocks.lines().filter(|line| line.contains(holds)).collect();
    assert_eq!(found.len(), 1, "{page}, {section}: {holds}");
    found[0].to_owned()
}

/// A machine on which the installation's page was followed.
fn installed() -> Machine {
    let mut machine = Machine::new();
    for block in commands("single-machine.md", "Install") {
        machine.does(&block);
    }
    machine.does("curl -sf http://127.0.0.1:9090/ready");
    machine
}

/// Goes on with these lines in the configuration beside its own.
fn configured(machine: &mut Machine, lines: &str) {
    let kept = line("single-machine.md", "Install", "mini-sns.toml");
    machine.does(&format!("{kept}\nprintf '{lines}' >> {CONFIGURATION}"));
    machine.does(&line("single-machine.md", "Restart and upgrade", "systemctl"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_lead_from_an_installation_over_a_lost_disk_back_to_the_data() {
    let mut machine = installed();
    let token = |session: Value| session["accessToken"].as_str().unwrap().to_owned();
    let author = token(machine.registers("author"));
    machine.posts(&author, "before the disk is lost");
    machine.shows(&author, &["before the disk is lost"]).await;

    // The page speaks of another disk; this is where the unit puts the copies.
    let here = |text: &str| text.replace("/backup/mini-sns", "/var/lib/mini-sns-backup");
    let told = machine.does(&line("backup.md", "On demand", "asks the running server"));
    let moment = told.split_whitespace().find(|word| word.ends_with('Z')).expect("a moment");
    machine.posts(&author, "after the copy");
    machine.does("kill -9 \"$(cat \"$DRILL/pid\")\"; rm -r /var/lib/mini-sns/*");

    let [restore] = &commands("backup.md", "Restore")[..] else { panic!("one block") };
    let (stop, rest) = restore.split_once('\n').unwrap();
    assert_eq!(stop, "systemctl stop mini-sns mini-sns.socket");
    machine.does(&here(rest).replace("2026-11-30T10:15:00Z", moment));
    machine.shows(&author, &["before the disk is lost"]).await;
    let body = json!({"email": "author@example.org", "password": PASSWORD});
    let again = token(machine.calls("POST", "/auth/login", "", &body.to_string()));
    machine.posts(&again, "life goes on");
    machine.shows(&again, &["life goes on", "before the disk is lost"]).await;

    // Since the restore there are copies of two data directories.
    let listed = machine.does(&here(&line("backup.md", "Set up", "mini-sns backups")));
    let lost = listed.split_whitespace().find(|word| word.len() == 26).expect("an id");
    let drill = here(&commands("backup.md", "Drill, each quarter").join("\n"));
    let drill = drill.replace("/tmp/drill", "/var/lib/drill");
    let drill = drill.replace("mini-sns restore", &format!("mini-sns restore --of {lost}"));
    let (before, serve) = drill.split_once("\nmini-sns serve").expect("it is looked at");
    let (options, remove) = serve.split_once("      # sign in, look, stop\n").unwrap();
    machine.does(&format!(
        "{before}\nmini-sns serve {options} &
        curl -sf --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:8090/health
        kill $! && wait $!\n{remove}"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_tell_why_a_post_was_late_and_bring_a_dead_letter_back() {
    let mut machine = installed();
    let (collector, socket) = (Collector::default(), machine.dir.path().join("collector"));
    let (router, socket) = (collector.router(), UnixListener::bind(socket).unwrap());
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    let token = machine.registers("author")["accessToken"].as_str().unwrap().to_owned();

    let endpoint = line("trace.md", "Seeing traces", "--otlp-endpoint");
    let endpoint = endpoint.split_whitespace().last().unwrap();
    configured(&mut machine, &format!("otlp_endpoint = \"{endpoint}\"\ntrace_slow = \"1ms\"\n"));
    let answer = machine.does(&format!(
        "curl -sfi {URL}/posts -H 'authorization: Bearer {token}' \
         -H 'content-type: application/json' -d '{{\"text\":\"was it late?\"}}'"
    ));
    let request = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    // As the page says: `grep <request id> log | jq .trace_id`.
    let trace = machine.does(&format!(
        "grep '^{{' \"$DRILL/log\" | grep {} | jq -r .trace_id | sort -u",
        request.trim()
    ));
    let late = collector.find("the delivery of the late post", |span| {
        span.trace == trace && span.name == "consume timeline-fanout"
    });
    let late = late.await;
    assert!(late.told("waited_ms").parse::<u64>().is_ok(), "{late:?}");
    let whole = collector.trace(&trace);
    assert!(whole.iter().any(|span| span.name == "POST /posts"), "{whole:?}");

    // Hardly a fan-out ends within a millisecond, so before long an event is given up.
    configured(&mut machine, "queue_visibility = \"1ms\"\nqueue_receives_max = 1\n");
    let list = line("redrive.md", "Where a process of ours runs", "dlq list");
    let letter = eventually("an event is given up", async || {
        machine.posts(&token, "is given up");
        let listed = machine.does(&list);
        let mut words = listed.split_whitespace();
        words.find(|word| word.starts_with("timeline-fanout:")).map(str::to_owned)
    });
    let letter = letter.await;
    configured(&mut machine, "");
    let of_letter = |holds: &str| {
        let line = line("redrive.md", "Where a process of ours runs", holds);
        line.replace("timeline-follow:01J...", &letter)
    };
    let shown: Value = serde_json::from_str(&machine.does(&of_letter("dlq show"))).unwrap();
    let post = shown["message"]["event"]["data"]["postId"].as_str().unwrap().to_owned();
    machine.does(&of_letter("one again"));
    eventually("the post is in the timeline", async || {
        let page = machine.calls("GET", "/timeline?limit=100", &token, "");
        let items = page["items"].as_array().unwrap();
        items.iter().any(|item| item["post"]["postId"] == post.as_str()).then_some(())
    })
    .await;
}
