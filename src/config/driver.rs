//! `[[driver]]`: by what this peer carries plans out. The catalog names them and says no more: what is run, and by which engine, stands in
//! the file of the machine that does it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::document::{Choice, Fault, ListOf, Origin, Section, Span, Texts, Words, Wrong, YesNo, name, quoted, whole};
use crate::driver::{ExecSettings, Kind};
use crate::model::limits::{DRIVER_TEXT_BYTES_MAX, DRIVER_TEXTS_MAX, DRIVERS_MAX};
use crate::model::{By, DriverName};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The folder of a peer's data in which drivers and their executor keep what must outlive it.
const FOLDER: &str = "driver";

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Exec,
    Docker,
}

const TYPE: Choice<Type> = Choice {
    words: if cfg!(feature = "docker") {
        &[("exec", Type::Exec), ("docker", Type::Docker)]
    } else {
        &[("exec", Type::Exec)]
    },
    aliases: &[],
    later: &[],
};

const WORD: Words<String> = Words::of(
    "texts of at most 4096 bytes",
    |text| {
        if text.len() > DRIVER_TEXT_BYTES_MAX {
            Err(Wrong::new(format!("one is longer than {DRIVER_TEXT_BYTES_MAX} bytes")))
        } else if text.contains('\0') {
            Err(Wrong::new("one holds a NUL"))
        } else {
            Ok(text.to_owned())
        }
    },
    |text| format!("{text:?}"),
);

const NAMED: Words<String> = Words::of(
    "a text of at most 4096 bytes",
    |text| if text.is_empty() { Err(Wrong::new("it is empty")) } else { (WORD.parse)(text) },
    quoted,
);

const ENVIRONMENT: Texts = Texts {
    example: "{ TOKEN = \"...\" }",
    texts_max: DRIVER_TEXTS_MAX,
    bytes_max: DRIVER_TEXT_BYTES_MAX,
    secret: true,
};

/// What was read of one driver; what is `None` was wrong and is reported.
type Read = (Option<(DriverName, Origin)>, Option<Kind>);

/// Every driver. `data_dir`: where the peer keeps what must outlive it.
pub(super) fn drivers(s: &mut Section<'_, '_, '_>, data_dir: &Path) -> BTreeMap<DriverName, Kind> {
    let folder = data_dir.join(FOLDER);
    let read = s.list(
        "driver",
        "By what this peer moves, starts and stops nodes. Pools name it in `failover` and `scaling`; a leader asks a peer whose file has it.",
        |s| driver(s, &folder),
    );
    let names = read.iter().filter_map(|(name, _)| name.as_ref()).map(|(name, origin)| (name, origin.clone()));
    let words = |name: &_| (format!("driver \"{name}\" name"), format!("driver {name} stands there twice"));
    s.reader().refuse_twice(names, words);
    if read.len() > DRIVERS_MAX {
        let wrong = format!("{} are more than the {DRIVERS_MAX} allowed", read.len());
        let fault = Fault::new(s.origin_of("driver"), "driver", wrong);
        s.reader().fault(fault);
    }
    read.into_iter().filter_map(|(name, kind)| Some((name?.0, kind?))).collect()
}

