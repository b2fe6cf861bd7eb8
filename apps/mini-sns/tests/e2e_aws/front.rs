//! Debian's nginx in front of the processes, by the documented file with our addresses in it.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::bed::free_port;
use crate::program::eventually;

/// The file as operators take it.
const DOCUMENTED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/nginx.conf"));

/// What operators have in Debian's own file, with everything that is written kept in one place.
const AROUND: &str = "user root;\npid DIR/pid;\nerror_log DIR/error.log;\n\
    events { worker_connections 1024; }\nhttp {\n\
    client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;\n\
    uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;\ninclude DIR/mini-sns.conf;\n}\n";

pub(crate) struct Front {
    child: Child,
    pub(crate) url: String,
    _dir: tempfile::TempDir,
}

impl Front {
    /// Starts it before the user, post, social and timeline processes at these addresses.
    pub(crate) async fn start(urls: [&str; 4]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap();
        fs::write(dir.path().join("nginx.conf"), AROUND.replace("DIR", place)).unwrap();
        for _ in 0..10 {
            let port = free_port();
            let mut config = replaced(DOCUMENTED, "/var/log/nginx", place);
            config = replaced(&config, "listen 8080;", &format!("listen 127.0.0.1:{port};"));
            for (documented, url) in (8081..).zip(urls) {
                let documented = format!("server 127.0.0.1:{documented};");
                let address = url.trim_start_matches("http://");
                config = replaced(&config, &documented, &format!("server {address};"));
            }
            fs::write(dir.path().join("mini-sns.conf"), config).unwrap();
            // One process alone, so that nothing outlives it.
            let mut command = Command::new("nginx");
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
            command.args(["-p", place, "-c", &format!("{place}/nginx.conf")]);
            command.args(["-g", "daemon off; master_process off;"]).stderr(Stdio::null());
            let mut child = command.spawn().expect("nginx is there: cargo xtask testbed install");
            let listens = eventually("nginx listens or ends", async || {
                let ended = child.try_wait().unwrap().is_some();
                let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
                (ended || listens).then_some(listens && !ended)
            })
            .await;
            if listens {
                return Self { child, url: format!("http://127.0.0.1:{port}"), _dir: dir };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("nginx does not start: {:?}", fs::read_to_string(dir.path().join("error.log")));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn replaced(text: &str, documented: &str, ours: &str) -> String {
    assert_eq!(text.matches(documented).count(), 1, "{documented:?} is in the file once");
    text.replace(documented, ours)
}
