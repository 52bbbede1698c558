//! How containers of nodes are made, checked before the first one is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::container::LABEL_PREFIX;
use super::template::Template;
use crate::model::NodeAddress;

/// Where an engine listens on most machines.
const SOCKET_DEFAULT: &str = "/var/run/docker.sock";
/// Bytes of the name of an image.
const IMAGE_BYTES_MAX: usize = 512;
/// Words of a command, variables, labels, devices and capabilities, each.
const ENTRIES_MAX: usize = 256;
/// Networks of a container.
const NETWORKS_MAX: usize = 16;
/// Bytes of the name of a variable, a label, a network, a device or a capability.
const NAME_BYTES_MAX: usize = 256;
/// A second in which a process that ends at once has ended, and one more.
const START_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// The longest that anything is waited for.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// The least memory that an engine gives a container.
const MEMORY_BYTES_MIN: u64 = 6 * 1024 * 1024;
/// Networks that are none: without an address of its own a container is no node.
const NETWORKS_WITHOUT_ADDRESS: [&str; 2] = ["host", "none"];

/// Where an engine listens. Whoever may ask an engine is root on its machine.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Engine {
    /// A socket of this machine.
    Socket(PathBuf),
    /// HTTP over TCP, in the open: on loopback, or a proxy that lets little through.
    Http(NodeAddress),
}

impl Default for Engine {
    fn default() -> Self {
        Self::Socket(SOCKET_DEFAULT.into())
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Http(address) => write!(f, "http://{}:{}", address.host, address.port),
        }
    }
}

/// Why a text does not say where an engine listens.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// Neither a path nor an address.
    #[error("write the path of a socket, as unix:///var/run/docker.sock, or http://host:port")]
    Form,
    /// A certificate could not be looked at.
    #[error(
        "an engine is not spoken to over TLS; write the path of a socket, or http://host:port of a proxy on this machine"
    )]
    Tls,
}

impl FromStr for Engine {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.starts_with('/') && !path.contains('\0') {
            return Ok(Self::Socket(path.into()));
        }
        match text.split_once("://") {
            // The port is to be said: whoever leaves it out does not mean 80.
            Some(("http" | "tcp", rest)) => {
                let address: NodeAddress =
                    rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| EngineError::Form)?;
                if address.tls { Err(EngineError::Tls) } else { Ok(Self::Http(address)) }
            }
            Some(("https", _)) => Err(EngineError::Tls),
            _ => Err(EngineError::Form),
        }
    }
}

/// Where a node is reached.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Publish {
    /// At its container's address on the first network. Peers on other machines need a way there.
    Nowhere,
    /// At this address of the machine, and a port that the engine finds free at each start.
    At(IpAddr),
}

/// How containers of nodes are made.
///
/// Values of [`Self::environment`] and [`Self::labels`] and the words of [`Self::command`] are [`Template`]s.
#[derive(Clone, PartialEq)]
pub struct DockerSettings {
    /// Where the engine listens.
    pub engine: Engine,
    /// What containers are made of.
    pub image: String,
    /// Whether the image is fetched where it is missing. The first switch then takes as long as that.
    pub pull: bool,
    /// What they run; empty: what the image says.
    pub command: Vec<String>,
    /// Their environment.
    pub environment: BTreeMap<String, String>,
    /// Their labels, beside those by which the driver knows them.
    pub labels: BTreeMap<String, String>,
    /// Networks that they are on; empty: the engine's own. The node's address is that on the first.
    pub networks: Vec<String>,
    /// Where the node listens in its container.
    pub port: u16,
    /// Where the node is reached.
    pub publish: Publish,
    /// Devices of the machine that they get, at the same path: `/dev/net/tun`.
    pub devices: Vec<String>,
    /// What they may do beyond what containers may: `NET_ADMIN`.
    pub capabilities: Vec<String>,
    /// The most memory that they use; what needs more is ended.
    pub memory_max_bytes: Option<u64>,
    /// How long one may take until it runs and is healthy. Longer than the image's health check needs to say so, or every
    /// switch is taken back.
    pub start_timeout: Duration,
    /// How long one may take to end before it is killed. Nobody answers for the node meanwhile.
    pub stop_timeout: Duration,
}

/// A setting that cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct DockerFault {
    /// Which, as `environment.NAME` where it is one of many.
    pub key: String,
    /// Why, and what could be.
    pub why: String,
}

