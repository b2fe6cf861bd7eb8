//! The names of a request: its id, and its place in a trace (W3C Trace Context, AWS X-Ray).

use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::Ids;
use ulid::Ulid;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

const REQUEST_ID_MAX_BYTES: usize = 64;

/// How a request is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    /// The caller's, or ours.
    pub(crate) request_id: String,
    /// `00-<trace>-<our span>-<flags>`.
    pub(crate) traceparent: String,
    /// The same for X-Ray, where the caller sent it.
    pub(crate) amzn_trace_id: Option<String>,
}

/// The part of a caller's trace that goes on here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Given {
    trace_id: u128,
    sampled: bool,
}

impl Names {
    /// Takes over the caller's names where they are sane, makes them where not.
    pub(crate) fn of(headers: &HeaderMap, ids: &dyn Ids, sample_percent: u8) -> Self {
        let fresh = ids.ulid();
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let request_id = text(X_REQUEST_ID).filter(|id| is_sane(id));
        let amzn = text(X_AMZN_TRACE_ID).and_then(parse_amzn);
        let given = text(TRACEPARENT).and_then(parse_traceparent).or(amzn);
        let given = given.unwrap_or_else(|| begin(fresh, sample_percent));
        // Ids grow by at least one each, so their low half names a span among its siblings.
        let span = (fresh.0 & u128::from(u64::MAX)).max(1);
        let Given { trace_id, sampled } = given;
        Self {
            request_id: request_id.map_or_else(|| ulid_text(fresh), str::to_owned),
            traceparent: traceparent(trace_id, span, sampled),
            amzn_trace_id: amzn.map(|given| {
                let (secs, rest) = (given.trace_id >> 96, given.trace_id & REST);
                let sampled = u8::from(sampled);
                format!("Root=1-{secs:08x}-{rest:024x};Parent={span:016x};Sampled={sampled}")
            }),
        }
    }

    /// The trace's id: 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        self.traceparent.get(3..35).unwrap_or_default()
    }

    /// What everything that is logged on the way belongs to.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::info_span!("request", request_id = self.request_id, trace_id = self.trace_id())
    }

    /// Tells the names in an answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put(X_REQUEST_ID, &self.request_id);
        put(TRACEPARENT, &self.traceparent);
        if let Some(text) = &self.amzn_trace_id {
            put(X_AMZN_TRACE_ID, text);
        }
    }
}

/// What follows the seconds in a trace's id.
const REST: u128 = u128::MAX >> 32;

/// A trace that begins here. X-Ray wants the first eight digits to be the seconds since 1970.
fn begin(fresh: Ulid, sample_percent: u8) -> Given {
    let secs = u128::from(fresh.timestamp_ms() / 1000);
    Given {
        trace_id: secs << 96 | fresh.0 & REST,
        sampled: fresh.0 % 100 < u128::from(sample_percent),
    }
}

/// These texts are made for every request, so they do without the formatting machinery.
fn ulid_text(id: Ulid) -> String {
    let mut text = [0; ulid::ULID_LEN];
    id.array_to_str(&mut text).to_owned()
}

fn traceparent(trace_id: u128, span: u128, sampled: bool) -> String {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text[3..35], &trace_id.to_be_bytes());
    write_hex(&mut text[36..52], &span.to_be_bytes()[8..]);
    text[54] += u8::from(sampled);
    String::from_utf8(text.to_vec()).unwrap_or_default()
}

fn write_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xF)];
    }
}

fn is_sane(id: &str) -> bool {
    (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// An id of `len` hexadecimal digits; zero is none.
fn id(text: &str, len: usize) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    (is_hex(text, len) && id != 0).then_some(id)
}

/// Reads version 00, and of later versions the part that is like it.
fn parse_traceparent(text: &str) -> Option<Given> {
    let mut fields = text.split('-');
    let (version, trace_id, parent, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let more_is_fine = version != "00";
    let (trace_id, _) = (id(trace_id, 32)?, id(parent, 16)?);
    let well_formed = is_hex(version, 2)
        && version != "ff"
        && is_hex(flags, 2)
        && (more_is_fine || fields.next().is_none());
    let flags = u8::from_str_radix(flags, 16).ok()?;
    well_formed.then_some(Given { trace_id, sampled: flags & 1 == 1 })
}

/// Reads `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=0|1`, of which `Root` is a must.
fn parse_amzn(text: &str) -> Option<Given> {
    let field = |name: &str| {
        let fields = text.split(';').filter_map(|field| field.trim().split_once('='));
        fields.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let (secs, rest) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let well_formed = is_hex(secs, 8) && is_hex(rest, 24);
    let trace_id = id(&format!("{secs}{rest}"), 32)?;
    well_formed.then_some(Given { trace_id, sampled: field("Sampled") == Some("1") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    #[test]
    fn a_good_traceparent_is_taken_over() {
        let given = parse_traceparent(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(given, Given { trace_id: TRACE_ID, sampled: true });
        assert!(parse_traceparent(&format!("cc-{TRACE}-00f067aa0ba902b7-00-more")).is_some());
    }

    #[test]
    fn a_bad_traceparent_is_not() {
        let zeros = "0".repeat(32);
        for bad in [
            "",
            "00",
            TRACE,
            &format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{zeros}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-00f067aa0ba902b7-1"),
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad}");
        }
    }

    #[test]
    fn x_ray_and_w3c_name_the_same_trace() {
        let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
        let text = format!("Self=1-1-1;{root};Parent=00f067aa0ba902b7;Sampled=1");
        assert_eq!(parse_amzn(&text).unwrap(), Given { trace_id: TRACE_ID, sampled: true });
        assert!(!parse_amzn(root).unwrap().sampled);
        for bad in ["", "Root=", "Root=1-x-y", "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736"] {
            assert_eq!(parse_amzn(bad), None, "{bad}");
        }
    }
}