fn driver(s: &mut Section<'_, '_, '_>, folder: &Path) -> Read {
    let name: Option<DriverName> = s.required("name", &name(), "Its name, unique in the peer. Pools name it.");
    if let Some(name) = &name {
        s.called("driver", name, "");
    }
    let origin = s.origin_of("name");
    if name.as_ref().is_some_and(|name| name.as_str() == By::STATIC) {
        let wrong = "nodes that are moved by the catalog alone are said to be so";
        let fault =
            Fault::new(origin.clone(), s.path_of("name"), wrong).found(quoted(&By::STATIC)).hint("choose another name");
        s.reader().fault(fault);
    }
    let kind = s.required(
        "type",
        &TYPE,
        "What it is. `exec`: a command that gets what is to be done as JSON, see docs/operating/failover.md. `docker`: containers, one a node, \
         which are found by their label `evenkeel.node`.",
    );
    let is = |kind: Option<Type>, of: Type| kind.is_none_or(|kind| kind == of);
    let is_exec = is(kind, Type::Exec) || s.is_describing();
    let is_docker = is(kind, Type::Docker) || s.is_describing();
    let command: Vec<String> = s.key(
        "command",
        &ListOf(WORD, DRIVER_TEXTS_MAX),
        Vec::new(),
        "Of `exec`: the path of a program, from the root, and its arguments; no shell reads them. Of `docker`: what containers run, \
         empty: what their image says; words in braces stand for something.",
    );
    let environment: BTreeMap<Arc<str>, Arc<str>> = s.key(
        "environment",
        &ENVIRONMENT,
        BTreeMap::new(),
        "Its environment: of a command beside PATH, of a container what words in braces stand for: {server.address}, {server.host}, \
         {server.port}, {server.id}, {server.labels.NAME}, {node}, {pool}, {region}, {intent}.",
    );
    let environment = environment.into_iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    let (timeout, probes) = s.only(is_exec, "type = \"exec\"", |s| {
        let timeout = s.key(
            "timeout",
            &Span(SECOND, HOUR),
            Duration::from_secs(60),
            "How long the command may run. Then it is ended with all that it started, and has failed.",
        );
        let doc = "Whether the command knows how to `probe` a server. If not, a connection is opened to the server, where it has a port.";
        (timeout, s.key("probes", &YesNo, false, doc))
    });
    #[cfg(feature = "docker")]
    let docker = s.only(is_docker, "type = \"docker\"", |s| {
        docker::settings(s, kind == Some(Type::Docker), &command, &environment)
    });
    #[cfg(not(feature = "docker"))]
    let _ = is_docker;
    let settings = match kind {
        None => None,
        Some(Type::Exec) => {
            let settings = ExecSettings { command, environment, timeout, probes, folder: folder.join("exec") };
            exec(s, settings)
        }
        #[cfg(feature = "docker")]
        Some(Type::Docker) => docker.map(Kind::Docker),
        #[cfg(not(feature = "docker"))]
        Some(Type::Docker) => None,
    };
    (name.map(|name| (name, origin)), settings)
}

fn exec(s: &mut Section<'_, '_, '_>, settings: ExecSettings) -> Option<Kind> {
    if s.is_describing() {
        return None;
    }
    let program = settings.command.first().map(String::as_str).unwrap_or_default();
    let wrong = if program.is_empty() {
        Some("it is missing")
    } else if program.starts_with('/') {
        None
    } else {
        Some("its program is no path from the root")
    };
    if let Some(wrong) = wrong {
        let fault = Fault::new(s.origin_of("command"), s.path_of("command"), wrong)
            .hint("write command = [\"/usr/local/bin/move-node\"]");
        s.reader().fault(fault);
        return None;
    }
    if !Path::new(program).is_file() {
        let message = format!("{program}: there is no such file; what is asked of this driver fails");
        let (origin, path) = (s.origin_of("command"), s.path_of("command"));
        s.reader().warn(origin, path, message);
    }
    Some(Kind::Exec(settings))
}

#[cfg(feature = "docker")]
mod docker {
    use std::net::IpAddr;
    use std::num::NonZeroU16;

    use super::*;
    use crate::document::parsed;
    use crate::driver::{DockerSettings, Engine, Publish};

    const ENGINE: Words<Engine> =
        Words::of("the path of a socket, \"unix:///var/run/docker.sock\", or \"http://host:port\"", parsed, quoted);

    const PUBLISH: Words<Publish> = Words::of(
        "\"container\", or an address of this machine",
        |text| match text {
            "container" => Ok(Publish::Nowhere),
            text => text.parse::<IpAddr>().map(Publish::At).map_err(|_| Wrong::new("it is no address")),
        },
        |publish| match publish {
            Publish::Nowhere => quoted(&"container"),
            Publish::At(ip) => quoted(ip),
        },
    );