impl DockerSettings {
    /// Containers of this image that listen at this port, and otherwise nothing of their own: 60 s to start, 10 s to stop.
    pub fn of_image(image: impl Into<String>, port: u16) -> Self {
        Self {
            engine: Engine::default(),
            image: image.into(),
            pull: false,
            command: Vec::new(),
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            networks: Vec::new(),
            port,
            publish: Publish::Nowhere,
            devices: Vec::new(),
            capabilities: Vec::new(),
            memory_max_bytes: None,
            start_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(10),
        }
    }

    /// Everything in it that cannot be.
    pub fn faults(&self) -> Vec<DockerFault> {
        let mut faults = Faults(Vec::new());
        if let Engine::Socket(path) = &self.engine
            && !path.is_absolute()
        {
            faults.add("engine", EngineError::Form.to_string());
        }
        if !is_image(&self.image) {
            faults.add("image", "it is the name of an image: registry.example/name:tag");
        }
        if self.port == 0 {
            faults.add("port", "0 is not allowed, use 1 to 65535");
        }
        if let Publish::At(ip) = self.publish
            && (ip.is_unspecified() || ip.is_multicast())
        {
            faults.add(
                "publish",
                format!("nobody can connect to {ip}; name the address at which peers reach this machine"),
            );
        }
        self.find_faulty_texts(&mut faults);
        self.find_faulty_names(&mut faults);
        if self.memory_max_bytes.is_some_and(|bytes| bytes < MEMORY_BYTES_MIN || i64::try_from(bytes).is_err()) {
            faults.add("memory_max", format!("use {MEMORY_BYTES_MIN} bytes (6 MiB) or more"));
        }
        if !(START_TIMEOUT_MIN..=TIMEOUT_MAX).contains(&self.start_timeout) {
            faults.add("start_timeout", "use 2 s to 1 h");
        }
        if self.stop_timeout > TIMEOUT_MAX {
            faults.add("stop_timeout", "use 0 s to 1 h");
        }
        faults.0
    }

    fn find_faulty_texts(&self, faults: &mut Faults) {
        faults.count("command", self.command.len(), ENTRIES_MAX);
        for (at, word) in self.command.iter().enumerate() {
            faults.template(&format!("command[{at}]"), word);
        }
        faults.count("environment", self.environment.len(), ENTRIES_MAX);
        for (name, value) in &self.environment {
            let key = format!("environment.{name}");
            if !is_name(name) || name.contains('=') {
                faults.add(&key, "a variable has a name, without = in it");
            }
            faults.template(&key, value);
        }
        faults.count("labels", self.labels.len(), ENTRIES_MAX);
        for (name, value) in &self.labels {
            let key = format!("labels.{name}");
            if !is_name(name) {
                faults.add(&key, "a label has a name");
            }
            if name.starts_with(LABEL_PREFIX) {
                let why =
                    format!("names that begin with {LABEL_PREFIX} are those by which the driver knows its containers");
                faults.add(&key, why);
            }
            faults.template(&key, value);
        }
    }

    fn find_faulty_names(&self, faults: &mut Faults) {
        faults.count("networks", self.networks.len(), NETWORKS_MAX);
        for (at, network) in self.networks.iter().enumerate() {
            let key = format!("networks[{at}]");
            if !is_name(network) {
                faults.add(&key, "it is the name of a network of the engine");
            }
            if NETWORKS_WITHOUT_ADDRESS.contains(&network.as_str()) || network.starts_with("container:") {
                faults.add(&key, format!("with {network} a container has no address of its own"));
            }
            if self.networks[..at].contains(network) {
                faults.add(&key, "it is named twice");
            }
        }
        faults.count("devices", self.devices.len(), ENTRIES_MAX);
        for (at, device) in self.devices.iter().enumerate() {
            if !is_name(device) || !Path::new(device).is_absolute() {
                faults.add(&format!("devices[{at}]"), "it is the path of a device: /dev/net/tun");
            }
        }
        faults.count("capabilities", self.capabilities.len(), ENTRIES_MAX);
        for (at, capability) in self.capabilities.iter().enumerate() {
            if !is_name(capability)
                || !capability.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            {
                faults.add(&format!("capabilities[{at}]"), "it is the name of a capability: NET_ADMIN");
            }
        }
    }
}

