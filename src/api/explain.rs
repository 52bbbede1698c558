//! `GET /api/v1/explain`: what would become of a request, and why.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::list::Params;
use crate::balance::score::Band;
use crate::host::Dice;
use crate::model::{ListenerName, NodeId, PeerId, PoolName, RegionName, Scheme};
use crate::peer::Handles;
use crate::proxy::explain::{Answer, Ended, NoAnswer, Question};
use crate::proxy::limits::{Limit, Standing};
use crate::view::{Against, Chance, Rank, Unavailable};

/// Fields of a request that is asked about.
const FIELDS_MAX: usize = 64;

/// `GET /api/v1/explain?url=&method=&from=&header=Name:Value&listener=`
pub(super) async fn explain(State(handles): State<Handles>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::repeating(&uri, &["url", "method", "from", "header", "listener"], &["header"])?;
    let from = match params.get("from") {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().map_err(|_| {
            ApiError::bad_query(format!("from {text:?} is no address"), "write an address without a port: 203.0.113.7")
        })?,
    };
    let listener: Option<ListenerName> = match params.get("listener") {
        None => None,
        Some(text) => Some(text.parse().map_err(|error| {
            ApiError::bad_query(format!("listener {text:?}: {error}"), "/api/health/detailed lists the listeners")
        })?),
    };
    let head = match params.get("url") {
        Some(url) => Some(head(url, params.get("method").unwrap_or("GET"), &params.all("header"))?),
        None if listener.is_some() => None,
        None => {
            return Err(ApiError::bad_query(
                "url is missing",
                "write url=http://shop.example/cart; of a connection that is not HTTP name its listener instead",
            ));
        }
    };
    let scheme = params.get("url").map(|url| if url.starts_with("https:") { Scheme::Https } else { Scheme::Http });
    let answer = handles.explainer.explain(&Question { listener, scheme, head, from }, &mut Dice::new());
    let answer = answer.map_err(|why| match &why {
        NoAnswer::NoListener(name) => ApiError::unknown(
            "listener",
            name.as_str(),
            handles.listeners.now().iter().map(|listener| listener.name.as_str()),
        ),
        NoAnswer::OtherProtocol(..) => ApiError::write(
            StatusCode::BAD_REQUEST,
            "other_protocol",
            why.to_string(),
            "give url for a listener of HTTP, and none for one of TCP",
        ),
        NoAnswer::NoneTakes(_) => ApiError::write(
            StatusCode::NOT_FOUND,
            "no_listener",
            why.to_string(),
            "ask a peer that has such a listener",
        ),
    })?;
    Ok(Json(Shown::of(&answer, &handles.id)).into_response())
}

/// The URL as clients send it: a path that is left out is `/`, and what is not ASCII is percent-encoded (RFC 3986 section 2.1).
fn as_sent(url: &str) -> String {
    let mut sent = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'!'..=b'~' => sent.push(char::from(byte)),
            _ => sent.push_str(&format!("%{byte:02X}")),
        }
    }
    let authority = sent.find("://").map_or(0, |at| at + 3);
    if let Some(question) = sent[authority..].find(['/', '?']).filter(|at| sent[authority + at..].starts_with('?')) {
        sent.insert(authority + question, '/');
    }
    sent
}

/// The head of a request for this URL.
fn head(url: &str, method: &str, fields: &[&str]) -> Result<Vec<u8>, ApiError> {
    const HINT: &str = "write url=http://shop.example/cart";
    let parsed: Uri =
        as_sent(url).parse().map_err(|error| ApiError::bad_query(format!("url {url:?}: {error}"), HINT))?;
    let Some(authority) = parsed.authority() else {
        return Err(ApiError::bad_query(format!("url {url:?} names no host"), HINT));
    };
    if !matches!(parsed.scheme_str(), Some("http" | "https")) {
        return Err(ApiError::bad_query(format!("url {url:?} is neither http nor https"), HINT));
    }
    if fields.len() > FIELDS_MAX {
        return Err(ApiError::bad_query(format!("there are more than {FIELDS_MAX} fields"), "ask with fewer"));
    }
    let target = parsed.path_and_query().map_or("/", |target| target.as_str());
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n");
    for field in fields {
        let Some((name, value)) = field.split_once(':').filter(|_| !field.contains(char::is_control)) else {
            return Err(ApiError::bad_query(format!("header {field:?} is no field"), "write header=Name:Value"));
        };
        head.push_str(&format!("{}: {}\r\n", name.trim(), value.trim()));
    }
    head.push_str("\r\n");
    if method.is_empty() || method.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(ApiError::bad_query(format!("method {method:?} is none"), "write method=GET"));
    }
    Ok(head.into_bytes())
}

#[derive(Serialize)]
struct Shown<'a> {
    /// By whose picture.
    peer: &'a PeerId,
    listener: &'a ListenerName,
    client: IpAddr,
    client_region: &'a RegionName,
    /// The routes that have a say, in order; the last one says the end where `ended_by` names it.
    routes: Vec<RouteShown<'a>>,
    /// The route that says where the way ends; `null`: the listener does.
    ended_by: Option<&'a str>,
    /// The limits of these routes, in the order in which they are asked; nothing was taken of them.
    limits: Vec<Value>,
    /// What becomes of it unless a limit refuses it.
    end: Value,
    /// The pool's nodes; empty where no node is to get it.
    candidates: Vec<CandidateShown<'a>>,
}

