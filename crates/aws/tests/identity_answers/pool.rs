//! A pool that answers as AWS documents it: it rotates refresh tokens and knows used ones, and an
//! address is an alias of one user only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use conformance::TestClock;
use kernel::Clock;
use serde_json::{Value, json};

use crate::server::{Answer, Signer, refusal};

pub(crate) const POOL: &str = "us-east-1_Pool";
pub(crate) const CLIENT: &str = "client1";

/// The pool and its signing key.
pub(crate) struct Pool {
    signer: Signer,
    clock: Arc<TestClock>,
    pub(crate) state: Mutex<State>,
}

/// An answer in place of the pool's own.
pub(crate) struct Fault {
    pub(crate) operation: &'static str,
    pub(crate) times: usize,
    pub(crate) answer: fn() -> Answer,
}

#[derive(Default)]
pub(crate) struct State {
    /// Passwords and addresses by username.
    pub(crate) users: BTreeMap<String, (String, String)>,
    /// Good refresh tokens, with their user and session.
    pub(crate) good: BTreeMap<String, (String, String)>,
    used: Vec<String>,
    issued: usize,
    pub(crate) calls: Vec<String>,
    pub(crate) faults: Vec<Fault>,
}

fn text(input: &Value, path: &str) -> String {
    input.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn done() -> Answer {
    Answer::Json(200, json!({}))
}

fn unknown() -> Answer {
    refusal("UserNotFoundException", "User does not exist.")
}

impl Pool {
    pub(crate) fn new(clock: Arc<TestClock>) -> Arc<Self> {
        Arc::new(Self { signer: Signer::new("one"), clock, state: Mutex::default() })
    }

    pub(crate) fn answer(&self, operation: &str, input: &Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        state.calls.push(operation.to_owned());
        let mut faults = state.faults.iter_mut();
        if let Some(fault) = faults.find(|one| one.operation == operation && one.times > 0) {
            fault.times -= 1;
            return (fault.answer)();
        }
        match operation {
            "AdminInitiateAuth" => {
                let name = text(input, "/AuthParameters/USERNAME");
                let password = text(input, "/AuthParameters/PASSWORD");
                if state.users.get(&name).is_none_or(|user| user.0 != password) {
                    return refusal("NotAuthorizedException", "Incorrect username or password.");
                }
                let session = format!("session-{}", state.issued);
                self.tokens(&mut state, name, session)
            }
            "GetTokensFromRefreshToken" => {
                let token = text(input, "/RefreshToken");
                if state.used.contains(&token) {
                    return refusal("RefreshTokenReuseException", "Refresh token was used.");
                }
                let Some((name, session)) = state.good.remove(&token) else {
                    return refusal("NotAuthorizedException", "Refresh Token has been revoked");
                };
                state.used.push(token);
                self.tokens(&mut state, name, session)
            }
            path if path.ends_with("jwks.json") => {
                Answer::Json(200, json!({ "keys": [self.signer.public] }))
            }
            _ => state.keep(operation, input),
        }
    }

    fn tokens(&self, state: &mut State, name: String, session: String) -> Answer {
        state.issued += 1;
        let (now, refresh) = (self.clock.now().secs(), format!("refresh.{}", state.issued));
        let access = self.signer.sign(&json!({
            "sub": "f3a4c2d1", "username": name, "client_id": CLIENT, "token_use": "access",
            "iss": format!("https://cognito-idp.us-east-1.amazonaws.com/{POOL}"),
            "origin_jti": session, "jti": state.issued, "iat": now, "exp": now + 3600,
        }));
        state.good.insert(refresh.clone(), (name, session));
        let result = json!({"AccessToken": access, "RefreshToken": refresh, "ExpiresIn": 3600});
        Answer::Json(200, json!({ "AuthenticationResult": result }))
    }
}

impl State {
    /// The calls that keep users.
    fn keep(&mut self, operation: &str, input: &Value) -> Answer {
        let name = text(input, "/Username");
        match operation {
            "AdminCreateUser" => {
                let email = text(input, "/UserAttributes/0/Value");
                if self.users.contains_key(&name) {
                    return refusal("UsernameExistsException", "User account already exists");
                }
                if self.users.values().any(|user| user.1 == email) {
                    return refusal("AliasExistsException", "An account with this email exists.");
                }
                self.users.insert(name.clone(), (String::new(), email));
                Answer::Json(200, json!({"User": {"Username": name}}))
            }
            "AdminSetUserPassword" => {
                self.users.get_mut(&name).unwrap().0 = text(input, "/Password");
                done()
            }
            "AdminGetUser" => {
                let found = self.users.iter().find(|(key, user)| **key == name || user.1 == name);
                found.map_or_else(unknown, |(key, _)| Answer::Json(200, json!({"Username": key})))
            }
            "RevokeToken" => {
                self.good.remove(&text(input, "/Token"));
                done()
            }
            "AdminUserGlobalSignOut" => {
                self.good.retain(|_, owner| owner.0 != name);
                done()
            }
            "AdminDeleteUser" => self.users.remove(&name).map_or_else(unknown, |_| done()),
            other => panic!("nobody should ask for {other}"),
        }
    }
}
