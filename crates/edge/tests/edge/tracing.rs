//! What is recorded of requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge::Config;
use kernel::spans::{Kind, Sink, Traced, Tracer, Value};

use crate::site::{Call, Site};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[derive(Default)]
struct Kept(Mutex<Vec<Traced>>);

impl Sink for Kept {
    fn take(&self, spans: Vec<Traced>) {
        self.0.lock().unwrap().extend(spans);
    }
}

fn site(trace_sample_percent: u8) -> (Arc<Kept>, Site) {
    let kept = Arc::new(Kept::default());
    let tracer = Tracer::new(Arc::clone(&kept) as _, Duration::from_hours(1));
    (kept, Site::recorded(Config { trace_sample_percent, ..Config::default() }, tracer))
}

#[tokio::test]
async fn a_request_is_a_span_between_its_caller_s_and_what_it_asks_of_others() {
    let (kept, site) = site(0);
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let call = Call::get("/things/7?token=hush").header("traceparent", &parent);
    let answer = site.call(call.header("x-request-id", "my-id")).await;
    let spans = kept.0.lock().unwrap();
    let [(trace, span)] = &spans[..] else { panic!("one span: {spans:?}") };
    assert_eq!(answer.header("traceparent"), format!("00-{trace}-{}-01", span.id));
    assert_eq!(trace.to_string(), TRACE);
    assert_eq!(span.parent.unwrap().to_string(), "00f067aa0ba902b7");
    assert_eq!((span.name.as_ref(), span.kind), ("GET /things/{id}", Kind::Server));
    let told = |name: &str| span.attributes.iter().find(|(key, _)| *key == name).unwrap().1.clone();
    assert_eq!(told("http.request.method"), Value::from("GET"));
    assert_eq!(told("http.route"), Value::from("/things/{id}"));
    assert_eq!(told("http.response.status_code"), Value::from(200_usize));
    assert_eq!(told("request_id"), Value::from("my-id"));
    assert!(!format!("{span:?}").contains("hush"), "no address, for it may hold secrets");
}

#[tokio::test]
async fn every_failure_is_kept_and_of_the_rest_what_is_sampled() {
    for (percent, expected) in [(0, &["GET /fail/{how}"; 3][..]), (100, &["GET /open"; 1])] {
        let (kept, site) = site(percent);
        if percent == 0 {
            for how in ["internal", "panic", "unavailable"] {
                site.get(&format!("/fail/{how}")).await;
            }
        }
        site.get("/open").await;
        // Asked every few seconds, for ever.
        site.get("/health").await;
        let spans = kept.0.lock().unwrap();
        let names: Vec<_> = spans.iter().map(|(_, span)| span.name.as_ref()).collect();
        assert_eq!(names, expected);
        assert!(spans.iter().all(|(_, span)| span.failed.is_some() == (percent == 0)));
    }
}

#[tokio::test]
async fn whether_a_trace_is_sampled_is_the_caller_s_word_or_its_own_name_s() {
    let (kept, site) = site(100);
    let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
    for (header, value, sampled) in [
        ("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-00"), false),
        ("x-amzn-trace-id", format!("{root};Sampled=0"), false),
        ("x-amzn-trace-id", format!("{root};Sampled=?"), true),
        ("x-amzn-trace-id", root.to_owned(), true),
    ] {
        let answer = site.call(Call::get("/open").header(header, &value)).await;
        let mark = if sampled { "-01" } else { "-00" };
        assert!(answer.header("traceparent").ends_with(mark), "{value}");
        let kept = std::mem::take(&mut *kept.0.lock().unwrap());
        assert_eq!(kept.len(), usize::from(sampled), "{value}");
    }
}
