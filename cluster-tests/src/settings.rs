//! A proxy's settings as a user writes them, from which a test starts a peer, or nginx or HAProxy in its place.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A settings file in the making.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Lines of `[peer]`.
    pub peer: Vec<String>,
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// The pools.
    pub pools: Vec<Pool>,
    /// The core to which the proxy is bound; `None`: any.
    pub core: Option<usize>,
}

/// `[[listener]]`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where it listens; port 0: a free one.
    pub listen: SocketAddr,
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// Its pool.
    pub pool: String,
    /// Further lines.
    pub lines: Vec<String>,
    /// A file with the certificate and the key of its TLS; `None`: it speaks without.
    pub tls: Option<PathBuf>,
}

/// `[[pool]]`.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The value of `health`, in TOML; `None`: as it ships.
    pub health: Option<String>,
    /// Further lines.
    pub lines: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// `[[pool.node]]`.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its address.
    pub address: String,
    /// Further lines.
    pub lines: Vec<String>,
}

impl Settings {
    /// A pool without checks behind a listener, both of this name; `protocol` is `http` or `tcp`.
    pub fn one(name: &str, protocol: &'static str, nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::default().serve(protocol, Pool::new(name).unchecked().nodes(nodes))
    }

    /// Adds a pool and a listener of its name.
    pub fn serve(mut self, protocol: &'static str, pool: Pool) -> Self {
        let (name, listen) = (pool.name.clone(), SocketAddr::from(([127, 0, 0, 1], 0)));
        self.listeners.push(Listener {
            name: name.clone(),
            listen,
            protocol,
            pool: name,
            lines: Vec::new(),
            tls: None,
        });
        self.pools.push(pool);
        self
    }

    /// Adds a line to `[peer]`.
    pub fn peer_line(mut self, line: impl Into<String>) -> Self {
        self.peer.push(line.into());
        self
    }

    /// Lets the peer remember in this folder what it must, so that it does so across a restart.
    pub fn remembering_in(self, folder: &Path) -> Self {
        self.peer_line(format!("data_dir = {:?}", folder.join("state")))
    }

    /// Adds a line to the last listener.
    pub fn listener_line(mut self, line: impl Into<String>) -> Self {
        self.listeners.last_mut().expect("a listener was added").lines.push(line.into());
        self
    }

    /// Gives the last listener TLS with this file, which has a certificate and its key.
    pub fn over_tls(mut self, file: &Path) -> Self {
        self.listeners.last_mut().expect("a listener was added").tls = Some(file.to_owned());
        self
    }

    /// Adds a line to the last pool.
    pub fn pool_line(mut self, line: impl Into<String>) -> Self {
        self.pools.last_mut().expect("a pool was added").lines.push(line.into());
        self
    }

    /// Gives every listener of port 0 a port that stays free while the proxy is down.
    pub fn with_lasting_ports(mut self) -> Self {
        for listener in &mut self.listeners {
            if listener.listen.port() == 0 {
                listener.listen = crate::ports::free();
            }
        }
        self
    }

    /// Gives every listener another port that stays free while the proxy is down.
    pub fn with_own_ports(mut self) -> Self {
        self.listeners.iter_mut().for_each(|listener| listener.listen.set_port(0));
        self.with_lasting_ports()
    }

    /// The file of an Evenkeel peer.
    pub fn evenkeel_toml(&self) -> String {
        let mut text = String::from("[peer]\n");
        let mut add = |line: &str| writeln!(text, "{line}").expect("a string takes everything");
        self.peer.iter().for_each(|line| add(line));
        add("[api]\nlisten = \"127.0.0.1:0\"");
        for listener in &self.listeners {
            let Listener { name, listen, protocol, pool, lines, tls } = listener;
            add(&format!(
                "[[listener]]\nname = {name:?}\nlisten = \"{listen}\"\nprotocol = {protocol:?}\npool = {pool:?}"
            ));
            lines.iter().for_each(|line| add(line));
            if let Some(file) = tls {
                add(&format!("[listener.tls]\ncertificates = {{ certificate_file = {file:?} }}"));
            }
        }
        for pool in &self.pools {
            add(&format!("[[pool]]\nname = {:?}", pool.name));
            if let Some(health) = &pool.health {
                add(&format!("health = {health}"));
            }
            pool.lines.iter().for_each(|line| add(line));
            for node in &pool.nodes {
                add(&format!("[[pool.node]]\nid = {:?}\naddress = {:?}", node.id, node.address));
                node.lines.iter().for_each(|line| add(line));
            }
        }
        text
    }
}

impl Pool {
    /// A pool that ships everything as it is.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), health: None, lines: Vec::new(), nodes: Vec::new() }
    }

    /// Nobody asks its nodes how they are.
    pub fn unchecked(self) -> Self {
        self.checked("{ type = \"none\" }")
    }

    /// How its nodes are checked, in TOML.
    pub fn checked(mut self, health: &str) -> Self {
        self.health = Some(health.to_owned());
        self
    }

    /// Checked by `GET /health` so often that a test need not wait long.
    pub fn checked_fast(self) -> Self {
        self.checked(
            "{ type = \"http\", path = \"/health\", interval = \"250ms\", timeout = \"1s\", rise = 1, fall = 2 }",
        )
    }

    /// Adds a line.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds nodes `<pool>-1` and on.
    pub fn nodes(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        for address in addresses {
            self = self.node(&address.to_string(), &[]);
        }
        self
    }

    /// Adds a node with further lines.
    pub fn node(mut self, address: &str, lines: &[&str]) -> Self {
        let id = format!("{}-{}", self.name, self.nodes.len() + 1);
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        self.nodes.push(Node { id, address: address.to_owned(), lines });
        self
    }

    /// Whether its nodes are checked.
    pub fn is_checked(&self) -> bool {
        self.health.as_ref().is_none_or(|health| !health.contains("\"none\""))
    }
}
