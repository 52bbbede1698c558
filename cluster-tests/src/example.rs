//! The files of `deploy/examples` with what a test machine has in the places of what they name: a plain replacement, which fails
//! where what is to be replaced is not there, so that a test cannot pass by another file than users get.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::certificates::Authority;
use crate::peer::Peer;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");

/// What stands in the place of a file or folder that an example names.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// A certificate for this name; its key is in the file of [`Made::Key`].
    Certificate(&'static str),
    /// The key of the certificate before it.
    Key,
    /// A certificate for this name and its key.
    Both(&'static str),
    /// A page that says its own name.
    Page,
    /// An empty folder.
    Folder,
    /// Nothing yet: the peer writes it.
    Written,
}

/// What each example names on the machine.
const NAMED: [(&str, &str, Made); 20] = [
    ("001-nginx.toml", "/etc/nginx/ssl/sysmanage.crt", Made::Certificate("sysmanage.example.com")),
    ("001-nginx.toml", "/etc/nginx/ssl/sysmanage.key", Made::Key),
    ("001-nginx.toml", "/var/www/sysmanage/static", Made::Folder),
    ("001-nginx.toml", "/var/log/evenkeel/access.log", Made::Written),
    ("001-haproxy.toml", "/etc/ssl/certs/sysmanage.pem", Made::Both("sysmanage.example.com")),
    ("002-nginx.toml", "/etc/nginx/ssl/syncapp.crt", Made::Certificate("syncapp.example.com")),
    ("002-nginx.toml", "/etc/nginx/ssl/syncapp.key", Made::Key),
    ("002-nginx.toml", "/var/www/syncapp/static", Made::Folder),
    ("002-nginx.toml", "/var/www/syncapp/media", Made::Folder),
    ("002-nginx.toml", "/var/log/evenkeel/access.log", Made::Written),
    ("002-haproxy.toml", "/etc/haproxy/certs/syncapp.pem", Made::Both("syncapp.example.com")),
    ("002-haproxy.toml", "/etc/evenkeel/errors/400.html", Made::Page),
    ("002-haproxy.toml", "/etc/evenkeel/errors/403.html", Made::Page),
    ("002-haproxy.toml", "/etc/evenkeel/errors/408.html", Made::Page),
    ("002-haproxy.toml", "/etc/evenkeel/errors/500.html", Made::Page),
    ("002-haproxy.toml", "/etc/evenkeel/errors/502.html", Made::Page),
    ("002-haproxy.toml", "/etc/evenkeel/errors/503.html", Made::Page),
    ("002-haproxy.toml", "/etc/evenkeel/errors/504.html", Made::Page),
    ("002-alb.toml", "/etc/evenkeel/syncapp.pem", Made::Certificate("syncapp.example.com")),
    ("002-alb.toml", "/etc/evenkeel/syncapp.key", Made::Key),
];

/// An example, being made fit for this machine.
#[derive(Debug)]
pub struct Example {
    name: String,
    text: String,
    machine: Machine,
}

/// What of the machine an example needs.
#[derive(Debug)]
pub struct Machine {
    folder: TempDir,
    /// Who issued its certificates.
    pub authority: Authority,
}

/// A peer that runs by an example.
#[derive(Debug)]
pub struct Running {
    /// It.
    pub peer: Peer,
    /// What it was given.
    pub machine: Machine,
}

impl Example {
    /// The names of all examples.
    pub fn names() -> Vec<String> {
        let entries = std::fs::read_dir(FOLDER).expect("the folder of the examples");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// An example with files and folders of this machine.
    #[track_caller]
    pub fn of(name: &str) -> Self {
        let text = std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let machine = Machine { folder: tempfile::tempdir().expect("a temporary folder"), authority: Authority::new() };
        let mut example = Self { name: name.to_owned(), text, machine };
        let mut key = String::new();
        for (_, path, made) in NAMED.iter().filter(|(of, ..)| *of == name) {
            key = example.machine.make(path, *made, key);
            let own = example.machine.path(path);
            example = example.put(path, &own.display().to_string());
        }
        let foreign = example.settings().find(|line| line.contains("\"/") || line.contains("file:/"));
        let foreign = foreign.filter(|line| !line.contains(&example.machine.folder.path().display().to_string()));
        assert!(foreign.is_none_or(is_of_http), "{name}: {foreign:?} is of no test machine");
        example
    }

    /// With another text in all places of this one; fails where there is none.
    #[track_caller]
    pub fn put(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "{} has no {from}", self.name);
        self.text = self.text.replace(from, to);
        self
    }

    /// With this node's address in all places of that one.
    #[track_caller]
    pub fn node(self, address: &str, own: SocketAddr) -> Self {
        self.put(&format!("address = \"{address}\""), &format!("address = \"{own}\""))
    }

    /// Writes it into a folder.
    pub fn write(&self) -> PathBuf {
        let file = self.machine.folder.path().join(&self.name);
        std::fs::write(&file, &self.text).expect("a temporary folder takes a file");
        file
    }

    /// Starts a peer by it, whose listeners have free ports of loopback and whose checks come more often, so that a test need not wait.
    #[track_caller]
    pub fn start(mut self) -> Running {
        let mut listens: Vec<String> =
            self.settings().filter(|line| line.starts_with("listen = ")).map(str::to_owned).collect();
        listens.dedup();
        for line in listens.iter().filter(|line| !line.contains("127.0.0.1")) {
            let written = line.split('"').nth(1).expect("an address in quotes").to_owned();
            self = self.put(&format!("listen = \"{written}\""), "listen = \"127.0.0.1:0\"");
        }
        let foreign = self.settings().find(|line| line.starts_with("address = ") && !line.contains("\"127.0.0.1:"));
        assert!(foreign.is_none(), "{}: {foreign:?} is no node of a test", self.name);
        let mut variables = vec![("HEALTH_CHECK_INTERVAL", "250ms")];
        if !self.text.contains("[api]") {
            variables.push(("EVENKEEL_API_LISTEN", "127.0.0.1:0"));
        }
        Running { peer: Peer::start_file(&self.text, &variables), machine: self.machine }
    }

    /// Its lines without comments and leading blanks.
    fn settings(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'))
    }
}

/// Whether what begins with a slash there is a path of a request.
fn is_of_http(line: &str) -> bool {
    ["path", "health", "when", "then", "rewrite", "check", "health_path"].iter().any(|key| line.starts_with(key))
}

impl Machine {
    /// Where it has what is elsewhere at this path.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// Makes what is wanted, with the folder that it is in. Returns the key of the certificate that was made last.
    fn make(&self, path: &str, made: Made, key: String) -> String {
        let own = self.path(path);
        std::fs::create_dir_all(own.parent().expect("a path below a folder"))
            .expect("a temporary folder takes a folder");
        let write = |text: &str| {
            std::fs::write(&own, text).expect("a temporary folder takes a file");
            std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).expect("a file of one's own");
        };
        match made {
            Made::Certificate(name) => {
                let (certificate, key) = self.authority.issue(&[name]);
                write(&certificate);
                return key;
            }
            Made::Key => write(&key),
            Made::Both(name) => {
                let (certificate, key) = self.authority.issue(&[name]);
                write(&format!("{certificate}{key}"));
            }
            Made::Page => write(&format!("<p>{}</p>", own.file_name().expect("a name").display())),
            Made::Folder => std::fs::create_dir(&own).expect("a temporary folder takes a folder"),
            Made::Written => {}
        }
        key
    }
}
