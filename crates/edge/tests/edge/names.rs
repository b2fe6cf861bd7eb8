//! Request ids and traces.

use crate::site::{Call, Site};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_sane_request_id_is_taken_over_and_any_other_replaced() {
    let site = Site::new();
    let call = |id: &str| Call::get("/nowhere").header("x-request-id", id);
    let longest = "a".repeat(64);
    for id in ["abc-123", "~", &longest] {
        let answer = site.call(call(id)).await;
        assert_eq!(answer.header("x-request-id"), id);
        assert_eq!(answer.json()["requestId"], id);
    }
    for id in ["", "a b", "\u{e9}", &"a".repeat(65)] {
        let answer = site.call(call(id)).await;
        assert!(answer.header("x-request-id").parse::<kernel::PostId>().is_ok(), "{id}");
    }
    let first = site.get("/open").await.header("x-request-id").to_owned();
    assert_ne!(first, site.get("/open").await.header("x-request-id"));
}

#[tokio::test]
async fn a_trace_goes_on_through_the_handler_and_into_the_answer() {
    let site = Site::new();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let answer = site.call(Call::get("/mine").signed_in().header("traceparent", &parent)).await;
    let told = answer.header("traceparent");
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01"), "{told}");
    assert!(!told.contains("00f067aa0ba902b7"), "the span is ours");
    assert!(answer.text().ends_with(told), "the handler is in the same trace");
    assert_eq!(answer.header("x-amzn-trace-id"), "");
}

#[tokio::test]
async fn x_ray_traces_go_on_too() {
    let site = Site::new();
    let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
    let sent = format!("{root};Parent=00f067aa0ba902b7;Sampled=1");
    let answer = site.call(Call::get("/open").header("x-amzn-trace-id", &sent)).await;
    let told = answer.header("x-amzn-trace-id");
    assert!(told.starts_with(&format!("{root};Parent=")) && told.ends_with(";Sampled=1"), "{told}");
    assert!(answer.header("traceparent").starts_with(&format!("00-{TRACE}-")));
}

#[tokio::test]
async fn without_a_good_trace_one_begins() {
    let site = Site::new();
    for bad in ["", "rubbish", "00-0-0-0"] {
        let call = Call::get("/open").header("traceparent", bad).header("x-amzn-trace-id", bad);
        let answer = site.call(call).await;
        let told = answer.header("traceparent").to_owned();
        let again = site.call(Call::get("/open").header("traceparent", &told)).await;
        assert_eq!(told[..35], again.header("traceparent")[..35], "{bad} became a good trace");
        assert_eq!(answer.header("x-amzn-trace-id"), "");
    }
}
