//! `health_path` of a listener: whether traffic is well sent here, for whatever spreads it over several peers.

use super::picture::Method;
use super::session::Session;
use crate::model::FixedAnswer;
use crate::route::path;

/// The answer, where the request is that question.
pub(super) fn asked(session: &Session<'_>) -> Option<FixedAnswer> {
    let wanted = session.settings.health_path.as_deref()?;
    let request = &session.request;
    let is_asked =
        matches!(request.method, Method::Get | Method::Head) && path::of(&request.target) == wanted.as_bytes();
    is_asked.then(|| answer(session))
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