/// Without the values of the environment, which may be secrets.
impl fmt::Debug for DockerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            engine,
            image,
            pull,
            command,
            environment,
            labels,
            networks,
            port,
            publish,
            devices,
            capabilities,
            memory_max_bytes,
            start_timeout,
            stop_timeout,
        } = self;
        f.debug_struct("DockerSettings")
            .field("engine", engine)
            .field("image", image)
            .field("pull", pull)
            .field("command", command)
            .field("environment", &environment.keys().collect::<Vec<_>>())
            .field("labels", labels)
            .field("networks", networks)
            .field("port", port)
            .field("publish", publish)
            .field("devices", devices)
            .field("capabilities", capabilities)
            .field("memory_max_bytes", memory_max_bytes)
            .field("start_timeout", start_timeout)
            .field("stop_timeout", stop_timeout)
            .finish()
    }
}

struct Faults(Vec<DockerFault>);

impl Faults {
    fn add(&mut self, key: &str, why: impl Into<String>) {
        self.0.push(DockerFault { key: key.to_owned(), why: why.into() });
    }

    fn count(&mut self, key: &str, count: usize, max: usize) {
        if count > max {
            self.add(key, format!("there are {count}, at most {max} are allowed"));
        }
    }

    fn template(&mut self, key: &str, text: &str) {
        if let Err(error) = text.parse::<Template>() {
            self.add(key, error.to_string());
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Whether it can be the name of an image. It becomes part of a path, so nothing else is let through.
fn is_image(text: &str) -> bool {
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= IMAGE_BYTES_MAX
        && !text.contains("..")
        && text.bytes().all(may_stand)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_engine_is_a_socket_or_http() {
        assert_eq!(Engine::default().to_string(), "unix:///var/run/docker.sock");
        for (text, shown) in [
            ("/run/docker.sock", "unix:///run/docker.sock"),
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("http://127.0.0.1:2375", "http://127.0.0.1:2375"),
            ("tcp://Proxy:2375/", "http://proxy:2375"),
            ("http://[::1]:2375", "http://[::1]:2375"),
        ] {
            assert_eq!(text.parse::<Engine>().map(|engine| engine.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in
            ["", "run/docker.sock", "unix://docker.sock", "http://proxy", "http://https://a", "ssh://a:1", "a:1"]
        {
            assert!(text.parse::<Engine>().is_err(), "{text}");
        }
        assert_eq!("https://a:2376".parse::<Engine>(), Err(EngineError::Tls));
    }

    #[test]
    fn every_setting_that_cannot_be_is_named_at_once() {
        assert_eq!(DockerSettings::of_image("registry.example:5000/a/exit-node:1.2", 8000).faults(), []);
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let faulty = DockerSettings {
            engine: Engine::Socket("docker.sock".into()),
            command: vec!["ok".into(), "{what}".into()],
            environment: texts(&[("A=B", "x"), ("VPN", "{server.name}"), ("WELL", "{server.id}")]),
            labels: texts(&[("evenkeel.node", "a"), ("mine", "{")]),
            networks: vec!["vpn".into(), "host".into(), "vpn".into()],
            publish: Publish::At(Ipv4Addr::UNSPECIFIED.into()),
            devices: vec!["tun".into()],
            capabilities: vec!["net_admin".into()],
            memory_max_bytes: Some(1024),
            start_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(3_601),
            ..DockerSettings::of_image("an image", 0)
        };
        let keys: Vec<String> = faulty.faults().into_iter().map(|fault| fault.key).collect();
        let expected = [
            "engine",
            "image",
            "port",
            "publish",
            "command[1]",
            "environment.A=B",
            "environment.VPN",
            "labels.evenkeel.node",
            "labels.mine",
            "networks[1]",
            "networks[2]",
            "devices[0]",
            "capabilities[0]",
            "memory_max",
            "start_timeout",
            "stop_timeout",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn values_of_the_environment_are_never_shown() {
        let mut settings = DockerSettings::of_image("exit-node", 8000);
        settings.environment.insert("VPN_PASSWORD".into(), "hunter2 {".into());
        let shown = format!("{settings:?} {:?}", settings.faults());
        assert!(shown.contains("VPN_PASSWORD") && !shown.contains("hunter2"), "{shown}");
    }
}
