//! Many random stories: crashes, lost disks, cuts, pauses, clocks that run apart, lost and doubled messages, writes and
//! changes of electors. After each event [`World`] looks for two leaders of a term, two that may act, a revision with two
//! values and a disk that went back. At the end all is healed, and the cluster must be one again.
//!
//! `ELECTION_SEED=7` runs one story, `ELECTION_STORIES=10000` so many.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::election::event::{Change, Event};
use crate::election::world::{Weather, World, id};
use crate::model::{Electors, PeerId};
use crate::wire::Memory;

const STORIES: u64 = 60;
const STEPS: usize = 150;

#[expect(clippy::disallowed_methods, reason = "how a failed story is told again, alone")]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

struct Story {
    world: World,
    all: Vec<PeerId>,
    wiped: BTreeSet<PeerId>,
    writes: u32,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let all: Vec<PeerId> = ["a", "b", "c", "d", "e"].map(id).into();
        let first = Electors::new(all[..3].iter().cloned()).unwrap();
        for peer in &all {
            world.add(peer.clone(), Some(first.clone()));
            // Four hundredths slow to four hundredths fast: a lease leaves a tenth.
            world.peers.get_mut(peer).unwrap().rate = 0.96 + 0.08 * world.dice.fraction();
        }
        all.iter().for_each(|peer| world.begin(peer));
        Self { world, all, wiped: BTreeSet::new(), writes: 0 }
    }

    fn any(&mut self) -> PeerId {
        let at = self.world.dice.below(self.all.len());
        self.all[at].clone()
    }

    fn leader(&self) -> Option<PeerId> {
        self.world.leader().map(|leader| id(&leader))
    }

    fn write(&mut self) {
        let Some(leader) = self.leader() else { return };
        self.writes += 1;
        self.world.write(&leader, &format!("v{}", self.writes));
    }

    /// Disks are lost one at a time: the next when the one before remembers again.
    fn may_wipe(&mut self) -> bool {
        let peers = &self.world.peers;
        self.wiped.retain(|id| {
            peers[id].machine.as_ref().is_none_or(|machine| machine.journal.durable().memory == Memory::Lost)
        });
        self.wiped.is_empty()
    }

    fn step(&mut self) {
        let peer = self.any();
        let is_up = self.world.peers[&peer].machine.is_some();
        match self.world.dice.below(21) {
            0 | 1 if is_up => self.world.crash(&peer),
            2 if self.may_wipe() => {
                self.wiped.insert(peer.clone());
                self.world.wipe(&peer);
            }
            20 if self.may_wipe() => {
                self.wiped.insert(peer.clone());
                self.world.damage(&peer);
            }
            3 => {
                let other: Vec<PeerId> = self.all.iter().filter(|id| **id != peer).cloned().collect();
                self.world.cut(&[peer], &other);
            }
            4 => {
                let other = self.any();
                if other != peer {
                    self.world.cut(&[peer], &[other]);
                }
            }
            5 | 6 => self.world.heal(),
            7 => {
                let pause = Duration::from_millis(self.world.dice.below(1_000) as u64);
                self.world.peers.get_mut(&peer).unwrap().paused_until = self.world.clock + pause;
            }
            8 => {
                let Some(leader) = self.leader() else { return };
                // What a single elector knows alone is lost with its disk: that is warned of, and no story.
                let electors = self.world.peers[&leader].machine.as_ref().unwrap().electors().map_or(0, Electors::len);
                let adds = self.world.dice.below(2) == 0 || electors < 3;
                let change = if adds { Change::Add(peer) } else { Change::Remove(peer) };
                self.world.do_to(&leader, Event::Change(change));
            }
            9 if is_up => self.world.do_to(&peer, Event::Stop),
            10 => self.world.weather = Weather::ROUGH,
            11 => self.world.weather = Weather::FAIR,
            12..=15 if !is_up => self.world.begin(&peer),
            _ => self.write(),
        }
        let ms = self.world.dice.below(400) as u64;
        self.world.run(Duration::from_millis(ms));
    }

    /// All is well again: within a few seconds there is one leader, whom all follow, and who can commit.
    fn ends_well(&mut self, seed: u64) {
        self.world.weather = Weather::FAIR;
        self.world.heal();
        for peer in self.all.clone() {
            self.world.peers.get_mut(&peer).unwrap().paused_until = Duration::ZERO;
            // One that was stopped campaigns no more; it begins anew.
            if self.world.peers[&peer].machine.is_some() {
                self.world.crash(&peer);
            }
            self.world.begin(&peer);
        }
        self.world.run(Duration::from_secs(8));
        self.write();
        self.world.run(Duration::from_secs(2));
        let committed: BTreeSet<_> = self
            .world
            .peers
            .values()
            .map(|peer| {
                let slot = peer.machine.as_ref().unwrap().committed();
                slot.map(|slot| (slot.revision, slot.hash, slot.electors.clone()))
            })
            .collect();
        let told = || self.world.told.join("\n");
        assert!(self.leader().is_some(), "seed {seed}: no leader\n{}\n{:#?}", told(), self.world.show());
        assert!(
            committed.len() == 1 && !committed.contains(&None),
            "seed {seed}: {committed:?}\n{}\n{:#?}",
            told(),
            self.world.show()
        );
    }
}

#[test]
fn whatever_happens_nothing_is_lost_and_nobody_acts_beside_another() {
    let first = asked_for("ELECTION_SEED");
    let count = if first.is_some() { 1 } else { asked_for("ELECTION_STORIES").unwrap_or(STORIES) };
    let first = first.unwrap_or(1);
    let mut writes = 0;
    for seed in first..first + count {
        println!("seed {seed}");
        let mut story = Story::new(seed);
        // Every founder has to be there for the first commit.
        story.world.run(Duration::from_secs(2));
        story.write();
        story.world.run(Duration::from_secs(1));
        (0..STEPS).for_each(|_| story.step());
        story.ends_well(seed);
        writes += story.writes;
    }
    println!("{count} stories, {writes} writes tried");
}

#[test]
fn one_seed_tells_one_story() {
    let tell = || {
        let mut story = Story::new(3);
        (0..STEPS).for_each(|_| story.step());
        story.world.told
    };
    assert_eq!(tell(), tell());
}
