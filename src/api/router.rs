//! Every path, and the layers that all requests pass: whose host they name, how large and how slow they may be.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::{HeaderMap, StatusCode, Uri, header, uri::Authority};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::error::{ApiError, shape};
use super::resources::{add_node, changed, drain, listed, made, one_of, undrain};
use super::{catalog, cluster, electors, events, explain, failover, health, metrics, nodes, peers, pools};
use crate::catalog::Kind;
use crate::host;
use crate::model::limits::API_BODY_BYTES_MAX;
use crate::peer::Handles;

/// How long one answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What handlers answer from.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) handles: Handles,
    /// When the peer started, by the wall clock. Read once, so that it stays the same from answer to answer.
    pub(super) started: SystemTime,
}

impl FromRef<Asked> for Handles {
    fn from_ref(asked: &Asked) -> Self {
        asked.handles.clone()
    }
}

/// The whole API of a peer.
pub(super) fn router(handles: Handles) -> Router {
    let uptime = host::now().saturating_duration_since(handles.started);
    let wall_now = host::wall_now();
    let asked = Asked { handles, started: wall_now.checked_sub(uptime).unwrap_or(wall_now) };
    let router = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    let router = router
        .fallback(no_path)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        // The framework has a smaller bound of its own, which is below that of a catalog.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(API_BODY_BYTES_MAX))
        .layer(from_fn(own_host_only))
        .with_state(asked);
    // A router of its own around: the field `Allow` is put there only when an answer leaves the router of the paths.
    Router::new().fallback_service(router).layer(from_fn(in_one_form))
}

fn routes() -> [(&'static str, MethodRouter<Asked>); 44] {
    [
        ("/health", get(health::ready)),
        ("/api/health", get(health::summary)),
        ("/api/health/detailed", get(health::detailed)),
        ("/metrics", get(metrics::scrape)),
        ("/api/v1/cluster", get(cluster::one)),
        ("/api/v1/peers", get(peers::list)),
        ("/api/v1/peers/{id}", get(peers::one)),
        ("/api/v1/leader", get(electors::leader)),
        ("/api/v1/electors", get(electors::list).post(electors::add)),
        ("/api/v1/electors/{id}", delete(electors::remove)),
        ("/api/v1/catalog", get(catalog::one).put(catalog::put)),
        ("/api/v1/catalog/diff", post(catalog::diff)),
        ("/api/v1/catalog/history", get(catalog::history)),
        ("/api/v1/catalog/history/{revision}", get(catalog::version)),
        ("/api/v1/catalog/rollback", post(catalog::rollback)),
        ("/api/v1/pools", get(pools::list).merge(made(Kind::Pool))),
        ("/api/v1/pools/{pool}", get(pools::one).merge(changed(Kind::Pool))),
        ("/api/v1/pools/{pool}/nodes", get(nodes::of_pool).post(add_node)),
        ("/api/v1/nodes", get(nodes::list).merge(made(Kind::Node))),
        ("/api/v1/nodes/{node}", get(nodes::one).merge(changed(Kind::Node))),
        ("/api/v1/nodes/{node}/drain", post(drain)),
        ("/api/v1/nodes/{node}/undrain", post(undrain)),
        ("/api/v1/nodes/{node}/observations", get(nodes::observations)),
        ("/api/v1/nodes/{node}/move", post(failover::move_node)),
        ("/api/v1/pools/{pool}/scale", post(failover::scale)),
        ("/api/v1/failover", get(failover::status)),
        ("/api/v1/failover/plans/{intent}/resolve", post(failover::resolve)),
        ("/api/v1/events", get(events::list)),
        ("/api/v1/regions", listed(Kind::Region)),
        ("/api/v1/regions/{region}/drill", post(failover::drill)),
        ("/api/v1/regions/{region}/shift", post(failover::shift).delete(failover::unshift)),
        ("/api/v1/regions/{region}", one_of(Kind::Region)),
        ("/api/v1/servers", listed(Kind::Server)),
        ("/api/v1/servers/{server}", one_of(Kind::Server)),
        (
            "/api/v1/servers/{server}/blacklist",
            get(failover::blacklisted).post(failover::blacklist).delete(failover::unblacklist),
        ),
        ("/api/v1/explain", get(explain::explain)),
        ("/api/v1/routes", listed(Kind::Route)),
        ("/api/v1/routes/{route}", one_of(Kind::Route)),
        // As the systems that Evenkeel takes over from have them.
        ("/api/v1/lb/failover/trigger", post(failover::trigger)),
        ("/api/v1/lb/failover/status", get(failover::status)),
        ("/api/failover/force/{node}", post(failover::move_node)),
        ("/api/failover/status", get(failover::status)),
        ("/api/load-balancer/scale-up/{country}", post(failover::scale_up)),
        ("/api/load-balancer/scale-down/{country}", post(failover::scale_down)),
    ]
}

async fn no_path(uri: Uri) -> ApiError {
    ApiError::no_path(uri.path(), &routes().map(|(path, _)| path))
}

/// Refusals have one form, whoever made them.
async fn in_one_form(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    shape(next.run(request).await, &method, uri.path())
}

/// Refuses a request that names another host than this machine. The API has no users and trusts whoever reaches loopback;
/// but a page in a browser on this machine reaches it too, under a name of its own that it lets resolve to 127.0.0.1 (DNS
/// rebinding), and that name stands in `Host`.
///
/// A page of another site needs no name for a plain write; but the browser says whose page it is in `Origin`.
async fn own_host_only(request: Request, next: Next) -> Result<Response, ApiError> {
    let host = host_of(request.headers()).ok_or_else(|| ApiError::foreign_host(None))?;
    let target = request.uri().authority().map(Authority::as_str);
    for named in [Some(host), target].into_iter().flatten() {
        if !is_own(named) {
            return Err(ApiError::foreign_host(Some(named)));
        }
    }
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        if !origin.strip_prefix("http://").is_some_and(is_own) {
            return Err(ApiError::foreign_origin(origin));
        }
    }
    Ok(next.run(request).await)
}

/// The one `Host`; `None` where there is none or more than one.
fn host_of(fields: &HeaderMap) -> Option<&str> {
    let mut hosts = fields.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let ip = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse::<IpAddr>();
    match ip {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in
            ["localhost", "LocalHost:8080", "localhost.", "127.0.0.1", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"]
        {
            assert!(is_own(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "a@localhost",
            "[2001:db8::1]",
        ] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
