//! Variables that users of the systems Evenkeel takes over from have set already, and everything else of the environment
//! that is no key of a section.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::sources::Environment;
use crate::catalog::rules::{
    FALL, INTERVAL, LITTLE, MUCH, NODES_AT_MOST, Over, OverScaling, PoolRead, REGION_STRATEGY, STRATEGY,
};
use crate::document::{
    Content, Fault, Form, NOT_AVAILABLE, Origin, Override, Reader, Section, Setting, Wrong, YesNo, nearest, shorten,
};
use crate::model::{HostSent, ListenerName, Node, NodeAddress, NodeId, Pool, PoolName, RegionName};
use crate::proxy::{Http, Listener, Protocol};

const REGIONAL_ENDPOINTS: &str = "REGIONAL_ENDPOINTS";
const BALANCER: &str = "LOAD_BALANCER_ENABLED";
const REGIONAL_ALLOWED: &str =
    "region:address, with commas between: us-east:https://us.example.com,eu-west:10.0.0.7:80";

/// The name of the pool and of the listener that `REGIONAL_ENDPOINTS` makes.
const REGIONS: &str = "regions";

fn regions_pool() -> PoolName {
    REGIONS.parse().expect("`regions` is a legal name")
}

/// The settings of [`regions_listener`], for the list of all.
pub(super) fn note_regions_listener(reader: &mut Reader<'_>) {
    let listener = regions_listener();
    let values = [("listen", listener.address.to_string()), ("pool", listener.pool.to_string())];
    for (key, value) in values {
        reader.settings.push(Setting {
            key: format!("listener \"{REGIONS}\" {key}"),
            value: format!("\"{value}\""),
            origin: variable(REGIONAL_ENDPOINTS),
        });
    }
}

/// The listener of a peer that was told nothing but `REGIONAL_ENDPOINTS`.
pub(super) fn regions_listener() -> Listener {
    Listener {
        name: REGIONS.parse::<ListenerName>().expect("`regions` is a legal name"),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
        pool: regions_pool(),
        connections_max: super::listener::CONNECTIONS_DEFAULT,
        connections_per_client_max: None,
        protocol: Protocol::Http(Http::default()),
        tls: None,
        access_log: None,
    }
}

fn variable(name: &str) -> Origin {
    Origin::Environment { name: name.to_owned() }
}

fn refuse(reader: &mut Reader<'_>, name: &str, found: &str, wrong: Wrong, allowed: String) {
    let mut fault = Fault::new(variable(name), name, wrong.why).found(shorten(found)).allowed(allowed);
    fault.hint = wrong.hint;
    reader.fault(fault);
}

/// The variable, as that form reads it. Those systems write `True` as well.
fn said<F: Form>(reader: &mut Reader<'_>, name: &'static str, form: &F) -> Option<F::Out> {
    let text = reader.inherited(name)?;
    match form.read(&Content::Word(text.to_lowercase())) {
        Ok(value) => Some(value),
        Err(wrong) => {
            refuse(reader, name, text, wrong, form.allowed());
            None
        }
    }
}

fn over<F: Form>(reader: &mut Reader<'_>, variable: &'static str, form: &F) -> Option<Override<F::Out>> {
    let value = said(reader, variable, form);
    Some(Override { variable, value })
}

