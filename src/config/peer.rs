//! The sections that tell one peer who it is: `[peer]`, `[api]`, `[log]`, `[upstream]`.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::path::FOLDER;
use super::sources::Machine;
use crate::api;
use crate::document::{Choice, NOT_AVAILABLE, Section, Span, Words, Wrong, YesNo, name, quoted, whole};
use crate::model::{PeerId, RegionName};
use crate::proxy::Idle;
use crate::telemetry::log;

const MS_10: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// An address to listen at.
pub(super) const ADDRESS: Words<SocketAddr> = Words::of(
    "an IP address and a port, \"127.0.0.1:8000\" or \"[::1]:8000\"; port 0 takes a free one",
    address,
    quoted,
);

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let wrong = Wrong::new("it is not an IP address with a port");
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if port.parse::<u16>().is_err() {
            // An address without a port, perhaps.
            return match text.parse::<std::net::IpAddr>() {
                Ok(ip) => wrong.hint(format!("write \"{}\"", SocketAddr::new(ip, 8000))),
                Err(_) => wrong,
            };
        }
        match host {
            "" | "*" => wrong.hint(format!("write \"0.0.0.0:{port}\" for all IPv4 addresses, \"[::]:{port}\" for all")),
            "localhost" => wrong.hint(format!("write \"127.0.0.1:{port}\"")),
            _ => wrong,
        }
    })
}

const API_ADDRESS: Words<api::Settings> = Words::of(
    "a loopback address and a port, \"127.0.0.1:8080\"; port 0 takes a free one",
    |text| {
        if text.starts_with("unix:") {
            return Err(Wrong::new(format!("a unix socket is {NOT_AVAILABLE}")));
        }
        api::Settings::new(address(text)?).map_err(|error| Wrong::new(error.to_string()))
    },
    |settings| quoted(&settings.listen()),
);

const LEVEL: Choice<log::Level> = Choice {
    words: &[
        ("trace", log::Level::Trace),
        ("debug", log::Level::Debug),
        ("info", log::Level::Info),
        ("warn", log::Level::Warn),
        ("error", log::Level::Error),
    ],
    aliases: &[("warning", log::Level::Warn), ("critical", log::Level::Error)],
    later: &[],
};

const FORMAT: Choice<log::Format> = Choice::of(&[("text", log::Format::Text), ("json", log::Format::Json)]);

/// Of `[peer]`.
pub(super) struct Peer {
    pub id: PeerId,
    pub region: RegionName,
    pub data_dir: PathBuf,
    pub workers: NonZeroUsize,
    pub announce: Duration,
    pub drain: Duration,
    pub connections_max: Option<NonZeroU32>,
}

pub(super) fn peer(s: &mut Section<'_, '_, '_>, machine: &Machine) -> Peer {
    s.section("peer", "Who this peer is, how much of the machine it takes, how it stops.", |s| {
        let id = s.key_of_machine("id", &name(), machine.peer_id.clone(), "the host name", "Its name, unique in the cluster.");
        let state = machine.state.of(&id);
        Peer {
            id,
            region: s.key("region", &name(), RegionName::default(), "Where it is: a country code (`us`) or a cloud region (`eu-west`)."),
            data_dir: s.key_of_machine(
                "data_dir",
                &FOLDER,
                state,
                "`$STATE_DIRECTORY`; else `/var/lib/evenkeel/<id>`, where that can be written; else `<id>` in \
                 `$XDG_STATE_HOME/evenkeel` or `~/.local/state/evenkeel`",
                "The folder of what it must remember across a restart: its vote and the catalog. It is made where it is \
                 missing. No two peers have the same, and none is given that of another.",
            ),
            workers: s.key_of_machine(
                "workers",
                &whole(1, 1_024),
                machine.cores,
                "one a core",
                "Threads of the data plane. Each has its own connections to nodes, so fewer threads reuse them better and \
                 more threads carry more traffic.",
            ),
            announce: s.key(
                "announce",
                &Span(Duration::ZERO, HOUR),
                Duration::from_secs(1),
                "How long a stopping peer says so (`/health` answers 503, answers carry `Connection: close`) before it stops \
                 accepting. Keep it longer than whatever stands before the peer takes to notice.",
            ),
            drain: s.key(
                "drain",
                &Span(Duration::ZERO, DAY),
                Duration::from_secs(30),
                "How long requests and connections may then take to finish. What is open after that is cut.",
            ),
            connections_max: s.optional(
                "max_connections",
                &whole(1, 1_000_000),
                "as many as the listeners take together",
                "Client connections at the same time, over all listeners; more are closed at once and counted. Keep it below \
                 half of the descriptors that the process may have.",
            ),
        }
    })
}

/// `[catalog]`: whether the cluster's catalog follows the file. `is_alone`: there is no `[cluster]`.
pub(super) fn catalog(s: &mut Section<'_, '_, '_>, is_alone: bool) -> bool {
    s.section("catalog", "What the catalog of the file, which is all of it from `[[pool]]` on, is to the cluster.", |s| {
        s.key_that_follows(
            "follow_file",
            &YesNo,
            is_alone,
            "true without a `[cluster]`, else false",
            "Whether the cluster's catalog becomes that of the file whenever the file is read. Where not, the file only \
             starts a new cluster, and later changes go through the API.",
        )
    })
}

pub(super) fn api(s: &mut Section<'_, '_, '_>) -> api::Settings {
    s.section("api", "The HTTP API for operators and `/metrics`.", |s| {
        let settings = s.key(
            "listen",
            &API_ADDRESS,
            api::Settings::default(),
            "Where it listens. The API of this version has no users, so only this machine may reach it.",
        );
        s.later(&["user"]);
        settings
    })
}

pub(super) fn log(s: &mut Section<'_, '_, '_>) -> log::Settings {
    let default = log::Settings::default();
    s.section("log", "The log: one line an event, to standard error.", |s| log::Settings {
        level: s.key("level", &LEVEL, default.level, "What is said at least."),
        format: s.key("format", &FORMAT, default.format, "How a line looks: for people, or one JSON object a line."),
    })
}

pub(super) fn upstream(s: &mut Section<'_, '_, '_>) -> Idle {
    let default = Idle::default();
    s.section("upstream", "Connections to nodes that are kept for the next request.", |s| Idle {
        connections_max: s.key(
            "idle_connections",
            &whole(0, 65_536),
            default.connections_max,
            "Idle connections kept of one node, a worker; 0 keeps none.",
        ),
        idle_timeout: s.key(
            "idle_timeout",
            &Span(MS_10, DAY),
            default.idle_timeout,
            "How long one is kept without use. Keep it below the nodes' own keep-alive time, or requests meet connections \
             that a node is just closing.",
        ),
        age_max: s.key(
            "age_max",
            &Span(MS_10, DAY),
            default.age_max,
            "How old one may get, so that a node that moved behind its name is left in the end.",
        ),
    })
}
