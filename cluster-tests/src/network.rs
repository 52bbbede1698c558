//! A small network of hosts on one machine, for what loopback cannot show: paths that are cut or lose packets, and ports that
//! are taken elsewhere.
//!
//! Each host is a network namespace with one address; another namespace is the switch between them, a bridge with a port for
//! each host. Nothing of the machine's own network is used or changed. A path breaks in the switch, by nftables: there no
//! host is told, as a rule within a host would tell its programs.
//!
//! A namespace has no name. It lives as long as the process that holds it, and that one ends with its test, however the test
//! ends: so nothing is left behind, and nothing of another test is met.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::need;
use crate::process::Spawn;

/// Hosts of one network, so that each has an address in `10.77.0.0/24`.
const HOSTS_MAX: u8 = 200;
/// What its holder says once a namespace is there.
const HELD: &str = "held";

/// Hosts with a switch between them; gone when dropped.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    hosts: Vec<Host>,
    /// Percent of the packets that are lost from one host to another, where any are.
    lost: Mutex<BTreeMap<(usize, usize), u8>>,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Network {
    /// So many hosts that all reach each other; `None`, with a line that says so, where the machine does not allow it.
    #[track_caller]
    pub fn of(hosts: u8) -> Option<Self> {
        assert!((1..=HOSTS_MAX).contains(&hosts), "1 to {HOSTS_MAX} hosts");
        if !rustix::process::geteuid().is_root() {
            need::missing("only root makes a network of namespaces");
            return None;
        }
        for program in ["ip", "nft", "nsenter", "unshare"] {
            need::program(program)?;
        }
        match Self::build(hosts) {
            Ok(network) => Some(network),
            Err(why) => {
                need::missing(&format!("the machine gives no network of namespaces: {why}"));
                None
            }
        }
    }

    fn build(hosts: u8) -> Result<Self, String> {
        let switch = Namespace::new()?;
        switch.run("ip", &["-batch", "-"], "link add name bridge type bridge\nlink set bridge up\n")?;
        let mut built = Vec::new();
        for number in 1..=hosts {
            let host = Host { namespace: Namespace::new()?, address: Ipv4Addr::new(10, 77, 0, number) };
            let (port, pid) = (format!("port{number}"), host.namespace.holder.id());
            let plug = format!(
                "link add name {port} type veth peer name wire netns {pid}\nlink set {port} master bridge up\n"
            );
            switch.run("ip", &["-batch", "-"], &plug)?;
            let address = host.address;
            let up = format!("link set lo up\naddress add {address}/24 dev wire\nlink set wire up\n");
            host.namespace.run("ip", &["-batch", "-"], &up)?;
            built.push(host);
        }
        let network = Self { switch, hosts: built, lost: Mutex::default() };
        network.apply(&BTreeMap::new())?;
        Ok(network)
    }

    /// A host, by its number from 0.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// Nothing gets through between two hosts.
    pub fn cut(&self, one: usize, other: usize) {
        self.lose(one, other, 100);
    }

    /// Nothing gets through from one host to another; the way back stays.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        self.change(|lost| {
            lost.insert((from, to), 100);
        });
    }

    /// Of the packets between two hosts so many percent are lost, by chance, either way.
    pub fn lose(&self, one: usize, other: usize, percent: u8) {
        assert!((1..=100).contains(&percent), "{percent} percent");
        self.change(|lost| {
            lost.insert((one, other), percent);
            lost.insert((other, one), percent);
        });
    }

    /// Everything gets through again.
    pub fn heal(&self) {
        self.change(BTreeMap::clear);
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<(usize, usize), u8>)) {
        let mut lost = self.lost.lock().expect("nothing panics while it holds the faults");
        change(&mut lost);
        self.apply(&lost).expect("a switch that took rules takes others");
    }

    /// Replaces all rules at once.
    fn apply(&self, lost: &BTreeMap<(usize, usize), u8>) -> Result<(), String> {
        let rules: String = lost
            .iter()
            .map(|((from, to), percent)| {
                let (from, to) = (self.hosts[*from].address, self.hosts[*to].address);
                // A comparison that always holds is refused.
                let chance = if *percent < 100 { format!("numgen random mod 100 < {percent}") } else { String::new() };
                format!("ip saddr {from} ip daddr {to} {chance} drop\n")
            })
            .collect();
        // The first line makes the second one good the first time too. Only IP is lost: ARP still finds the neighbour, as a
        // router in between would be found.
        let rules = format!(
            "table bridge faults\ndelete table bridge faults\ntable bridge faults {{\nchain forward {{\n\
             type filter hook forward priority 0; policy accept;\n{rules}}}\n}}\n"
        );
        self.switch.run("nft", &["-f", "-"], &rules)
    }
}

impl Host {
    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// The file that stands for its namespace while it lives.
    pub fn namespace(&self) -> PathBuf {
        self.namespace.file()
    }

    /// A process in this host, otherwise as [`Spawn::new`] has it.
    pub fn spawn(&self, name: impl Into<String>, program: &Path, stop: Signal) -> Spawn {
        Spawn::through(name, &self.namespace.enter(), program, stop)
    }

    /// Does `work` in this host, on a thread of its own. What it starts is in this host too: sockets for as long as they
    /// live, and processes, which end with the thread at the latest; [`Self::spawn`] is for those that are to outlive it.
    #[track_caller]
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.namespace()).expect("a held namespace has a file");
        let own = std::thread::current();
        std::thread::scope(|scope| {
            let mut thread = std::thread::Builder::new();
            if let Some(name) = own.name() {
                thread = thread.name(name.to_owned());
            }
            let thread = thread.spawn_scoped(scope, || {
                move_in(&namespace);
                work()
            });
            let done = thread.expect("a machine gives a thread").join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Moves the calling thread, and every thread that it starts from now on, into the host whose namespace this is
/// ([`Host::namespace`]). There is no way back: it is for threads that a test started for this.
pub fn enter(namespace: &Path) {
    move_in(&File::open(namespace).expect("a held namespace has a file"));
}

fn move_in(namespace: &File) {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("who made a namespace may enter it");
}

/// A network namespace, and the process that holds it.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        // It ends when its standard input does, which is when this process drops it or ends.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", &format!("echo {HELD}; exec cat")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let out = holder.stdout.take().expect("it is piped");
        let read = BufReader::new(out).read_line(&mut said);
        let namespace = Self { holder };
        if read.is_ok() && said.trim_end() == HELD { Ok(namespace) } else { Err(namespace.complaint()) }
    }

    fn complaint(mut self) -> String {
        let mut said = String::new();
        if let Some(mut errors) = self.holder.stderr.take() {
            // Without its words it is still known that it failed.
            let _ = errors.read_to_string(&mut said);
        }
        said.trim().to_owned()
    }

    fn file(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// What makes a program run within.
    fn enter(&self) -> [OsString; 3] {
        let mut file = OsString::from("--net=");
        file.push(self.file());
        ["nsenter".into(), file, "--".into()]
    }

    /// Runs a program within, with this on its standard input.
    fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
        let enter = self.enter();
        let mut child = Command::new(&enter[0])
            .args(&enter[1..])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        // One that ends before it has read all says why.
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let output = child.wait_with_output().map_err(|error| format!("{program}: {error}"))?;
        let told = || format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
        if output.status.success() { Ok(()) } else { Err(told()) }
    }
}

impl Drop for Namespace {
    /// Returns when it is gone, unless a process that a test started in it still runs.
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // One that did not get so far as to read its input ends too, or has ended.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
