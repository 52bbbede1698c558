//! Disks that lose, bend or refuse what a peer wrote: it starts and serves, says what is wrong, votes in no term twice, and
//! takes part again once it may.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use cluster_tests::api::Request;
use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::raw::get_once;
use cluster_tests::report;
use cluster_tests::wait::{PATIENCE, pause, wait_for};
use evenkeel::election::{Ballot, Vote};
use evenkeel::model::{PeerId, Term};
use serde_json::{Value, json};

fn three() -> Option<Cluster> {
    let cluster = Cluster::start(Shape { peers: 3, nodes: 1, preset: "lan", health: None })?;
    cluster.wait_founded();
    Some(cluster)
}

fn election(cluster: &Cluster, peer: usize) -> PathBuf {
    cluster.memory(peer).join("election")
}

/// The files of the values that a peer has.
fn values(cluster: &Cluster, peer: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(election(cluster, peer)).expect("a peer has its folder");
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("value-"))).collect()
}

/// Every vote that was seen on the disks of peers, by peer and term.
#[derive(Default)]
struct Votes(BTreeMap<(usize, Term), PeerId>);

impl Votes {
    /// Looks at the ballot of a peer as it is now: whom it has voted for in a term stays.
    #[track_caller]
    fn look(&mut self, peer: usize, ballot: &Path) {
        let Ok(Ok(ballot)) = fs::read(ballot).map(|bytes| Ballot::decode(&bytes)) else { return };
        if let Vote::For(candidate) = ballot.vote {
            let first = self.0.entry((peer, ballot.term)).or_insert_with(|| candidate.clone());
            assert_eq!(*first, candidate, "a second vote of p{} in term {}", peer + 1, ballot.term);
        }
    }
}

/// Does `story` while the ballots of all peers are watched.
fn watched(cluster: &mut Cluster, story: impl FnOnce(&mut Cluster)) {
    let ballots: Vec<PathBuf> = (0..3).map(|peer| election(cluster, peer).join("ballot")).collect();
    let is_over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut votes = Votes::default();
            while !is_over.load(SeqCst) {
                ballots.iter().enumerate().for_each(|(peer, ballot)| votes.look(peer, ballot));
                pause(Duration::from_millis(1));
            }
            votes.0.len()
        });
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(cluster)));
        is_over.store(true, SeqCst);
        let seen = watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen
    });
    report::figure("votes seen on disks, none of them twice in a term", seen);
    assert!(seen > 0, "nobody was seen to vote");
}

#[track_caller]
fn assert_serves(cluster: &Cluster, peer: usize) {
    let to = cluster.traffic(peer);
    let answer = cluster.client().within(|| get_once(to, "/"));
    assert_eq!(answer.map(|answer| answer.status), Some(200), "through {}", cluster.id(peer));
}

/// The leader dies and comes back, so that everybody has to vote.
fn elect_again(cluster: &mut Cluster) {
    let ((leader, _), _) = cluster.wait_led(&cluster.running());
    cluster.kill_peer(leader);
    let left = cluster.running();
    cluster.wait_led(&left);
    cluster.restart_peer(leader);
    cluster.wait_led(&[0, 1, 2]);
}

#[track_caller]
fn write(cluster: &Cluster, peer: usize, name: &str) -> Value {
    let path = format!("/api/v1/regions/{name}");
    let said = cluster.send(peer, &Request::write("PUT", &path, json!({})));
    assert_eq!(said.status, 201, "{}", said.json);
    said.json
}

/// Whether everybody serves by this revision.
fn wait_served(cluster: &Cluster, written: &Value) {
    wait_for("one catalog everywhere", PATIENCE, || {
        (0..3).all(|peer| cluster.json(peer, "/api/v1/catalog")["revision"] == written["revision"]).then_some(())
    });
}

fn warnings(cluster: &Cluster, peer: usize) -> String {
    cluster.json(peer, "/api/v1/leader")["warnings"].to_string()
}

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 4] = [
    ("cut off", |path| {
        let bytes = fs::read(path).expect("it is there");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("it is ours");
    }),
    ("flipped", |path| {
        let mut bytes = fs::read(path).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(path, bytes).expect("it is ours");
    }),
    ("emptied", |path| fs::write(path, b"").expect("it is ours")),
    ("removed", |path| fs::remove_file(path).expect("it is ours")),
];

#[test]
fn a_peer_whose_files_are_cut_off_flipped_emptied_or_removed_serves_and_takes_part_again() {
    let Some(mut cluster) = three() else { return };
    watched(&mut cluster, |cluster| {
        for (at, (what, damage)) in DAMAGES.into_iter().enumerate() {
            for of_ballot in [true, false] {
                let ((leader, _), _) = cluster.wait_led(&[0, 1, 2]);
                let victim = (leader + 1 + at % 2) % 3;
                cluster.kill_peer(victim);
                let written = write(cluster, leader, &format!("while-down-{at}-{of_ballot}"));
                if of_ballot {
                    damage(&election(cluster, victim).join("ballot"));
                } else {
                    values(cluster, victim).iter().for_each(|value| damage(value));
                }
                cluster.restart_peer(victim);
                assert_serves(cluster, victim);
                // A file that is gone is no damage: so a new peer is told from one that forgot by nobody.
                let told = if of_ballot { "ballot" } else { "value-" };
                if what != "removed" || !of_ballot {
                    let said = warnings(cluster, victim);
                    assert!(said.contains("damaged") && said.contains(told), "{what}: {said}");
                }
                wait_served(cluster, &written);
                // It is needed for the next majority: so it votes again.
                elect_again(cluster);
            }
            report::figure("recovered from files that were", what);
        }
    });
}