    /// Of what containers are made; `None` where that is wrong, which is reported.
    pub(super) fn settings(
        s: &mut Section<'_, '_, '_>,
        is_it: bool,
        command: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Option<DockerSettings> {
        let default = DockerSettings::of_image("unnamed", 80);
        let engine = s.key(
            "engine",
            &ENGINE,
            default.engine.clone(),
            "Where the engine listens. Who may ask it is root on its machine.",
        );
        let image = s.optional("image", &NAMED, "none; it has to be said", "What containers are made of.");
        let pull = s.key(
            "pull",
            &YesNo,
            default.pull,
            "Whether an image that is missing is fetched. The first move then takes as long.",
        );
        let port: Option<NonZeroU16> = s.optional(
            "port",
            &whole(1, 65_535),
            "none; it has to be said",
            "Where the node listens in its container.",
        );
        let publish = s.key(
            "publish",
            &PUBLISH,
            default.publish,
            "Where the node is reached. `container`: at its container's address on the first network. An address of this machine: there, at a port \
             that the engine finds free.",
        );
        let labels: BTreeMap<Arc<str>, Arc<str>> = s.key(
            "labels",
            &Texts { example: "{ team = \"vpn\" }", secret: false, ..ENVIRONMENT },
            BTreeMap::new(),
            "Labels of containers beside `evenkeel.*`; words in braces stand for something.",
        );
        let list = |s: &mut Section<'_, '_, '_>, key, doc| s.key(key, &ListOf(WORD, DRIVER_TEXTS_MAX), Vec::new(), doc);
        let networks = list(
            s,
            "networks",
            "Networks of containers; the node's address is that on the first. None: the engine's own.",
        );
        let devices = list(s, "devices", "Devices of the machine that containers get: \"/dev/net/tun\".");
        let capabilities =
            list(s, "capabilities", "What containers may do beyond what they may anyway: \"NET_ADMIN\".");
        let memory_max_mb: Option<std::num::NonZeroU32> = s.optional(
            "memory_max_mb",
            &whole(6, 100_000_000),
            "unlimited",
            "Millions of bytes that a container may use; what needs more is ended.",
        );
        let start_timeout = s.key(
            "start_timeout",
            &Span(Duration::from_secs(2), HOUR),
            default.start_timeout,
            "How long a container may take until it runs and, where its image has a health check, is healthy.",
        );
        let stop_timeout = s.key(
            "stop_timeout",
            &Span(Duration::ZERO, HOUR),
            default.stop_timeout,
            "How long one may take to end before it is killed.",
        );
        if s.is_describing() {
            return None;
        }
        let missing = |s: &mut Section<'_, '_, '_>, key: &'static str, hint: &'static str| {
            let fault = Fault::new(s.origin(), s.path_of(key), "it is missing").hint(hint);
            s.reader().fault(fault);
        };
        if image.is_none() && is_it && !s.is_set("image") {
            missing(s, "image", "write image = \"vpn-exit:1\"");
        }
        if port.is_none() && is_it && !s.is_set("port") {
            missing(s, "port", "write port = 8000");
        }
        let settings = DockerSettings {
            engine,
            image: image?,
            pull,
            command: command.to_vec(),
            environment: environment.clone(),
            labels: labels.into_iter().map(|(name, text)| (name.to_string(), text.to_string())).collect(),
            networks,
            port: port?.get(),
            publish,
            devices,
            capabilities,
            memory_max_bytes: memory_max_mb.map(|mb| u64::from(mb.get()) * 1_000_000),
            start_timeout,
            stop_timeout,
        };
        let faults = settings.faults();
        let is_right = faults.is_empty();
        for fault in faults {
            let key = fault.key.split('.').next().unwrap_or_default().to_owned();
            let fault = Fault::new(s.origin_of(&key), format!("{} {}", s.name(), fault.key), fault.why);
            s.reader().fault(fault);
        }
        is_right.then_some(settings)
    }
}
