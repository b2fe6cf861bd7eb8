//! What browsers are told: security headers, caches, CORS, compression; and the documents.

use axum::http::Method;
use edge::Config;

use crate::site::{Call, Site};

#[tokio::test]
async fn every_answer_is_hardened() {
    let site = Site::new();
    for path in ["/open", "/mine", "/nowhere", "/fail/panic", "/health", "/docs/"] {
        let answer = site.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("strict-transport-security"), "", "not over plain HTTP");
    }
    let page = site.get("/page").await;
    assert_eq!(page.header("content-security-policy"), "default-src 'self'");
    let site = Site::with(Config { https: true, ..Config::default() });
    assert!(site.get("/open").await.header("strict-transport-security").contains("max-age="));
}

#[tokio::test]
async fn answers_to_people_stay_out_of_caches() {
    let site = Site::new();
    let private = "private, no-store";
    assert_eq!(site.get("/open").await.header("cache-control"), "");
    let signed_in = |path| Call::get(path).signed_in();
    assert_eq!(site.call(signed_in("/open")).await.header("cache-control"), private);
    assert_eq!(site.call(signed_in("/page")).await.header("cache-control"), "max-age=60");
    for path in ["/nowhere", "/fail/internal", "/things/x"] {
        assert_eq!(site.call(signed_in(path)).await.header("cache-control"), private, "{path}");
        assert_eq!(site.get(path).await.header("cache-control"), "no-store", "{path}");
    }
    let wrong = site.call(Call::post("/echo", "{}").signed_in()).await;
    assert_eq!((wrong.status, wrong.header("cache-control")), (422, private));
    let login = site.call(Call::post("/auth/login", "{}")).await;
    assert_eq!(login.header("cache-control"), private, "it holds tokens");
}

#[tokio::test]
async fn pages_of_other_origins_may_read_only_where_allowed() {
    let origin = "https://app.example";
    let from = |call: Call, origin| call.header("origin", origin);
    let preflight =
        || Call::new(Method::OPTIONS, "/echo").header("access-control-request-method", "POST");

    let closed = Site::new();
    let answer = closed.call(from(Call::get("/open"), origin)).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(closed.call(from(preflight(), origin)).await.status, 405);

    let origins = vec![format!("{origin}/")];
    let site = Site::with(Config { cors_origins: origins, ..Config::default() });
    let answer = site.call(from(preflight(), origin)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    assert!(answer.header("access-control-allow-methods").contains("PATCH"));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert!(!answer.header("x-request-id").is_empty());
    for path in ["/open", "/mine", "/nowhere", "/fail/panic"] {
        let answer = site.call(from(Call::get(path), origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
        assert!(answer.header("access-control-expose-headers").contains("x-request-id"));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert_eq!(answer.header("vary"), "origin");
    }
    let other = site.call(from(Call::get("/open"), "https://evil.example")).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    assert_eq!(other.header("vary"), "origin");
    assert_eq!(site.call(from(preflight(), "https://evil.example")).await.status, 405);
}

#[tokio::test]
async fn long_answers_are_compressed_when_asked() {
    let site = Site::new();
    let ask = |path, value| Call::get(path).header("accept-encoding", value);
    let plain = site.get("/big").await;
    assert_eq!(plain.header("content-encoding"), "");
    for (value, encoding) in [("gzip", "gzip"), ("br", "br"), ("gzip, deflate, br", "br")] {
        let answer = site.call(ask("/big", value)).await;
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert!(answer.body.len() < plain.body.len() / 4);
    }
    for value in ["identity", "zstd", "*;q=0", "identity;q=0", "gzip;q=0, identity; q=0"] {
        let answer = site.call(ask("/big", value)).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, ""), "{value}");
    }
    assert_eq!(site.call(ask("/open", "gzip")).await.header("content-encoding"), "");
}

#[tokio::test]
async fn the_documents_need_nothing_from_elsewhere() {
    let site = Site::new();
    let index = site.get("/docs").await;
    assert_eq!((index.status, &index.body), (200, &site.get("/docs/").await.body));
    assert!(index.header("content-type").starts_with("text/html"));
    let parts: Vec<_> =
        index.text().split("=\"").skip(1).filter(|text| text.contains('.')).collect();
    assert!(parts.len() >= 7, "{}", index.text());
    for path in parts.into_iter().map(|text| text.split('"').next().unwrap()) {
        assert!(path.starts_with("/docs/") && !path.contains("./"), "{path}");
        assert_eq!(site.get(path).await.status, 200, "{path}");
    }
    let csp = index.header("content-security-policy");
    assert!(csp.contains("script-src 'self';") && csp.contains("connect-src 'self';"), "{csp}");
    assert!(!index.text().contains("<script>"), "the policy forbids inline scripts");
    assert!(!index.text().contains("//"), "{}", index.text());
    let start = site.get("/docs/swagger-initializer.js").await;
    assert!(start.text().contains("/openapi.json"));
    assert_eq!(site.get("/docs/swagger-ui-bundle.js").await.status, 200);
    assert_eq!(site.get("/docs/swagger-ui.css").await.status, 200);
    site.get("/docs/nothing.js").await.assert_problem(404, "not_found");
    site.get("/docs/../../etc/passwd").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn the_document_tells_what_all_operations_share() {
    let site = Site::new();
    let json = site.get("/openapi.json").await.json();
    assert_eq!(json["openapi"], "3.1.0");
    assert_eq!(json["info"]["version"], "1.2.3");
    assert_eq!(json["security"], serde_json::json!([{ "bearer": [] }]));
    assert_eq!(json["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let problem = &json["components"]["schemas"]["Problem"];
    let required = serde_json::json!(["type", "title", "status", "detail", "code", "requestId"]);
    assert_eq!(problem["required"], required);
    let statuses = |path: &str, method: &str| -> Vec<String> {
        json["paths"][path][method]["responses"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(statuses("/mine", "get"), ["200", "401", "414", "429", "500", "503", "504"]);
    assert_eq!(statuses("/health", "get"), ["200", "414", "500", "503", "504"]);
    let echo = ["200", "400", "408", "409", "413", "414", "415", "422", "429", "500", "503", "504"];
    assert_eq!(statuses("/echo", "post"), echo);
    for path in ["/openapi.json", "/docs"] {
        let operation = &json["paths"][path]["get"];
        assert_eq!(operation["security"], serde_json::json!([{}]));
        assert_eq!(operation["tags"], serde_json::json!(["service"]));
    }
    let conflict = &json["paths"]["/echo"]["post"]["responses"]["409"]["content"];
    let schema = &conflict["application/problem+json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/Problem");
    let degraded = &json["paths"]["/health"]["get"]["responses"]["503"]["content"];
    assert!(degraded.get("application/json").is_some());
    let references = json.to_string();
    for reference in references.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(json.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    assert_eq!(serde_json::to_value(&site.document).unwrap(), json);
}
