//! Containers of nodes: by what the driver knows them, and which of them is to run.
//!
//! Nothing is remembered outside of the engine: whatever a peer was doing when it ended stands in states and labels of containers.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryHealthStatusEnum, ContainerSummaryStateEnum, EndpointSettings, HealthStatusEnum,
};

use super::super::effect::{Effect, NodeAt};
use super::settings::Publish;
use crate::model::{IntentId, NodeId};

/// What the names of labels begin with by which the driver knows its containers.
pub(super) const LABEL_PREFIX: &str = "evenkeel.";
/// The node of a container. It alone is needed on a container that an operator made.
pub(super) const NODE_LABEL: &str = "evenkeel.node";
/// The plan that made it.
pub(super) const INTENT_LABEL: &str = "evenkeel.intent";
/// The id of the container that stood for the node before it; empty: none did.
const BEFORE_LABEL: &str = "evenkeel.before";
/// For people alone.
const TERM_LABEL: &str = "evenkeel.term";
const POOL_LABEL: &str = "evenkeel.pool";
const REGION_LABEL: &str = "evenkeel.region";
const SERVER_LABEL: &str = "evenkeel.server";

/// Bytes of an id that an engine gave.
const ID_BYTES_MAX: usize = 128;

/// Characters that are told of a name.
const NAME_CHARS_MAX: usize = 128;

/// A container, as a list of the engine has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Container {
    /// By which the engine knows it.
    pub(super) id: String,
    /// What people call it.
    pub(super) name: String,
    /// Whose it is.
    pub(super) node: NodeId,
    /// Which plan made it; `None`: an operator did.
    pub(super) intent: Option<IntentId>,
    /// What its label says that stood there before it.
    pub(super) before: Option<String>,
    /// When it was made, in seconds since 1970.
    pub(super) created_s: i64,
    /// What it does.
    pub(super) state: State,
    /// What its health check says.
    pub(super) is_healthy: Option<bool>,
}

/// What a container does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// It was never started.
    New,
    /// It has processes, or will have some again without anybody's doing.
    Up,
    /// It has ended.
    Ended,
    /// It is about to be gone.
    Going,
}

impl Container {
    /// `None`, where it is no container of a node: labels are read again here, since a proxy may not heed what was asked for.
    pub(super) fn read(summary: ContainerSummary) -> Option<Self> {
        let labels = summary.labels.unwrap_or_default();
        let id = summary.id.filter(|id| is_id(id))?;
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        let name = one_line(name.trim_start_matches('/'), NAME_CHARS_MAX);
        Some(Self {
            name: if name.is_empty() { short(&id).to_owned() } else { name },
            id,
            node: labels.get(NODE_LABEL)?.parse().ok()?,
            intent: intent_of(&labels),
            before: labels.get(BEFORE_LABEL).cloned(),
            created_s: summary.created.unwrap_or_default(),
            state: match summary.state? {
                ContainerSummaryStateEnum::CREATED => State::New,
                ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::PAUSED
                | ContainerSummaryStateEnum::RESTARTING
                | ContainerSummaryStateEnum::STOPPING => State::Up,
                ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::EMPTY => State::Ended,
                ContainerSummaryStateEnum::REMOVING | ContainerSummaryStateEnum::DEAD => State::Going,
            },
            is_healthy: match summary.health.and_then(|health| health.status) {
                Some(ContainerSummaryHealthStatusEnum::HEALTHY) => Some(true),
                Some(ContainerSummaryHealthStatusEnum::UNHEALTHY) => Some(false),
                Some(_) => None,
                // Engines of before tell it in words alone.
                None => told_health(summary.status.as_deref().unwrap_or_default()),
            },
        })
    }

    /// The order in which containers stood for their node: those of later plans later, those of an operator first.
    fn age(&self) -> (Option<IntentId>, i64) {
        (self.intent, self.created_s)
    }
}

