//! What browsers and programs are answered where the API has nothing, and where both have.

use axum::body::to_bytes;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use super::*;

const BROWSER: &[(HeaderName, &str)] =
    &[(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8"), (ACCEPT_ENCODING, "gzip, br")];
const PROGRAM: &[(HeaderName, &str)] = &[(ACCEPT, "*/*")];

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn site(folder: Option<PathBuf>) -> Router {
    let api = Router::new().route("/posts/{id}", get(async || "from the API"));
    beside(api, folder)
}

async fn ask(site: &Router, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response =
        site.clone().oneshot(to_page(request.body(Body::empty()).unwrap())).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

#[tokio::test]
async fn every_page_of_the_client_starts_it() {
    let site = site(None);
    for path in ["/", "/explore", "/find?q=h", "/settings", "/@hanako", "/@hanako/followers"] {
        for headers in [BROWSER, PROGRAM] {
            let answer = ask(&site, path, headers).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header(&CONTENT_TYPE), "text/html; charset=utf-8");
            assert_eq!(answer.header(&CACHE_CONTROL), "no-cache");
        }
    }
    let nowhere = ask(&site, "/no/such/place", BROWSER).await;
    assert_eq!((nowhere.status, nowhere.header(&CONTENT_TYPE)), (404, "text/html; charset=utf-8"));
    let nowhere = ask(&site, "/no/such/place", PROGRAM).await;
    assert_eq!((nowhere.status, nowhere.header(&CONTENT_TYPE)), (404, ""));
}

#[tokio::test]
async fn a_posts_address_has_a_page_for_people_and_an_answer_for_programs() {
    let site = site(None);
    let page = ask(&site, "/posts/01", BROWSER).await;
    assert_eq!((page.status, page.header(&CONTENT_TYPE)), (200, "text/html; charset=utf-8"));
    assert!(page.header(&VARY).contains("Accept") && page.header(&VARY).contains("Authorization"));
    let with_token = [BROWSER, &[(AUTHORIZATION, "Bearer x")]].concat();
    let refused = [(ACCEPT, "application/json, text/html;q=0")];
    for headers in [PROGRAM, &with_token, &refused, &[]] {
        assert_eq!(ask(&site, "/posts/01", headers).await.text(), "from the API");
    }
}

#[tokio::test]
async fn files_are_packed_tagged_and_kept_for_good() {
    let site = site(None);
    let app = WEB.files.iter().find(|file| file.address.starts_with("app.")).unwrap();
    let path = format!("{ASSETS}{}", app.address);
    let plain = ask(&site, &path, PROGRAM).await;
    assert_eq!((plain.status, plain.body.as_slice()), (200, app.body));
    assert_eq!(plain.header(&CACHE_CONTROL), "public, max-age=31536000, immutable");
    assert_eq!(plain.header(&CONTENT_TYPE), "text/javascript; charset=utf-8");
    let mut tags = vec![plain.header(&ETAG).to_owned()];
    for (accepted, encoding) in [("gzip, br", "br"), ("gzip, br;q=0", "gzip")] {
        let answer = ask(&site, &path, &[(ACCEPT_ENCODING, accepted)]).await;
        assert_eq!(answer.header(&CONTENT_ENCODING), encoding);
        assert!(answer.body.len() < app.body.len() && answer.header(&VARY) == "Accept-Encoding");
        let tag = answer.header(&ETAG).to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "each encoding has its own: {tag}");
        let headers = [(ACCEPT_ENCODING, accepted), (IF_NONE_MATCH, tag.as_str())];
        let again = ask(&site, &path, &headers).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        tags.push(tag);
    }
    let other = path.replace(app.hash, &"0".repeat(16));
    assert_eq!(ask(&site, &other, PROGRAM).await.status, 404);
}

#[tokio::test]
async fn the_page_names_only_what_is_there_and_allows_nothing_else() {
    let site = site(None);
    let page = ask(&site, "/", PROGRAM).await;
    let policy = page.header(&CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; script-src 'self' 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let html = page.text();
    let map = html.split("<script type=\"importmap\">").nth(1).unwrap();
    let map = map.split("</script>").next().unwrap();
    let hash = STANDARD.encode(Sha256::digest(map));
    assert!(policy.contains(&format!("'sha256-{hash}'")));
    // What the first paint waits for stands before what it does not.
    let at = |text: &str| html.find(text).unwrap();
    assert!(at("/assets/boot.") < at("modulepreload") && at("stylesheet") < at("modulepreload"));
    let quoted = html.split('"').filter(|text| text.starts_with(ASSETS));
    let addresses: Vec<&str> = quoted.filter(|text| text.matches('.').count() > 1).collect();
    assert!(addresses.len() > 10, "{addresses:?}");
    for address in addresses {
        assert_eq!(ask(&site, address, PROGRAM).await.status, 200, "{address}");
    }
}

#[tokio::test]
async fn a_folder_is_read_anew_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let map = "<script type=\"importmap\">{\"imports\":{\"x\":\"/assets/x.js\"}}</script>";
    write("index.html", map);
    write("x.js", "// one\n1\n");
    write("secret.md", "no");
    let site = site(Some(folder.path().to_owned()));
    let first = ask(&site, "/", BROWSER).await;
    let name = format!("{ASSETS}x.{}.js", pack::hash(b"1\n"));
    assert!(first.text().contains(&format!("\"x\":\"{name}\"")), "{}", first.text());
    assert_eq!(ask(&site, &name, PROGRAM).await.text(), "1\n");
    write("x.js", "/** two */ 2\n");
    assert_eq!(ask(&site, &name, PROGRAM).await.text(), "2\n");
    assert_ne!(ask(&site, "/", BROWSER).await.header(&ETAG), first.header(&ETAG));
    for path in ["/assets/secret.0.md", "/assets/../x.0.js", "/assets/./x.0.js", "/assets/"] {
        assert_eq!(ask(&site, path, PROGRAM).await.status, 404, "{path}");
    }
}
