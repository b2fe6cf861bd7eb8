//! HTTPS by the server's own means.

use std::fs;

use serde_json::Value;

use crate::server::{PATIENCE, Server};

#[tokio::test]
async fn a_certificate_makes_it_https() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start(&files).await;
    assert!(server.url.starts_with("https://"));

    let url = server.url.replace("127.0.0.1", "localhost");
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    for oldest in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
        let client = reqwest::Client::builder().tls_version_min(oldest).tls_version_max(oldest);
        let client = client.tls_certs_only([root.clone()]).timeout(PATIENCE).build().unwrap();
        let answer = client.get(format!("{url}/health")).send().await.unwrap();
        assert!(answer.headers().contains_key("strict-transport-security"));
        let health: Value = answer.json().await.unwrap();
        assert_eq!(health["status"], "ok");
    }
    let stranger = server.http.get(format!("{url}/health")).send().await;
    assert!(stranger.is_err(), "the certificate is really checked");
}