fn told_health(status: &str) -> Option<bool> {
    if status.ends_with("(healthy)") {
        Some(true)
    } else if status.ends_with("(unhealthy)") {
        Some(false)
    } else {
        None
    }
}

fn intent_of(labels: &HashMap<String, String>) -> Option<IntentId> {
    labels.get(INTENT_LABEL)?.parse().ok()
}

/// Whether it can be an id. It becomes part of a path, so nothing else is let through.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// As one line that can be seen, and no longer than this.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The containers of one node, as a plan sees them.
#[derive(Clone, Debug)]
pub(super) struct Here {
    /// Those that the plan made. There is one, unless somebody made labels by hand.
    pub(super) own: Vec<Container>,
    /// All others.
    pub(super) others: Vec<Container>,
    intent: IntentId,
}

/// What stood for a node before a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Before {
    /// Nothing did.
    Nothing,
    /// This container.
    Container(Container),
}

impl Here {
    pub(super) fn new(containers: Vec<Container>, intent: IntentId) -> Self {
        let (mut own, others): (Vec<_>, Vec<_>) =
            containers.into_iter().partition(|found| found.intent == Some(intent));
        // The one that runs is the one to keep.
        own.sort_by_key(|found| (found.state != State::Up, Reverse(found.created_s)));
        Self { own, others, intent }
    }

    /// The others that have processes.
    pub(super) fn others_up(&self) -> impl Iterator<Item = &Container> {
        self.others.iter().filter(|other| other.state == State::Up)
    }

    /// The others that stood for the node earlier than the plan: not those of a later one.
    pub(super) fn earlier(&self) -> impl Iterator<Item = &Container> {
        self.others.iter().filter(|other| other.intent.is_none_or(|intent| intent < self.intent))
    }

    /// What stood for the node before the plan: what the label of the plan's container says, and without one what the containers
    /// look like. A switch makes its container before it stops any, so without it the right one still runs.
    pub(super) fn before(&self) -> Before {
        match self.own.iter().find_map(|own| own.before.as_deref()) {
            Some("") => return Before::Nothing,
            Some(id) => {
                if let Some(other) = self.others.iter().find(|other| other.id == id) {
                    return Before::Container(other.clone());
                }
            }
            None => {}
        }
        self.stands().map_or(Before::Nothing, |other| Before::Container(other.clone()))
    }

    /// Which of the others stands for the node, or did so last: one that runs before one that does not, then that of the latest plan.
    pub(super) fn stands(&self) -> Option<&Container> {
        let may_have = self.earlier().filter(|other| matches!(other.state, State::Up | State::Ended));
        may_have.max_by_key(|other| (other.state == State::Up, other.age()))
    }
}

/// The name of the container that a plan makes.
pub(super) fn name(effect: &Effect) -> String {
    format!("{}.{}", effect.node.id, effect.intent)
}

/// The labels by which it is known later.
pub(super) fn labels(effect: &Effect, before: Option<&Container>) -> HashMap<String, String> {
    let NodeAt { id, pool, region, .. } = &effect.node;
    let mut labels: HashMap<String, String> = [
        (NODE_LABEL, id.to_string()),
        (INTENT_LABEL, effect.intent.to_string()),
        (BEFORE_LABEL, before.map(|before| before.id.clone()).unwrap_or_default()),
        (TERM_LABEL, effect.term.to_string()),
        (POOL_LABEL, pool.to_string()),
        (REGION_LABEL, region.to_string()),
    ]
    .into_iter()
    .map(|(label, text)| (label.to_owned(), text))
    .collect();
    if let Some(server) = &effect.to {
        labels.insert(SERVER_LABEL.to_owned(), server.id.to_string());
    }
    labels
}

/// A container, looked at by itself.
#[derive(Clone, Debug)]
pub(super) struct Inspected {
    pub(super) id: String,
    /// The node and the plan that its labels name.
    pub(super) made_for: (Option<NodeId>, Option<IntentId>),
    state: ContainerState,
    networks: HashMap<String, EndpointSettings>,
    /// Where the engine passes on what comes for the node's port.
    published: Vec<(IpAddr, u16)>,
}

