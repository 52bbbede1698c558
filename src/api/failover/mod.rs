//! Failover by hand, and how it stands: nodes moved, regions shifted, pools scaled, servers that are not to be used.

mod plans;
mod regions;
mod servers;
mod status;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use plans::{move_node, resolve, scale, scale_down, scale_up};
pub(super) use regions::{drill, shift, trigger, unshift};
pub(super) use servers::{blacklist, blacklisted, unblacklist};
pub(super) use status::status;

use super::error::ApiError;
use crate::catalog::{Applied, Managed, Source};
use crate::model::{PoolName, RegionName, ServerId};
use crate::peer::Handles;

/// How long an operator's shift, or a server's place on the blacklist, may last.
const DAYS_30: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3_600);

fn managed(applied: &Applied) -> Option<&Managed> {
    match &applied.source {
        Source::File { .. } => None,
        Source::Committed { body, .. } => Some(&body.managed),
    }
}

/// How long something is to last, where that is said.
fn lasts(duration: Option<String>, within: RangeInclusive<Duration>) -> Result<Option<Duration>, ApiError> {
    let read = |text: String| {
        crate::document::duration(&text, *within.start(), *within.end())
            .map_err(|why| ApiError::bad_body(format!("duration: {why}")))
    };
    duration.map(read).transpose()
}

/// Words of an operator, as far as the catalog keeps them.
fn words(key: &str, words: Option<String>) -> Result<String, ApiError> {
    let words = words.unwrap_or_default();
    let most = crate::model::limits::REASON_BYTES_MAX;
    if words.len() > most || words.chars().any(char::is_control) {
        return Err(ApiError::bad_body(format!("{key}: a text of one line, at most {most} bytes")));
    }
    Ok(words)
}

fn server(handles: &Handles, id: &str) -> Result<ServerId, ApiError> {
    let applied = handles.agreed.catalog.applied();
    let known = || applied.catalog.servers().iter().map(|server| server.id.as_str());
    let found = applied.catalog.servers().iter().find(|server| server.id.as_str() == id);
    found.map(|server| server.id.clone()).ok_or_else(|| ApiError::unknown("server", id, known()))
}

fn pool_of(handles: &Handles, name: &str) -> Result<PoolName, ApiError> {
    let applied = handles.agreed.catalog.applied();
    let known = || applied.catalog.pools().iter().map(|pool| pool.name.as_str());
    let found = applied.catalog.pools().iter().find(|pool| pool.name.as_str() == name);
    found.map(|pool| pool.name.clone()).ok_or_else(|| ApiError::unknown("pool", name, known()))
}

fn region(handles: &Handles, name: &str) -> Result<RegionName, ApiError> {
    let applied = handles.agreed.catalog.applied();
    let written = applied.catalog.regions().iter().map(|region| &region.name);
    let of_nodes = applied.catalog.nodes().filter_map(|(_, node)| node.region.as_ref());
    // Nodes of which nobody says where they are are where the peers are.
    let members = handles.view.load();
    let of_peers = members.members().iter().map(|member| &member.region);
    let known: BTreeSet<&str> = written.chain(of_nodes).chain(of_peers).map(RegionName::as_str).collect();
    let found = name.parse().ok().filter(|_| known.contains(name));
    found.ok_or_else(|| ApiError::unknown("region", name, known.iter().copied()))
}
