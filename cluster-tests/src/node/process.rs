//! A node that is a process of its own, so that it can be killed and started again at its address.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::behaviour::Behaviour;
use super::control::{Command, control_of, tell};
use super::record::Seen;
use crate::process::{Process, Spawn};
use crate::wait::PATIENCE;
use crate::{binary, ports};

/// A `test-node` process.
#[derive(Debug)]
pub struct NodeProcess {
    name: String,
    address: SocketAddr,
    control: SocketAddr,
    process: Process,
}

impl NodeProcess {
    /// Starts one on a free port that stays its own when it is killed.
    pub fn start(name: &str) -> Self {
        Self::start_at(name, ports::free())
    }

    fn start_at(name: &str, address: SocketAddr) -> Self {
        let mut process = Spawn::new(format!("test-node {name}"), &binary::test_node(), Signal::TERM)
            .args(["--name", name, "--listen", &address.to_string()])
            .start(tempfile::tempdir().expect("a temporary folder"));
        let control = process.wait_log("the control address", PATIENCE, control_of);
        Self { name: name.to_owned(), address, control, process }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at its address after [`Self::kill`].
    pub fn restart(&mut self) {
        *self = Self::start_at(&self.name, self.address);
    }

    /// Stops its threads where they are: it accepts and answers nothing.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Sets what happens to requests of this target; `*`: to all without an order of their own.
    pub fn order(&self, target: &str, behaviour: impl Into<Behaviour>) {
        self.tell(&Command::Order { target: target.to_owned(), behaviour: behaviour.into() });
    }

    /// What it got since it was started.
    pub fn seen(&self) -> Seen {
        serde_json::from_value(self.tell(&Command::Seen)).expect("a node says what it saw")
    }

    fn tell(&self, command: &Command) -> serde_json::Value {
        tell(self.control, command)
    }
}