/// How far a container is that was started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// Its health check says that it is well.
    Healthy,
    /// It runs; it has no health check.
    Runs {
        /// Since when, in the engine's words: others after it was started again.
        since: String,
    },
    /// Not yet.
    Waiting(String),
    /// Its health check has given it up.
    Unhealthy,
    /// It has ended.
    Ended(String),
}

impl Inspected {
    /// `None`, where that is no answer about a container.
    pub(super) fn read(answer: ContainerInspectResponse, port: u16) -> Option<Self> {
        let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
        let network = answer.network_settings.unwrap_or_default();
        let bindings = network.ports.unwrap_or_default().remove(&format!("{port}/tcp")).flatten().unwrap_or_default();
        let published = bindings.iter().filter_map(|binding| {
            // An engine that leaves the address out means all.
            let ip = binding.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
            let port = binding.host_port.as_deref()?.parse().ok().filter(|&port| port != 0)?;
            Some((ip.parse().ok()?, port))
        });
        Some(Self {
            id: answer.id.filter(|id| is_id(id))?,
            made_for: (labels.get(NODE_LABEL).and_then(|node| node.parse().ok()), intent_of(&labels)),
            state: answer.state?,
            networks: network.networks.unwrap_or_default(),
            published: published.collect(),
        })
    }

    pub(super) fn progress(&self) -> Progress {
        use ContainerStateStatusEnum as Status;
        let state = &self.state;
        match state.status.unwrap_or(Status::EMPTY) {
            Status::RUNNING => match state.health.as_ref().and_then(|health| health.status) {
                Some(HealthStatusEnum::HEALTHY) => Progress::Healthy,
                Some(HealthStatusEnum::UNHEALTHY) => Progress::Unhealthy,
                Some(HealthStatusEnum::STARTING) => {
                    Progress::Waiting("its health check says that it is starting".to_owned())
                }
                Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => {
                    Progress::Runs { since: state.started_at.clone().unwrap_or_default() }
                }
            },
            Status::RESTARTING => Progress::Waiting("it ends and is started again".to_owned()),
            Status::PAUSED => Progress::Waiting("it is paused".to_owned()),
            Status::CREATED => Progress::Waiting("it is not started yet".to_owned()),
            Status::STOPPING | Status::REMOVING => Progress::Ended("somebody ends it".to_owned()),
            Status::EXITED | Status::DEAD | Status::EMPTY => Progress::Ended(match state.exit_code {
                _ if state.oom_killed == Some(true) => "it was ended for want of memory".to_owned(),
                Some(code) => format!("it ended with exit code {code}"),
                None => "it ended".to_owned(),
            }),
        }
    }

