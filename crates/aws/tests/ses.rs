//! Letters by SES: what is asked is signed as AWS checks it, and a refusal names no address.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

use std::sync::{Arc, Mutex};

use aws::peers::SigV4;
use aws::ses::Ses;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_lc_rs::{digest, hmac};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use conformance::TestClock;
use kernel::Code;
use kernel::mail::{Letter, Mailer};
use serde_json::{Value, json};

const PATH: &str = "/v2/email/outbound-emails";
const SECRET: &str = "the secret";
const FROM: &str = "Mini-SNS <no-reply@example.org>";

type Asked = Arc<Mutex<Vec<Value>>>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature as AWS computes it: Signature Version 4.
fn signature(headers: &HeaderMap, body: &[u8], signed: &str, scope: &str) -> String {
    let text = |name: &str| headers[name].to_str().unwrap();
    let lines: String = signed.split(';').map(|it| format!("{it}:{}\n", text(it))).collect();
    let sha256 = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let canonical = format!("POST\n{PATH}\n\n{lines}\n{signed}\n{}", sha256(body));
    let date = text("x-amz-date");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = format!("AWS4{SECRET}").into_bytes();
    hex(&sign(&scope.split('/').fold(key, |key, part| sign(&key, part)), &to_sign))
}

/// Takes letters that are rightly signed, but for one address.
async fn take(State(asked): State<Asked>, headers: HeaderMap, body: Bytes) -> Response {
    let refused = |status: StatusCode, kind: &'static str| {
        let told = json!({"message": "The address is not verified: refused@example.org"});
        (status, [("x-amzn-errortype", kind)], told.to_string()).into_response()
    };
    let authorization = headers["authorization"].to_str().unwrap();
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name).unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let credential = part("Credential=");
    let (id, scope) = credential.split_once('/').unwrap();
    let expected = signature(&headers, &body, &part("SignedHeaders="), scope);
    let scope_is_right = scope == "20260101/eu-west-1/ses/aws4_request" && id == "AKID";
    if !scope_is_right || part("Signature=") != expected {
        return refused(StatusCode::FORBIDDEN, "InvalidSignatureException");
    }
    let letter: Value = serde_json::from_slice(&body).unwrap();
    let to = letter["Destination"]["ToAddresses"][0].clone();
    asked.lock().unwrap().push(letter);
    if to == "refused@example.org" {
        return refused(StatusCode::BAD_REQUEST, "MessageRejected");
    }
    axum::Json(json!({"MessageId": "1"})).into_response()
}

async fn ses(secret: &str) -> (Ses, Asked) {
    let asked = Asked::default();
    let router = Router::new().route(PATH, post(take)).with_state(Arc::clone(&asked));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let session = Some("session".to_owned());
    let role = Credentials::new("AKID", secret, session, None, "test");
    let signature = SigV4::new(SharedCredentialsProvider::new(role), "eu-west-1", TestClock::new());
    (Ses::new(Some(&url), "eu-west-1", FROM, signature).unwrap(), asked)
}

fn letter(to: &str) -> Letter {
    let (subject, text) = ("Your code: コード".to_owned(), "1234-5678\n".to_owned());
    Letter { to: to.to_owned(), subject, text }
}

#[tokio::test]
async fn a_letter_is_handed_over_as_it_is_with_a_signature_that_holds() {
    let (ses, asked) = ses(SECRET).await;
    ses.send(letter("ann@example.org")).await.unwrap();
    let asked = asked.lock().unwrap();
    let expected = json!({
        "FromEmailAddress": FROM,
        "Destination": {"ToAddresses": ["ann@example.org"]},
        "Content": {"Simple": {
            "Subject": {"Data": "Your code: コード", "Charset": "UTF-8"},
            "Body": {"Text": {"Data": "1234-5678\n", "Charset": "UTF-8"}},
        }},
    });
    assert_eq!(*asked, [expected]);
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind_and_without_the_address() {
    let (ses, asked) = ses(SECRET).await;
    let problem = ses.send(letter("refused@example.org")).await.unwrap_err();
    let cause = problem.cause.as_ref().unwrap().to_string();
    assert_eq!((problem.code, asked.lock().unwrap().len()), (Code::Unavailable, 1));
    assert_eq!(cause, "SES refused the letter: 400 Bad Request MessageRejected");
}

#[tokio::test]
async fn who_signs_with_another_secret_is_refused() {
    let (ses, asked) = ses("another").await;
    let problem = ses.send(letter("ann@example.org")).await.unwrap_err();
    let cause = problem.cause.as_ref().unwrap().to_string();
    assert!(cause.ends_with("InvalidSignatureException"), "{cause}");
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn a_sender_is_an_address() {
    let role = || Credentials::new("AKID", SECRET, None, None, "test");
    let signature =
        || SigV4::new(SharedCredentialsProvider::new(role()), "eu-west-1", TestClock::new());
    for from in ["", "Mini-SNS", "a@b.example\r\nBcc: c@d.example", "é <a@b.example>"] {
        assert!(Ses::new(None, "eu-west-1", from, signature()).is_none(), "{from:?}");
    }
}