#[test]
fn two_of_three_whose_disks_are_lost_serve_on_and_say_what_to_do_and_forgetting_them_ends_it() {
    let Some(mut cluster) = three() else { return };
    watched(&mut cluster, |cluster| {
        let written = write(cluster, 0, "kept");
        wait_served(cluster, &written);
        for victim in [1, 2] {
            cluster.kill_peer(victim);
        }
        for victim in [1, 2] {
            fs::remove_dir_all(election(cluster, victim)).expect("it is ours");
            cluster.restart_peer(victim);
        }
        for peer in 0..3 {
            assert_serves(cluster, peer);
        }
        wait_for("the one that remembers to lead nobody", PATIENCE, || cluster.leader_at(0).is_none().then_some(()));
        wait_for("one that forgot to say so", PATIENCE, || {
            let waits_for = cluster.json(1, "/api/v1/leader")["waits_for"].clone();
            waits_for.as_str().is_some_and(|words| words.contains("does not remember")).then_some(())
        });
        for gone in ["p2", "p3"] {
            let path = format!("/api/v1/electors/{gone}?forget=true");
            let said = wait_for("the elector to be forgotten", PATIENCE, || {
                let request = Request { method: "DELETE", path: &path, fields: Vec::new(), body: None };
                Some(cluster.send(0, &request)).filter(|said| said.status == 200)
            });
            assert_eq!(said.0.json["here_alone"], true, "{}", said.0.json);
        }
        cluster.wait_led(&[0, 1, 2]);
        for peer in ["p2", "p3"] {
            wait_for("the peer to be an elector again", PATIENCE, || {
                let request = Request::write("POST", "/api/v1/electors", json!({ "id": peer }));
                (cluster.send(0, &request).status == 201).then_some(())
            });
        }
        let again = write(cluster, 2, "after");
        wait_served(cluster, &again);
        assert!(cluster.json(1, "/api/v1/catalog").to_string().contains("kept"), "nothing that was committed is lost");
    });
}

/// A small disk of its own for one peer's folder; it ends with this.
struct Disk(PathBuf);

impl Disk {
    /// `None`, with a line that says so, where nothing can be mounted.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).expect("a temporary folder takes a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"]).arg(&at).status();
        if !mounted.is_ok_and(|status| status.success()) {
            report::proclaim("skipped: a disk that is full or read-only needs the right to mount one");
            return None;
        }
        Some(Self(at))
    }

    #[track_caller]
    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "a disk is mounted again");
    }

    fn fill(&self) {
        let bytes = vec![0; 4 * 1024];
        let mut file = fs::File::create(self.0.join("filler")).expect("there is room for a name");
        while std::io::Write::write_all(&mut file, &bytes).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).expect("it is ours");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_peer_whose_disk_is_full_or_read_only_serves_and_says_so_and_takes_part_once_it_can_write() {
    let Some(mut cluster) = three() else { return };
    watched(&mut cluster, |cluster| {
        let ((leader, _), _) = cluster.wait_led(&[0, 1, 2]);
        let victim = (leader + 1) % 3;
        cluster.kill_peer(victim);
        let Some(disk) = Disk::mount(cluster.memory(victim)) else { return };
        for how in ["full", "read-only", "full from its start"] {
            match how {
                "full" => {
                    cluster.restart_peer(victim);
                    wait_served(cluster, &write(cluster, leader, "before"));
                    disk.fill();
                }
                "read-only" => disk.remount("ro"),
                _ => {
                    cluster.kill_peer(victim);
                    disk.fill();
                    cluster.restart_peer(victim);
                }
            }
            let written = write(cluster, leader, &format!("while-{}", how.replace(' ', "-")));
            assert_serves(cluster, victim);
            wait_for("the peer to say that its disk fails", PATIENCE, || {
                warnings(cluster, victim).contains("disk fails").then_some(())
            });
            let reasons = cluster.json(victim, "/api/health")["reasons"].to_string();
            assert!(reasons.contains("disk_failing"), "{reasons}");
            match how {
                "read-only" => disk.remount("rw"),
                _ => disk.empty(),
            }
            wait_served(cluster, &written);
            wait_for("the peer to say that all is well", PATIENCE, || {
                (!warnings(cluster, victim).contains("votes for nobody")).then_some(())
            });
            elect_again(cluster);
            report::figure("recovered from a disk that was", how);
        }
        cluster.kill_peer(victim);
        drop(disk);
    });
}
