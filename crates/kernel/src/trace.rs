//! A request's place in a trace (W3C Trace Context), and the same in the words of AWS X-Ray.

use std::fmt;

/// The name of a trace: 32 hexadecimal digits. X-Ray wants the first eight to be the seconds since
/// 1970.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceId(pub u128);

/// The name of a span in its trace: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanId(pub u64);

/// What is handed on: to a peer, in an event, to a client. Written as a `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that goes on elsewhere.
    pub span_id: SpanId,
    /// Whether the trace is kept whatever becomes of it.
    pub sampled: bool,
}

/// The names of traces and spans are written for every request, so they do without the formatting
/// machinery.
fn write_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xF)];
    }
}

fn show(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    f.write_str(std::str::from_utf8(text).unwrap_or_default())
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        write_hex(&mut text, &self.0.to_be_bytes());
        show(f, &text)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 16];
        write_hex(&mut text, &self.0.to_be_bytes());
        show(f, &text)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace_id.0.to_be_bytes());
        write_hex(&mut text[36..52], &self.span_id.0.to_be_bytes());
        text[54] += u8::from(self.sampled);
        show(f, &text)
    }
}

impl TraceId {
    /// Whether this trace is among the `percent` of a hundred that are kept whatever becomes of
    /// them: every process that sees it says the same.
    pub fn is_in_share(self, percent: u8) -> bool {
        // Ids made one after the other differ by one: they are spread first.
        const GOLDEN: u128 = 0x9E37_79B9_7F4A_7C15;
        let spread = (self.0 & u128::from(u64::MAX)).wrapping_mul(GOLDEN) & u128::from(u64::MAX);
        ((spread >> 32) * 100) >> 32 < u128::from(percent)
    }
}

impl TraceContext {
    /// Reads a `traceparent` of version 00, and of later versions the part that is like it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let (version, trace_id, span_id, flags) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let more_is_fine = version != "00";
        let context = Self {
            trace_id: trace_id_of(trace_id)?,
            span_id: span_id_of(span_id)?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        let well_formed = is_hex(version, 2)
            && version != "ff"
            && is_hex(flags, 2)
            && (more_is_fine || fields.next().is_none());
        well_formed.then_some(context)
    }

    /// The same as X-Ray writes it, in `X-Amzn-Trace-Id`.
    pub fn x_ray(&self) -> String {
        XRay { sampled: Some(self.sampled), ..XRay::of(self.trace_id, self.span_id) }.to_string()
    }
}

/// What `X-Amzn-Trace-Id` tells: `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=0|1`, of which
/// `Root` is a must.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XRay {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that goes on; none where the trace has no span yet.
    pub parent: Option<SpanId>,
    /// Whether the trace is kept; none where that is still open.
    pub sampled: Option<bool>,
}

impl XRay {
    const fn of(trace_id: TraceId, parent: SpanId) -> Self {
        Self { trace_id, parent: Some(parent), sampled: None }
    }

    /// Reads the header.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = text.split(';').filter_map(|field| field.trim().split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let (secs, rest) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
        let well_formed = is_hex(secs, 8) && is_hex(rest, 24);
        let trace_id = trace_id_of(&format!("{secs}{rest}"))?;
        let sampled = match field("Sampled") {
            Some("1") => Some(true),
            Some("0") => Some(false),
            _ => None,
        };
        let parent = field("Parent").and_then(span_id_of);
        well_formed.then_some(Self { trace_id, parent, sampled })
    }
}

impl fmt::Display for XRay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace_id = self.trace_id.to_string();
        let (secs, rest) = trace_id.split_at(8);
        write!(f, "Root=1-{secs}-{rest}")?;
        if let Some(parent) = self.parent {
            write!(f, ";Parent={parent}")?;
        }
        match self.sampled {
            Some(sampled) => write!(f, ";Sampled={}", u8::from(sampled)),
            None => Ok(()),
        }
    }
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Zero is no id.
fn trace_id_of(text: &str) -> Option<TraceId> {
    let id = u128::from_str_radix(text, 16).ok()?;
    (is_hex(text, 32) && id != 0).then_some(TraceId(id))
}

fn span_id_of(text: &str) -> Option<SpanId> {
    let id = u64::from_str_radix(text, 16).ok()?;
    (is_hex(text, 16) && id != 0).then_some(SpanId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const TRACE_ID: TraceId = TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    const PARENT: SpanId = SpanId(0x00f0_67aa_0ba9_02b7);

    #[test]
    fn a_good_traceparent_is_read_and_written() {
        let text = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let context = TraceContext::parse(&text).unwrap();
        let expected = TraceContext { trace_id: TRACE_ID, span_id: PARENT, sampled: true };
        assert_eq!(context, expected);
        assert_eq!(context.to_string(), text);
        assert_eq!(context.trace_id.to_string(), TRACE);
        assert_eq!(context.span_id.to_string(), "00f067aa0ba902b7");
        let later = format!("cc-{TRACE}-00f067aa0ba902b7-00-more");
        assert!(!TraceContext::parse(&later).unwrap().sampled);
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
            &format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn x_ray_and_w3c_name_the_same_trace() {
        let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
        let text = format!("Self=1-1-1;{root};Parent=00f067aa0ba902b7;Sampled=1");
        let read = XRay::parse(&text).unwrap();
        let expected = XRay { trace_id: TRACE_ID, parent: Some(PARENT), sampled: Some(true) };
        assert_eq!(read, expected);
        let context = TraceContext { trace_id: TRACE_ID, span_id: PARENT, sampled: true };
        assert_eq!(context.x_ray(), format!("{root};Parent=00f067aa0ba902b7;Sampled=1"));
        let open = XRay::parse(&format!("{root};Sampled=?")).unwrap();
        assert_eq!((open.parent, open.sampled), (None, None));
        for bad in ["", "Root=", "Root=1-x-y", "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736"] {
            assert_eq!(XRay::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_share_is_the_share_also_of_ids_in_a_row() {
        let start = 0x6774_5f80_0000_018e_3c5a_9d2b_7f41_0000_u128;
        for percent in [0, 5, 50, 100] {
            let ids = (0..10_000).map(|n| TraceId(start + n));
            let kept = ids.filter(|id| id.is_in_share(percent)).count();
            let expected = usize::from(percent) * 100;
            assert!(kept.abs_diff(expected) <= 20, "{percent} %: {kept} of 10000");
        }
        // Not in clusters either: of each hundred in a row some are kept.
        for hundred in 0..100 {
            let ids = (0..100).map(|n| TraceId(start + hundred * 100 + n));
            assert!(ids.filter(|id| id.is_in_share(5)).count() > 0);
        }
    }
}
