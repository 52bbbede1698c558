//! mosquitto, a broker of MQTT, and its clients.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{Process, Spawn};
use crate::wait::PATIENCE;
use crate::{need, ports};

/// A running broker.
#[derive(Debug)]
pub struct Mosquitto {
    address: SocketAddr,
    websockets: SocketAddr,
    process: Process,
}

impl Mosquitto {
    /// Starts one that lets everybody in; `None`, with a line that says so, where it or its clients are not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| Some("allow_anonymous true".to_owned()))
    }

    /// One that lets nobody in but this user.
    pub fn start_for(user: &str, password: &str) -> Option<Self> {
        let tool = need::program("mosquitto_passwd")?;
        Self::start_with(|folder| {
            let file = folder.join("passwords");
            let made = Command::new(tool).args(["-b", "-c"]).arg(&file).args([user, password]).status();
            assert!(made.expect("mosquitto_passwd runs").success());
            Some(format!("allow_anonymous false\npassword_file {}", file.display()))
        })
    }

    fn start_with(who: impl FnOnce(&Path) -> Option<String>) -> Option<Self> {
        let program = need::program("mosquitto")?;
        for client in ["mosquitto_pub", "mosquitto_sub"] {
            need::program(client)?;
        }
        let (address, websockets) = (ports::free(), ports::free());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("mosquitto.conf");
        let configuration = format!(
            "listener {} {}\nlistener {} {}\nprotocol websockets\nuser root\n{}\n",
            address.port(),
            address.ip(),
            websockets.port(),
            websockets.ip(),
            who(folder.path())?
        );
        std::fs::write(&file, configuration).expect("a temporary folder takes a file");
        let mut process = Spawn::new("mosquitto", &program, Signal::TERM).arg("-v").arg("-c").arg(file).start(folder);
        for port in [address, websockets] {
            process.wait_log("an open port", PATIENCE, |_| TcpStream::connect(port).ok());
        }
        Some(Self { address, websockets, process })
    }

    /// Where it speaks MQTT.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks MQTT over WebSockets.
    pub fn websockets(&self) -> SocketAddr {
        self.websockets
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// `mosquitto_pub` or `mosquitto_sub`, which takes `server` for a broker; each message comes once.
pub fn client(program: &str, server: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", &server.ip().to_string(), "-p", &server.port().to_string(), "-q", "2"]);
    command
}
