//! What must stay as it is while something hostile or unlucky happens: who lives, what is up, what is remembered and told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evenkeel::host;

use crate::cluster::Cluster;
use crate::{procfs, report};

/// Lines of one kind that a peer may write a minute.
const LINES_PER_MINUTE: u32 = 5;

/// A cluster as it was when all was well.
#[derive(Debug)]
pub struct Witness {
    began: Instant,
    /// Of each peer: bytes resident, and lines logged.
    before: Vec<(u64, usize)>,
    looks: u32,
}

impl Witness {
    /// Remembers how a cluster is in which all is well.
    pub fn of(cluster: &mut Cluster) -> Self {
        let before = cluster.running().into_iter().map(|peer| {
            let lines = cluster.log(peer).lines().count();
            (procfs::forget_peak(cluster.peer(peer).pid()), lines)
        });
        Self { before: before.collect(), began: host::now(), looks: 0 }
    }

    /// Looks once: every peer sees every other one alive and every node up, and knows nobody else.
    #[track_caller]
    pub fn look(&mut self, cluster: &Cluster) {
        let running = cluster.running();
        for &by in &running {
            let list = cluster.json(by, "/api/v1/peers");
            let named = list["items"].as_array().expect("a list").iter().filter(|row| !row["id"].is_null());
            let seen: Vec<(&str, &str)> =
                named.map(|row| (row["id"].as_str().unwrap_or("?"), row["state"].as_str().unwrap_or("?"))).collect();
            let ids: Vec<String> = running.iter().map(|&peer| cluster.id(peer)).collect();
            let well: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "alive")).collect();
            assert_eq!(seen, well, "at {} after {:?}", cluster.id(by), self.began.elapsed());
            let nodes = &cluster.json(by, "/api/v1/cluster")["nodes"];
            assert_eq!(nodes["total"], nodes["up"], "at {}: {nodes}", cluster.id(by));
        }
        self.looks += 1;
    }

    /// Looks for the last time: nobody was called dead or down in between, nothing was started again, memory grew by no
    /// more than `bytes`, and no kind of line was written more than a few times a minute.
    #[track_caller]
    pub fn end(mut self, cluster: &mut Cluster, bytes: u64) {
        self.look(cluster);
        let minutes = u32::try_from(self.began.elapsed().as_secs() / 60).unwrap_or(u32::MAX) + 1;
        let ids: Vec<String> = cluster.running().iter().map(|&peer| format!("peer={} ", cluster.id(peer))).collect();
        for (at, peer) in cluster.running().into_iter().enumerate() {
            let (resident, lines) = self.before[at];
            let peak = procfs::peak_resident_bytes(cluster.peer(peer).pid());
            let id = cluster.id(peer);
            report::figure(
                &format!("memory of {id}, before and at most"),
                format!("{} MiB, {} MiB", resident >> 20, peak >> 20),
            );
            assert!(peak.saturating_sub(resident) <= bytes, "{id} grew from {resident} to {peak}");
            let log = cluster.log(peer);
            let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
            for line in log.lines().skip(lines) {
                assert!(!is_bad(line, &ids), "{id}: {line}");
                *kinds.entry(kind(line)).or_default() += 1;
            }
            for (kind, count) in &kinds {
                report::figure(&format!("lines of {id}"), format!("{count} × {kind}"));
                assert!(*count <= LINES_PER_MINUTE * minutes, "{id} wrote {count} times: {kind}");
            }
            let children = cluster.json(peer, "/api/health/detailed")["children"].clone();
            let quiet = children.as_array().expect("a list").iter().all(|child| child["restarts"] == 0);
            assert!(quiet, "{id}: {children}");
        }
        report::figure("looks at the whole cluster", format!("{} in {:?}", self.looks, self.began.elapsed()));
    }

    /// Looks again and again until `is_over`.
    #[track_caller]
    pub fn look_until(&mut self, cluster: &Cluster, is_over: impl Fn() -> bool) {
        while !is_over() {
            self.look(cluster);
            crate::wait::pause(Duration::from_millis(50));
        }
    }
}

/// Whether a line tells of something that must not have happened. What becomes of strangers is none of it.
fn is_bad(line: &str, ids: &[String]) -> bool {
    let of_peers = ["peer is dead", "peer is suspect", "lost the link", "said goodbye", "does not answer"];
    let of_all = ["node is down", "panicked", "the loop of gossip ended", "started again", "given up"];
    of_all.iter().any(|bad| line.contains(bad))
        || of_peers.iter().any(|bad| line.contains(bad)) && ids.iter().any(|id| format!("{line} ").contains(id))
}

/// A line without what differs from one of its kind to the next: its time and its numbers.
fn kind(line: &str) -> String {
    let said = line.split_once(' ').map_or(line, |(_, said)| said);
    said.chars().filter(|c| !c.is_ascii_digit()).collect::<String>().trim().to_owned()
}