#[derive(Serialize)]
struct RouteShown<'a> {
    name: &'a str,
    priority: u16,
    /// Who is asked before the request goes on; nobody was.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Value>,
    /// The pool that gets a copy of it; it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<&'a PoolName>,
}

#[derive(Serialize)]
struct CandidateShown<'a> {
    id: &'a NodeId,
    region: &'a RegionName,
    rank: Rank,
    picked: bool,
    health_score: f64,
    band: Band,
    weight: u16,
    effective_weight: f64,
    latency_ms: Option<f64>,
    in_flight: u32,
    max_connections: u32,
    /// Why it is not among the first; empty where nothing is held against it.
    excluded: Vec<Value>,
}

impl<'a> Shown<'a> {
    fn of(answer: &'a Answer, peer: &'a PeerId) -> Self {
        let (pool, picked) = match &answer.end {
            Ended::Forward { pool, pick, .. } => (answer.view.pool(pool), pick.as_ref().ok()),
            _ => (None, None),
        };
        let chances = pool.map(|pool| answer.view.chances(pool)).unwrap_or_default();
        let route = |route: &'a crate::model::Route| RouteShown {
            name: route.name.as_str(),
            priority: route.priority,
            check: route.then.check.as_ref().map(|check| json!({ "pool": check.pool, "path": check.path })),
            mirror: route.then.mirror.as_ref().map(|mirror| &mirror.pool),
        };
        Self {
            peer,
            listener: &answer.listener,
            client: answer.client,
            client_region: &answer.client_region,
            routes: answer.routes.iter().map(|entry| route(&entry.route)).collect(),
            ended_by: answer.ending_route().map(crate::model::RouteName::as_str),
            limits: answer.limits.iter().map(limit).collect(),
            end: end(&answer.end),
            candidates: chances.into_iter().map(|chance| CandidateShown::of(chance, picked)).collect(),
        }
    }
}

fn limit(Standing { route, per, limit, refuses }: &Standing) -> Value {
    match limit {
        Limit::Rate { rate, burst, left, wait } => json!({
            "limit": "rate",
            "route": route,
            "per": per,
            "rate": rate.to_string(),
            "burst": burst,
            "left": left,
            "wait_ms": (wait.as_secs_f64() * 1e6).round() / 1e3,
            "refuses": refuses,
        }),
        Limit::Connections { max, in_flight } => json!({
            "limit": "connections",
            "route": route,
            "per": per,
            "max": max,
            "in_flight": in_flight,
            "refuses": refuses,
        }),
    }
}

fn end(end: &Ended) -> Value {
    match end {
        Ended::Malformed(status, reason) => json!({"action": "malformed", "status": status, "reason": reason}),
        Ended::Redirect(status, location) => json!({"action": "redirect", "status": status, "location": location}),
        Ended::Answer(status) => json!({"action": "answer", "status": status}),
        Ended::Health => json!({"action": "health"}),
        Ended::Refuse(status) => json!({"action": "refuse", "status": status}),
        Ended::Reset => json!({"action": "reset"}),
        Ended::File(folder) => json!({"action": "file", "folder": folder}),
        Ended::Forward { pool, target, pick, regions, home, fallback } => json!({
            "action": "forward",
            "pool": pool,
            "target": target,
            "node": pick.as_ref().ok(),
            "none_because": pick.as_ref().err().map(|none| match none {
                Unavailable::NoNode => "no_node",
                Unavailable::Full => "full",
                Unavailable::OverCapacity => "over_capacity",
            }),
            "regions": regions,
            "home": home,
            "fallback": fallback,
        }),
    }
}

impl<'a> CandidateShown<'a> {
    fn of(Chance { node, region, rank, against }: Chance<'a>, picked: Option<&NodeId>) -> Self {
        let excluded = against.into_iter().map(|Against { reason, by }| json!({"reason": reason, "by": by}));
        Self {
            id: &node.node.id,
            region,
            rank,
            picked: picked == Some(&node.node.id),
            health_score: node.health_score(),
            band: node.band(),
            weight: node.node.weight.get(),
            effective_weight: node.effective_weight,
            latency_ms: node.latency.map(|latency| (latency.as_secs_f64() * 1e6).round() / 1e3),
            in_flight: node.live.in_flight_everywhere(),
            max_connections: node.node.max_connections.get(),
            excluded: excluded.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_asked_about_as_clients_send_it() {
        for (url, sent) in [
            ("http://a/b?c=1", "http://a/b?c=1"),
            ("http://a?x=1", "http://a/?x=1"),
            ("http://a:80?x=/", "http://a:80/?x=/"),
            ("http://a", "http://a"),
            ("http://a/\u{fc} x", "http://a/%C3%BC%20x"),
            ("http://a/%2f", "http://a/%2f"),
        ] {
            assert_eq!(as_sent(url), sent, "{url}");
        }
    }
}
