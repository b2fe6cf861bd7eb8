//! What the OpenAPI document says of every operation alike, so that slices only say what is their
//! own.

use std::collections::{BTreeMap, HashSet};

use http::Method;
use utoipa::PartialSchema;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, PathItem, Ref, RefOr,
    Response, ResponseBuilder, SecurityRequirement, Server,
};

use crate::docs;
use crate::render::{PROBLEM_JSON, ProblemBody};

const BEARER: &str = "bearer";

const TAGS: [(&str, &str); 5] = [
    ("users", "Accounts, profiles, signing in."),
    ("posts", "Writing, reading and deleting posts."),
    ("social", "Following people, liking posts."),
    ("timeline", "The posts of those one follows, read and live."),
    ("service", "The service itself."),
];

/// The answers that many operations share: name in the document, status, description.
const SHARED: [(&str, &str, &str); 11] = [
    ("MalformedRequest", "400", "The request is not JSON, or a cursor is not this list's."),
    ("Unauthenticated", "401", "No access token, or one that is not good."),
    ("RequestTimeout", "408", "The body did not arrive in time."),
    ("BodyTooLarge", "413", "The body is over the limit, 64 KiB by default."),
    ("UriTooLong", "414", "The address is over the limit, 8 KiB by default."),
    ("UnsupportedMediaType", "415", "The body is not `application/json`."),
    ("ValidationFailed", "422", "The input breaks a rule; `errors` tells which."),
    ("RateLimited", "429", "Too many requests; `Retry-After` tells when to try again."),
    ("Internal", "500", "A defect of the service."),
    ("Unavailable", "503", "A part of the service does not answer at present."),
    ("DeadlineExceeded", "504", "The request took too long."),
];

/// The operations of a path.
pub(crate) fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
        (Method::PUT, &item.put),
        (Method::HEAD, &item.head),
        (Method::OPTIONS, &item.options),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, patch, delete, put, head, options, .. } = item;
    [get, post, patch, delete, put, head, options].into_iter().filter_map(Option::as_mut)
}

/// Whether an operation says itself that it needs no token: `security(())`.
pub(crate) fn is_public(operation: &Operation) -> bool {
    let nothing = SecurityRequirement::default();
    let requirements = operation.security.as_ref();
    requirements.is_some_and(|all| all.is_empty() || all.contains(&nothing))
}

/// The document made whole: what it is about, the bearer token, the schema of problems, and the
/// answers that every operation may give. `version` is the program's.
pub fn finish(mut document: OpenApi, version: &str) -> OpenApi {
    document.merge(docs::openapi());
    document.info = InfoBuilder::new()
        .title("Mini-SNS")
        .version(version)
        .description(Some(
            "A small social network: users, posts, follows and likes, timelines. Errors are RFC \
             9457 problems; lists are pages with opaque cursors; every answer carries \
             `X-Request-Id`.",
        ))
        .license(Some(
            LicenseBuilder::new()
                .name("Apache-2.0 OR MIT")
                .identifier(Some("Apache-2.0 OR MIT"))
                .build(),
        ))
        .build();
    document.servers = Some(vec![Server::new("/")]);
    document.security = Some(vec![bearer()]);
    let tag = |(name, text)| TagBuilder::new().name(name).description(Some(text)).build();
    document.tags = Some(TAGS.into_iter().map(tag).collect());
    describe_shared(document.components.get_or_insert_default());
    let mut ids = HashSet::new();
    for (path, item) in &mut document.paths.paths {
        for operation in operations_mut(item) {
            add_shared(operation, path);
            name_uniquely(operation, &mut ids);
        }
    }
    document
}

fn bearer() -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, [])
}

fn describe_shared(components: &mut Components) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token of a sign-in."));
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme.build()));
    components.schemas.insert("Problem".into(), ProblemBody::schema());
    components.schemas.insert("FieldError".into(), kernel::FieldError::schema());
    for (name, _, text) in SHARED {
        let response = ResponseBuilder::new().description(text).build();
        components.responses.insert(name.into(), RefOr::T(with_problem(response)));
    }
}

fn with_problem(mut response: Response) -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    response.content.insert(PROBLEM_JSON.into(), content.into());
    response
}

fn add_shared(operation: &mut Operation, path: &str) {
    let public = is_public(operation);
    let has_input = operation.parameters.as_ref().is_some_and(|all| !all.is_empty());
    let has_body = operation.request_body.is_some();
    let responses: &mut BTreeMap<String, RefOr<Response>> = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
            && response.content.is_empty()
        {
            *response = with_problem(std::mem::take(response));
        }
    }
    for (name, status, _) in SHARED {
        let fits = match status {
            "400" => has_input || has_body,
            "401" => !public,
            "408" | "413" | "415" => has_body,
            "422" => has_body || has_input,
            "429" => path != "/health" && path != "/.well-known/jwks.json",
            _ => true,
        };
        if fits {
            let shared = || RefOr::Ref(Ref::from_response_name(name));
            responses.entry(status.to_owned()).or_insert_with(shared);
        }
    }
}

/// Two slices may both have a handler called `list`.
fn name_uniquely(operation: &mut Operation, taken: &mut HashSet<String>) {
    let Some(id) = operation.operation_id.take() else { return };
    let tag = operation.tags.as_ref().and_then(|tags| tags.first());
    let mut unique = id.clone();
    if taken.contains(&unique) {
        unique = tag.map_or_else(|| id.clone(), |tag| format!("{tag}_{id}"));
    }
    let mut number = 2;
    while !taken.insert(unique.clone()) {
        unique = format!("{id}_{number}");
        number += 1;
    }
    operation.operation_id = Some(unique);
}