/// Reads them all.
pub(super) fn read(reader: &mut Reader<'_>) -> Over {
    let strategy = said(reader, "LOAD_BALANCER_STRATEGY", &STRATEGY);
    let interval = interval(reader);
    let region_strategy = said(reader, "LOAD_BALANCING_STRATEGY", &REGION_STRATEGY);
    let fall = said(reader, "FAILOVER_THRESHOLD", &FALL);
    if said(reader, BALANCER, &YesNo) == Some(false) {
        let wrong = Wrong::new("there is nothing left of a balancer that does not balance");
        let wrong = wrong.hint("drain the nodes that are to get nothing, or set the pool's strategy");
        refuse(reader, BALANCER, "false", wrong, "true".to_owned());
    }
    let regional = reader.inherited(REGIONAL_ENDPOINTS);
    let mut over = Over {
        strategy: Some(Override { variable: "LOAD_BALANCER_STRATEGY", value: strategy }),
        region_strategy: Some(Override { variable: "LOAD_BALANCING_STRATEGY", value: region_strategy }),
        interval: Some(Override { variable: "HEALTH_CHECK_INTERVAL", value: interval }),
        fall: Some(Override { variable: "FAILOVER_THRESHOLD", value: fall }),
        auto_shift: over(reader, "FAILOVER_ENABLED", &YesNo),
        scaling: OverScaling {
            enabled: over(reader, "AUTO_SCALE_ENABLED", &YesNo),
            max_nodes: over(reader, "MAX_NODES_PER_COUNTRY", &NODES_AT_MOST),
            up: over(reader, "SCALE_UP_THRESHOLD", &MUCH),
            down: over(reader, "SCALE_DOWN_THRESHOLD", &LITTLE),
        },
        beside: None,
    };
    let Some(text) = regional else { return over };
    let nodes = regional_nodes(reader, text);
    let mut pool = Pool { nodes, host_sent: HostSent::Node, ..Pool::new(regions_pool()) };
    pool.strategy = strategy.unwrap_or(pool.strategy);
    pool.region_strategy = region_strategy.unwrap_or(pool.region_strategy);
    pool.check.interval = interval.unwrap_or(pool.check.interval);
    pool.check.fall = fall.unwrap_or(pool.check.fall);
    let from = |is_set: bool, name: &str| if is_set { variable(name) } else { Origin::Default };
    let strategy_from = from(strategy.is_some(), "LOAD_BALANCER_STRATEGY");
    let region_strategy_from = from(region_strategy.is_some(), "LOAD_BALANCING_STRATEGY");
    let fall_from = from(fall.is_some(), "FAILOVER_THRESHOLD");
    let interval_from = interval.map_or(Origin::Default, |_| variable("HEALTH_CHECK_INTERVAL"));
    let mut note = |key: String, value: String, origin: Origin| {
        reader.settings.push(Setting { key: format!("pool \"{REGIONS}\" {key}"), value, origin });
    };
    note("strategy".to_owned(), format!("\"{}\"", pool.strategy), strategy_from);
    note("region_strategy".to_owned(), REGION_STRATEGY.show(&pool.region_strategy), region_strategy_from);
    note("health.interval".to_owned(), INTERVAL.show(&pool.check.interval), interval_from);
    note("health.fall".to_owned(), FALL.show(&pool.check.fall), fall_from);
    note("host".to_owned(), "\"node\"".to_owned(), variable(REGIONAL_ENDPOINTS));
    for node in &pool.nodes {
        note(format!("node \"{}\" address", node.id), format!("\"{}\"", node.address), variable(REGIONAL_ENDPOINTS));
    }
    over.beside = Some((pool, variable(REGIONAL_ENDPOINTS)));
    over
}

/// Variables that set something of pools that are scaled, where none is.
pub(super) fn warn_of_unused(s: &mut Section<'_, '_, '_>, pools: &[PoolRead], over: &Over) {
    if pools.iter().any(|pool| pool.pool.as_ref().is_none_or(|pool| pool.scaling.is_some())) {
        return;
    }
    let OverScaling { enabled, max_nodes, up, down } = &over.scaling;
    let set = [set(enabled), set(max_nodes), set(up), set(down)];
    for name in set.into_iter().flatten() {
        let message = "it has no effect: no pool is scaled; write `scaling` of a pool, with its driver";
        s.reader().warn(variable(name), name, message);
    }
}

fn set<T>(over: &Option<Override<T>>) -> Option<&'static str> {
    over.as_ref().filter(|over| over.value.is_some()).map(|over| over.variable)
}

/// Seconds, as those systems count, or a duration.
fn interval(reader: &mut Reader<'_>) -> Option<Duration> {
    let name = "HEALTH_CHECK_INTERVAL";
    let text = reader.inherited(name)?;
    let read = match text.parse::<u64>() {
        Ok(seconds) => INTERVAL.within(Duration::from_secs(seconds)),
        Err(_) => INTERVAL.parse(text),
    };
    match read {
        Ok(interval) => Some(interval),
        Err(wrong) => {
            refuse(reader, name, text, wrong, format!("whole seconds, or {}", INTERVAL.allowed()));
            None
        }
    }
}

