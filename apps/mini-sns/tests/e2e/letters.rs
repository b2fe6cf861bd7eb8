//! Letters: to a server that takes mail, and to the log where there is none.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::person::{Answer, Person};
use crate::server::{Server, eventually};

/// What came, one letter each.
type Box = Arc<Mutex<Vec<String>>>;

/// A server that takes every letter (RFC 5321, as much as one sender needs).
async fn post_office() -> (String, Box) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let letters = Box::default();
    let kept = Arc::clone(&letters);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream, Arc::clone(&kept)));
        }
    });
    (url, letters)
}

async fn take(stream: TcpStream, letters: Box) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 office ESMTP\r\n").await.ok()?;
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
        let verb = line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-office\r\n250 8BITMIME\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let mut letter = String::new();
                while !letter.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut letter).await.ok().filter(|bytes| *bytes > 0)?;
                }
                letters.lock().unwrap().push(letter);
                "250 taken\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 yes\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// What a letter says.
fn text(letter: &str) -> String {
    let (head, body) = letter.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Transfer-Encoding: base64"), "{head}");
    let body: String = body.trim_end_matches(".\r\n").split_whitespace().collect();
    String::from_utf8(STANDARD.decode(body).unwrap()).unwrap().replace("\r\n", "\n")
}

/// The code in the newest of `count` letters to an address.
async fn code(letters: &Box, to: &str, count: usize) -> String {
    eventually("the letter comes", async || {
        let letters = letters.lock().unwrap();
        let to = format!("To: {to}");
        let own: Vec<_> = letters.iter().filter(|letter| letter.contains(&to)).collect();
        let letter = own.last().filter(|_| own.len() == count)?;
        let text = text(letter);
        text.lines().find_map(|line| line.strip_prefix("    ")).map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn an_address_is_confirmed_and_a_lost_password_replaced_by_letters() {
    let (url, letters) = post_office().await;
    let server = Server::start(&[
        "--smtp-url",
        &url,
        "--mail-from",
        "Mini-SNS <sns@example.org>",
        "--email-confirmation",
        "limit",
    ])
    .await;
    let ann = Person::register(&server).await;
    let first = code(&letters, &ann.email, 1).await;
    assert!(letters.lock().unwrap()[0].contains("From: Mini-SNS <sns@example.org>"));
    for number in 0..3 {
        ann.post(&format!("number {number}")).await;
    }
    let fourth = json!({"text": "a fourth"});
    ann.post_to("/posts", &fourth).await.problem(403, "email_unconfirmed");
    ann.post_to("/users/me/email/confirm", &json!({"code": first})).await.expect(204);
    assert_eq!(ann.get("/users/me").await.expect(200)["emailConfirmed"], true);
    // Posts hear of it by an event.
    eventually("a fourth post is allowed", async || {
        let answer = ann.post_to("/posts", &fourth).await;
        (answer.status == 201).then_some(())
    })
    .await;

    let send = async |path: &str, body: Value| {
        let request = server.http.post(format!("{}{path}", server.url)).json(&body);
        Answer::of(request.send().await.unwrap()).await
    };
    send("/auth/password/forgot", json!({"email": ann.email})).await.expect(202);
    let second = code(&letters, &ann.email, 2).await;
    let reset = json!({"email": ann.email, "code": second, "password": "another-horse-2"});
    send("/auth/password/reset", reset).await.expect(204);
    let ended = ann.request(Method::GET, "/users/me").send().await.unwrap();
    assert_eq!(ended.status(), 401);
    let login = json!({"email": ann.email, "password": "another-horse-2"});
    send("/auth/login", login).await.expect(200);
    server.verified().await;
}

#[tokio::test]
async fn bad_mail_options_are_refused_without_their_secrets() {
    for options in [
        &["--smtp-url", "smtps://user:hush@host"][..],
        &["--smtp-url", "nonsense:hush", "--mail-from", "a@example.org"],
        &["--smtp-url", "smtps://user:hush@host", "--mail-from", "not an address"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = crate::server::program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let output = command.arg("--data").arg(dir.path()).args(options).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("mini-sns:")).count();
        assert_eq!((output.status.code(), lines), (Some(2), 1), "{options:?}: {text}");
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("smtp_url") || text.contains("mail_from"), "{text}");
    }
}