    /// Those of these networks that it is not on.
    pub(super) fn missing<'a>(&self, networks: &'a [String]) -> Vec<&'a str> {
        networks.iter().map(String::as_str).filter(|network| !self.networks.contains_key(*network)).collect()
    }

    /// Where the node is reached; `None`: it has no such address.
    pub(super) fn address(&self, publish: Publish, networks: &[String], port: u16) -> Option<String> {
        let (ip, port) = match publish {
            Publish::Nowhere => (self.ip(networks)?, port),
            Publish::At(wanted) => {
                let at = |ip: IpAddr| self.published.iter().find(|(bound, _)| *bound == ip).map(|(_, port)| *port);
                let everywhere = if wanted.is_ipv4() { IpAddr::from([0, 0, 0, 0]) } else { IpAddr::from([0_u16; 8]) };
                (wanted, at(wanted).or_else(|| at(everywhere))?)
            }
        };
        Some(std::net::SocketAddr::new(ip, port).to_string())
    }

    /// Its address on the first of these networks; without such a one, on any.
    fn ip(&self, networks: &[String]) -> Option<IpAddr> {
        let of = |network: &EndpointSettings| {
            let told = [&network.ip_address, &network.global_ipv6_address];
            told.into_iter().flatten().find_map(|ip| ip.parse::<IpAddr>().ok())
        };
        if let Some(first) = networks.first().and_then(|first| self.networks.get(first)) {
            return of(first);
        }
        // By name, so that it is the same one each time.
        let mut names: Vec<&String> = self.networks.keys().collect();
        names.sort();
        names.into_iter().find_map(|name| of(&self.networks[name]))
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, Health, NetworkSettings, PortBinding};

    use super::*;

    fn container(id: &str, intent: Option<u64>, state: State) -> Container {
        Container {
            id: id.to_owned(),
            name: id.to_owned(),
            node: "us-1".parse().unwrap(),
            intent: intent.map(IntentId::of_revision),
            before: None,
            created_s: 0,
            state,
            is_healthy: None,
        }
    }

    fn here(containers: Vec<Container>) -> Here {
        Here::new(containers, IntentId::of_revision(42))
    }

    fn stood(here: &Here) -> Option<String> {
        match here.before() {
            Before::Nothing => None,
            Before::Container(found) => Some(found.id),
        }
    }

    #[test]
    fn before_a_plan_stood_what_its_container_says() {
        let mut own = container("new", Some(42), State::Up);
        own.before = Some("first".to_owned());
        let all = vec![container("i40", Some(40), State::Ended), own.clone(), container("first", None, State::Ended)];
        assert_eq!(stood(&here(all)), Some("first".to_owned()));
        own.before = Some(String::new());
        assert_eq!(stood(&here(vec![own.clone(), container("first", None, State::Ended)])), None, "it was started");
        own.before = Some("removed by hand".to_owned());
        assert_eq!(stood(&here(vec![own, container("first", None, State::Ended)])), Some("first".to_owned()));
    }

    #[test]
    fn without_the_plans_container_what_runs_stood_before_it_else_the_latest() {
        let first = || container("first", None, State::Ended);
        let older = || container("i40", Some(40), State::Ended);
        let mut second = container("second", None, State::Ended);
        second.created_s = 7;
        assert_eq!(stood(&here(vec![first(), older(), second.clone()])), Some("i40".to_owned()));
        assert_eq!(stood(&here(vec![second.clone(), first()])), Some("second".to_owned()));
        let running = container("running", None, State::Up);
        assert_eq!(stood(&here(vec![older(), running])), Some("running".to_owned()));
        let never = container("never", Some(41), State::New);
        let going = container("going", Some(41), State::Going);
        assert_eq!(stood(&here(vec![never, going, first()])), Some("first".to_owned()));
        assert_eq!(stood(&here(vec![container("later", Some(43), State::Up)])), None);
        assert_eq!(stood(&here(Vec::new())), None);
    }

    fn summary(labels: &[(&str, &str)]) -> ContainerSummary {
        ContainerSummary {
            id: Some("0123456789abcdef".to_owned()),
            names: Some(vec!["/us-1.i42".to_owned()]),
            state: Some(ContainerSummaryStateEnum::RUNNING),
            status: Some("Up 2 minutes (unhealthy)".to_owned()),
            labels: Some(labels.iter().map(|&(label, text)| (label.to_owned(), text.to_owned())).collect()),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn a_container_is_a_nodes_by_its_labels_alone() {
        let read = Container::read(summary(&[(NODE_LABEL, "us-1"), (INTENT_LABEL, "i42")])).unwrap();
        assert_eq!((read.name.as_str(), read.intent), ("us-1.i42", Some(IntentId::of_revision(42))));
        assert_eq!(read.is_healthy, Some(false));
        let odd = Container::read(summary(&[(NODE_LABEL, "us-1"), (INTENT_LABEL, "yesterday")])).unwrap();
        assert_eq!(odd.intent, None, "such a one an operator made");
        assert_eq!(Container::read(summary(&[])), None);
        assert_eq!(Container::read(summary(&[(NODE_LABEL, "Not A Node")])), None);
        let mut hostile = summary(&[(NODE_LABEL, "us-1")]);
        hostile.id = Some("../../images".to_owned());
        assert_eq!(Container::read(hostile), None);
    }

    fn inspected(state: ContainerState) -> Inspected {
        let binding =
            |ip: &str, port: &str| PortBinding { host_ip: Some(ip.to_owned()), host_port: Some(port.to_owned()) };
        let on = |ip: &str| EndpointSettings { ip_address: Some(ip.to_owned()), ..EndpointSettings::default() };
        let networks = [("vpn", on("10.8.0.2")), ("bridge", on("172.17.0.2")), ("none", on(""))];
        let network_settings = NetworkSettings {
            ports: Some(HashMap::from([
                ("8000/tcp".to_owned(), Some(vec![binding("127.0.0.1", "32768"), binding("0.0.0.0", "8001")])),
                ("9000/tcp".to_owned(), None),
            ])),
            networks: Some(networks.into_iter().map(|(name, network)| (name.to_owned(), network)).collect()),
            ..NetworkSettings::default()
        };
        let answer = ContainerInspectResponse {
            id: Some("0123".to_owned()),
            state: Some(state),
            config: Some(ContainerConfig::default()),
            network_settings: Some(network_settings),
            ..ContainerInspectResponse::default()
        };
        Inspected::read(answer, 8000).unwrap()
    }

    #[test]
    fn a_node_is_reached_where_its_container_is_published_or_on_its_first_network() {
        let container = inspected(ContainerState::default());
        let at = |ip: &str| container.address(Publish::At(ip.parse().unwrap()), &[], 8000);
        assert_eq!(at("127.0.0.1").as_deref(), Some("127.0.0.1:32768"));
        assert_eq!(at("10.0.0.5").as_deref(), Some("10.0.0.5:8001"), "it is published at all addresses");
        assert_eq!(at("::1"), None);
        let on = |networks: &[&str]| {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            container.address(Publish::Nowhere, &networks, 8000)
        };
        assert_eq!(on(&["vpn", "bridge"]).as_deref(), Some("10.8.0.2:8000"));
        assert_eq!(on(&[]).as_deref(), Some("172.17.0.2:8000"));
        assert_eq!(on(&["gone"]).as_deref(), Some("172.17.0.2:8000"), "that of an operator is elsewhere");
        assert_eq!(on(&["none"]), None);
        assert_eq!(container.missing(&["vpn".to_owned(), "gone".to_owned()]), ["gone"]);
    }

    #[test]
    fn progress_is_what_state_and_health_say() {
        let state = |status, health: Option<HealthStatusEnum>, exit_code| ContainerState {
            status: Some(status),
            health: health.map(|status| Health { status: Some(status), ..Health::default() }),
            exit_code,
            started_at: Some("t".to_owned()),
            ..ContainerState::default()
        };
        use {ContainerStateStatusEnum as Status, HealthStatusEnum as Told};
        let runs = Progress::Runs { since: "t".to_owned() };
        for (status, health, progress) in [
            (Status::RUNNING, None, runs.clone()),
            (Status::RUNNING, Some(Told::NONE), runs),
            (Status::RUNNING, Some(Told::HEALTHY), Progress::Healthy),
            (Status::RUNNING, Some(Told::UNHEALTHY), Progress::Unhealthy),
            (Status::EXITED, Some(Told::HEALTHY), Progress::Ended("it ended with exit code 2".to_owned())),
            (Status::REMOVING, None, Progress::Ended("somebody ends it".to_owned())),
        ] {
            assert_eq!(inspected(state(status, health, Some(2))).progress(), progress, "{status:?} {health:?}");
        }
        for (status, health) in [
            (Status::RUNNING, Some(Told::STARTING)),
            (Status::RESTARTING, None),
            (Status::PAUSED, None),
            (Status::CREATED, None),
        ] {
            assert!(matches!(inspected(state(status, health, None)).progress(), Progress::Waiting(_)), "{status:?}");
        }
    }
}