/// One node a region: `us-east:https://us.example.com` is node `us-east-1`.
fn regional_nodes(reader: &mut Reader<'_>, text: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut seen = HashSet::new();
    if text.split(',').all(|part| part.trim().is_empty()) {
        refuse(reader, REGIONAL_ENDPOINTS, text, Wrong::new("it names no region"), REGIONAL_ALLOWED.to_owned());
    }
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let read = regional_node(part).and_then(|(region, node)| {
            let twice = || {
                Wrong::new("its region stands there twice")
                    .hint("name each region once; more nodes of a region go into the file")
            };
            if seen.insert(region) { Ok(node) } else { Err(twice()) }
        });
        match read {
            Ok(node) => nodes.push(node),
            Err(wrong) => refuse(reader, REGIONAL_ENDPOINTS, part, wrong, REGIONAL_ALLOWED.to_owned()),
        }
    }
    nodes
}

fn regional_node(part: &str) -> Result<(RegionName, Node), Wrong> {
    // What other lists write between a name and its value.
    if let Some((region, address)) = part.split_once('=')
        && region.trim().parse::<RegionName>().is_ok()
    {
        return Err(Wrong::new("it has = where a colon belongs, between the region and its address").hint(format!(
            "write {}:{}",
            region.trim(),
            address.trim()
        )));
    }
    let (region, address) = part.split_once(':').ok_or_else(|| {
        let region = part.parse::<RegionName>().map_or_else(|_| "us-east".to_owned(), |region| region.to_string());
        Wrong::new("a colon after the region is missing").hint(format!("write {region}:https://{region}.example.com"))
    })?;
    // Where the region is left out, the scheme stands in its place.
    if address.starts_with("//") {
        return Err(
            Wrong::new("it does not say the region").hint(format!("write us-east:{part}, with the region's name"))
        );
    }
    let region: RegionName = region.trim().parse().map_err(|error| Wrong::new(format!("the region: {error}")))?;
    let id: NodeId = format!("{region}-1").parse().map_err(|error| Wrong::new(format!("the node's id: {error}")))?;
    let address: NodeAddress = address.trim().parse().map_err(|error| Wrong::new(format!("the address: {error}")))?;
    let node = Node { region: Some(region.clone()), ..Node::new(id, address) };
    Ok((region, node))
}

/// Refuses the variables that mean nothing. Called last, when every known one was asked for.
pub(super) fn refuse_unknown(reader: &mut Reader<'_>, environment: &Environment) {
    for name in environment.names() {
        let fault = Fault::new(variable(name), name, NOT_AVAILABLE)
            .found(shorten(environment.get(name).unwrap_or_default()))
            .hint(format!("remove {name} from the environment; nothing here acts on it yet"));
        if is_ours(name) && !is_known(reader, name) && reader.is_later_variable(name) {
            reader.fault(fault);
        } else if is_ours(name) && !is_known(reader, name) {
            let mut fault = Fault { wrong: "there is no such setting".to_owned(), hint: None, ..fault };
            if ["LISTENER", "POOL", "REGION", "SERVER", "ROUTE"].iter().any(|list| rest(name).starts_with(list)) {
                fault =
                    fault.hint("listeners, pools, regions, servers and routes are lists, which only the file can hold");
            } else if let Some(meant) = nearest(name, reader.known_variables().iter().map(String::as_str)) {
                fault = fault.hint(format!("did you mean {meant}?"));
            } else {
                fault = fault.allowed(reader.known_variables().iter().cloned().collect::<Vec<_>>().join(", "));
            }
            reader.fault(fault);
        }
    }
    for name in environment.unreadable() {
        if is_ours(name) || is_known(reader, name) {
            let fault = Fault::new(variable(name), name, "its value is not UTF-8").hint("set it anew, or remove it");
            reader.fault(fault);
        }
    }
}

/// What follows our own beginning.
fn rest(name: &str) -> &str {
    name.strip_prefix("EVENKEEL_").unwrap_or_default()
}

fn is_known(reader: &Reader<'_>, name: &str) -> bool {
    reader.known_variables().contains(name)
}

/// Whether a variable is meant for a peer. `EVENKEEL_API` tells `evenkeel status` and its like whom to ask, and whoever has
/// set it may start a peer all the same. Tests have names of their own, and Kubernetes writes the addresses of a service
/// called `evenkeel` into the environment of every container beside it.
fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("EVENKEEL_") else { return false };
    let of_client = rest == "API";
    let of_tests = rest == "SOAK" || rest.starts_with("TEST_");
    let port_of_service =
        rest == "PORT" || rest.ends_with("_PORT") || rest.starts_with("PORT_") || rest.contains("_PORT_");
    let of_kubernetes = port_of_service || rest == "SERVICE_HOST" || rest.ends_with("_SERVICE_HOST");
    !of_client && !of_tests && !of_kubernetes
}
