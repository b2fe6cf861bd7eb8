//! The access token of a request.

use http::header::{AUTHORIZATION, UPGRADE};
use http::request::Parts;

/// What the caller sent to prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent<'a> {
    /// Nothing that this system reads.
    Nothing,
    /// Something that cannot be a token.
    Unreadable,
    /// A token, to be verified.
    Token(&'a str),
}

/// Finds the token: `Authorization: Bearer`, or, since browsers cannot set a header when they open
/// a WebSocket, the query parameter `token` of an upgrade to `/ws`.
pub(crate) fn sent<'a>(parts: &'a Parts, route: &str, token_max_bytes: usize) -> Sent<'a> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (None, _) if route == "/ws" && is_websocket(parts) => query_token(parts),
        (None, _) => return Sent::Nothing,
        (Some(value), None) => {
            let text = value.to_str().unwrap_or_default();
            match text.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token),
                None if text.eq_ignore_ascii_case("bearer") || text.is_empty() => Some(""),
                _ => return Sent::Nothing,
            }
        }
        (Some(_), Some(_)) => return Sent::Unreadable,
    };
    let Some(token) = token else { return Sent::Nothing };
    let token = token.trim_matches(' ');
    // Without an early end, so that it is done for many bytes at once.
    let graphic = token.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic());
    let readable = graphic && (1..=token_max_bytes).contains(&token.len());
    if readable { Sent::Token(token) } else { Sent::Unreadable }
}

fn is_websocket(parts: &Parts) -> bool {
    let upgrade = parts.headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|text| text.eq_ignore_ascii_case("websocket"))
}

/// Tokens are base64url and dots, so nothing in them is ever percent-encoded.
fn query_token(parts: &Parts) -> Option<&str> {
    let query = parts.uri.query()?;
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let parts = parts("/x", &[("authorization", &format!("{scheme} a.b-c_d"))]);
            assert_eq!(sent(&parts, "/x", 100), Sent::Token("a.b-c_d"));
        }
        let parts = parts("/x", &[("authorization", "Basic YTpi")]);
        assert_eq!(sent(&parts, "/x", 100), Sent::Nothing);
    }

    #[test]
    fn what_cannot_be_a_token_is_unreadable() {
        for text in ["Bearer", "Bearer ", "Bearer a b", "Bearer \u{7f}", "Bearer aaaaaaaaaaa"] {
            let Ok(value) = http::HeaderValue::from_str(text) else { continue };
            let mut parts = parts("/x", &[]);
            parts.headers.insert(AUTHORIZATION, value);
            assert_eq!(sent(&parts, "/x", 10), Sent::Unreadable, "{text}");
        }
        let twice = parts("/x", &[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert_eq!(sent(&twice, "/x", 10), Sent::Unreadable);
    }

    #[test]
    fn only_a_websocket_may_carry_its_token_in_the_query() {
        let upgrade = [("upgrade", "websocket")];
        let uri = "/ws?a=1&token=abc";
        assert_eq!(sent(&parts(uri, &upgrade), "/ws", 10), Sent::Token("abc"));
        assert_eq!(sent(&parts(uri, &[]), "/ws", 10), Sent::Nothing);
        assert_eq!(sent(&parts(uri, &upgrade), "/posts", 10), Sent::Nothing);
        assert_eq!(sent(&parts("/ws", &upgrade), "/ws", 10), Sent::Nothing);
    }
}
