//! `health_path` of a listener: whether traffic is well sent here, for whatever spreads it over several peers.

use super::picture::{Method, RequestHead};
use super::session::Session;
use crate::model::FixedAnswer;
use crate::proxy::settings::Http;
use crate::route::path;

/// The answer, where the request is that question.
pub(super) fn asked(session: &Session<'_>) -> Option<FixedAnswer> {
    is_asked(session.settings, &session.request).then(|| answer(session))
}

/// Whether a request is that question.
pub(crate) fn is_asked(settings: &Http, request: &RequestHead) -> bool {
    settings.health_path.as_deref().is_some_and(|wanted| {
        matches!(request.method, Method::Get | Method::Head) && path::of(&request.target) == wanted.as_bytes()
    })
}

fn answer(session: &Session<'_>) -> FixedAnswer {
    let worker = session.worker;
    let name = worker.pool_of(session.bound);
    let (nodes, usable) = worker.pool(name).map_or((0, 0), |pool| {
        let usable = pool.nodes.iter().filter(|node| node.is_usable() && !node.live.is_suspect());
        (pool.nodes.len(), usable.count())
    });
    let status = match (worker.keeps_connections(), usable) {
        (false, _) => "draining",
        (true, 0) => "no_node",
        (true, _) => "ok",
    };
    // Names and numbers alone: nothing is to be escaped.
    let body = format!("{{\"status\":\"{status}\",\"pool\":\"{name}\",\"nodes\":{nodes},\"usable\":{usable}}}\n");
    FixedAnswer {
        status: if status == "ok" { 200 } else { 503 },
        body: body.into(),
        content_type: "application/json".into(),
    }
}
