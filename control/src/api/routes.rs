//! Which path leads where.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, post, put};
use axum::{Router, middleware};
use config::Name;

use super::nearest::quoted;
use super::problem::{Kind, Problem};
use super::{Api, changes, guard, openapi, reads, stream};

/// Every route. The OpenAPI document is held to this list by a test.
pub(super) fn table() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/livez", get(reads::livez)),
        ("/readyz", get(reads::readyz)),
        ("/metrics", get(reads::metrics)),
        ("/api/v1/openapi.json", get(openapi::document)),
        ("/api/v1/process", get(reads::process)),
        ("/api/v1/services", get(reads::services)),
        ("/api/v1/services/{service}", get(reads::service)),
        ("/api/v1/services/{service}/weights", put(changes::set_weight)),
        ("/api/v1/services/{service}/rollout", get(reads::rollout).post(changes::start)),
        ("/api/v1/services/{service}/rollout/{action}", post(changes::act)),
        ("/api/v1/services/{service}/history", get(reads::history)),
        ("/api/v1/services/{service}/events", get(stream::of_service)),
        ("/api/v1/events", get(stream::all)),
        ("/api/v1/reload", post(changes::reload)),
    ]
}

/// The whole API, guarded.
pub(super) fn router(api: Api) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_with_this_method)
        .layer(middleware::from_fn_with_state(api.clone(), guard::admit))
        .with_state(api)
}

async fn nowhere(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::new(
        Kind::NotFound,
        format!("there is nothing at {}; /api/v1/openapi.json lists all there is", quoted(path)),
    )
}

async fn not_with_this_method(request: Request) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        format!(
            "{} does not go with {}; the header Allow lists what does",
            request.method(),
            quoted(request.uri().path())
        ),
    )
}

/// The service that the path names.
pub(super) struct Named(pub(super) Name);

impl<S: Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = segment(parts, "service").await.unwrap_or_default();
        Name::new(&text).map(Self).ok_or_else(|| {
            Problem::new(
                Kind::NotFound,
                format!("{} is no name of a service: legal are {}", quoted(&text), Name::LEGAL),
            )
        })
    }
}

/// The word for an action that the path holds; empty where it is no UTF-8.
pub(super) struct ActionWord(pub(super) String);

impl<S: Sync> FromRequestParts<S> for ActionWord {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(segment(parts, "action").await.unwrap_or_default()))
    }
}

async fn segment(parts: &mut Parts, name: &str) -> Option<String> {
    let Path(mut segments) = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await.ok()?;
    segments.remove(name)
}
