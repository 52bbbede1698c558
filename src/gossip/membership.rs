//! Who lives, as this peer sees it. Two witnesses speak: heartbeats that arrive, also by way of others (phi), and the link
//! to the peer itself. Heartbeats are slower to tell and see a peer that hangs; the link is told of a goodbye at once, and
//! sees one host's cable and not another's. Where packets are lost or a core is busy, heartbeats alone are late now and then;
//! so while the link goes on to speak, their silence is at first a suspicion.
//!
//! | heartbeats | link | state |
//! | --- | --- | --- |
//! | rise | up, or none yet | alive |
//! | rise | lost | suspect: it lives, and others reach it |
//! | silent (phi) | up, and something came on it lately | suspect, and dead after twice the time |
//! | silent (phi) | any other | dead |
//! | have not risen since the loss | lost and not dialed again | dead |
//! | any | it said goodbye | dead |
//!
//! Sightings, link events and the time come in; the list comes out. Nothing here knows chitchat or a socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::model::limits::PEERS_MAX;
use crate::model::{PeerId, PeerState, RegionName};

/// A dead peer is shown for so long.
const SHOWN_AFTER_DEATH: Duration = Duration::from_secs(600);
/// A link speaks while something came on it within this part of what a death takes to be seen: some more than the pause
/// between two signs of life of an idle link.
const SPEAKS_WITHIN_DETECTION: f64 = 0.5;
/// Silence shorter than this part of what a death takes to be seen is no silence, whatever phi says: of a peer that was just met
/// heartbeats come by many ways at once, and beside their pauses any other looks long.
const SILENT_DETECTION: f64 = 0.6;
/// So many times of what a death takes to be seen may heartbeats be silent while the link speaks.
const HEARTLESS_DETECTIONS: u32 = 2;
/// A peer that gossip does not name at all is silent after so many times of what a death takes to be seen.
const FORGOTTEN_DETECTIONS: u32 = 3;

/// What heartbeats say of a peer at this moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sighting {
    /// Whose.
    pub(super) id: PeerId,
    /// Which start of it.
    pub(super) incarnation: u64,
    /// Where it says that it is reached.
    pub(super) address: SocketAddr,
    /// Its region, once it has said it.
    pub(super) region: Option<RegionName>,
    /// Whether phi says that it lives.
    pub(super) beats: bool,
    /// How many heartbeats were counted.
    pub(super) heartbeat: u64,
    /// It stops, and says so.
    pub(super) leaving: bool,
}

impl Sighting {
    /// Whether only heartbeats tell them apart.
    fn says_the_same(&self, other: &Self) -> bool {
        let said = |sighting: &Self| (sighting.incarnation, sighting.address, sighting.beats, sighting.leaving);
        said(self) == said(other) && self.region == other.region
    }
}

/// What the link says of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Linked {
    /// It stands.
    Up,
    /// It broke, and is being dialed again.
    Lost,
    /// It broke and could not be dialed again.
    Failed,
    /// It said goodbye.
    Closed,
}

/// Everybody who is known.
#[derive(Debug)]
pub(super) struct Membership {
    own: PeerId,
    /// How long phi takes to see a death.
    detection: Duration,
    peers: BTreeMap<PeerId, Known>,
    /// Until then silence is likelier our own fault.
    deaf_until: Option<Instant>,
    /// Times that somebody was not taken because there are too many.
    refused_total: u64,
    /// Something about somebody changed, other than heartbeats.
    changed: bool,
}

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) sighting: Sighting,
    pub(super) state: PeerState,
    /// When its heartbeat rose last, or when it was first seen.
    pub(super) heard: Instant,
    link: Option<Linked>,
    link_changed: Instant,
    /// How much had come on the link when that rose last.
    link_received: u64,
    /// When that was.
    link_heard: Option<Instant>,
    dead_since: Option<Instant>,
    /// When gossip named it last.
    sighted: Instant,
}

/// A change of state, to be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Change {
    pub(super) id: PeerId,
    pub(super) state: PeerState,
    pub(super) why: &'static str,
}

impl Membership {
    pub(super) fn new(own: PeerId, detection: Duration) -> Self {
        Self { own, detection, peers: BTreeMap::new(), deaf_until: None, refused_total: 0, changed: false }
    }

    /// Everybody who is known but this peer itself, by id.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Known> {
        self.peers.values()
    }

    /// Times that somebody was not taken because there are [`PEERS_MAX`].
    pub(super) fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// Whether anything changed since this was asked last, other than heartbeats.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// This peer's own timer was late: what arrived meanwhile may not be read yet, so nobody is called silent for as long
    /// as a death takes to be seen.
    pub(super) fn was_late(&mut self, now: Instant) {
        self.deaf_until = Some(now + self.detection);
    }

    /// Takes in all that heartbeats say: one sighting a peer. Whoever is not among them was forgotten by gossip.
    pub(super) fn sighted(&mut self, sightings: Vec<Sighting>, now: Instant) -> Vec<Change> {
        for sighting in sightings {
            self.sight(sighting, now);
        }
        for known in self.peers.values_mut() {
            // A gossip that was started anew needs a moment until it has met everybody again.
            let forgotten = now.saturating_duration_since(known.sighted) > self.detection * FORGOTTEN_DETECTIONS;
            known.sighting.beats &= !forgotten;
        }
        self.judge_all(now)
    }

    /// Takes in what the link says of a peer.
    pub(super) fn linked(&mut self, id: &PeerId, linked: Linked, now: Instant) -> Vec<Change> {
        if let Some(known) = self.peers.get_mut(id) {
            // A dial that failed is no second loss: what was heard since the first one still speaks for the peer.
            if (known.link, linked) != (Some(Linked::Lost), Linked::Failed) {
                known.link_changed = now;
            }
            known.link = Some(linked);
        }
        self.judge_all(now)
    }

    /// So much has come on the link to a peer. To be told again and again: what counts is that it rises.
    pub(super) fn link_received(&mut self, id: &PeerId, received: u64, now: Instant) {
        if let Some(known) = self.peers.get_mut(id)
            && known.link_received != received
        {
            // The first figure is of a time that is not known.
            known.link_heard = (known.link_received != 0).then_some(now);
            known.link_received = received;
        }
    }

    fn sight(&mut self, sighting: Sighting, now: Instant) {
        if sighting.id == self.own {
            return;
        }
        if let Some(known) = self.peers.get_mut(&sighting.id) {
            let restarted = known.sighting.incarnation != sighting.incarnation;
            if restarted && known.link != Some(Linked::Up) {
                // What was said of the link was said of the process before.
                known.link = None;
            }
            if restarted || sighting.heartbeat > known.sighting.heartbeat {
                known.heard = now;
            }
            self.changed |= !known.sighting.says_the_same(&sighting);
            (known.sighting, known.sighted) = (sighting, now);
            return;
        }
        if !sighting.beats {
            // Somebody's memory of a peer that died before we came.
            return;
        }
        if self.peers.len() >= PEERS_MAX - 1 && !self.evict() {
            self.refused_total = self.refused_total.saturating_add(1);
            return;
        }
        let known = Known {
            state: PeerState::Alive,
            heard: now,
            link: None,
            link_changed: now,
            link_received: 0,
            link_heard: None,
            dead_since: None,
            sighted: now,
            sighting: sighting.clone(),
        };
        self.changed = true;
        self.peers.insert(sighting.id, known);
    }

    /// Makes room by forgetting whoever has been dead for longest.
    fn evict(&mut self) -> bool {
        let oldest = self.peers.iter().filter_map(|(id, known)| Some((known.dead_since?, id.clone()))).min();
        oldest.is_some_and(|(_, id)| self.peers.remove(&id).is_some())
    }

    fn judge_all(&mut self, now: Instant) -> Vec<Change> {
        let deaf = self.deaf_until.is_some_and(|until| now < until);
        let mut changes = Vec::new();
        for (id, known) in &mut self.peers {
            let (state, why) = known.judge(deaf, self.detection, now);
            if state != known.state {
                known.state = state;
                known.dead_since = (state == PeerState::Dead).then_some(now);
                changes.push(Change { id: id.clone(), state, why });
            }
        }
        self.changed |= !changes.is_empty();
        self.peers.retain(|_, known| known.dead_since.is_none_or(|since| now < since + SHOWN_AFTER_DEATH));
        changes
    }
}

impl Known {
    fn judge(&self, deaf: bool, detection: Duration, now: Instant) -> (PeerState, &'static str) {
        let risen_since = self.heard > self.link_changed;
        if self.link == Some(Linked::Closed) && !risen_since {
            return (PeerState::Dead, "it said goodbye");
        }
        let is_excused = deaf && self.state != PeerState::Dead;
        let within = |since: Instant, time: Duration| now.saturating_duration_since(since) < time;
        let is_silent = !self.sighting.beats
            && (self.state == PeerState::Dead || !within(self.heard, detection.mul_f64(SILENT_DETECTION)));
        if is_silent && !is_excused {
            let speaks = self.link == Some(Linked::Up)
                && self.link_heard.is_some_and(|heard| within(heard, detection.mul_f64(SPEAKS_WITHIN_DETECTION)));
            if self.state != PeerState::Dead && speaks && within(self.heard, detection * HEARTLESS_DETECTIONS) {
                return (PeerState::Suspect, "its heartbeats stopped, and its link still speaks");
            }
            return (PeerState::Dead, "its heartbeats stopped");
        }
        match self.link {
            Some(Linked::Failed) if !risen_since => (PeerState::Dead, "its link broke and it cannot be dialed"),
            Some(Linked::Failed) => (PeerState::Suspect, "only others reach it"),
            Some(Linked::Lost) => (PeerState::Suspect, "its link broke"),
            Some(Linked::Up | Linked::Closed) | None => (PeerState::Alive, "its heartbeats rise"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    struct Told {
        membership: Membership,
        start: Instant,
    }

    impl Told {
        fn new() -> Self {
            let membership = Membership::new("me".parse().unwrap(), Duration::from_secs(1));
            Self { membership, start: host::now() }
        }

        fn sighting(id: &str, incarnation: u64, heartbeat: u64, beats: bool) -> Sighting {
            Sighting {
                id: id.parse().unwrap(),
                incarnation,
                address: "192.0.2.1:7940".parse().unwrap(),
                region: None,
                beats,
                heartbeat,
                leaving: false,
            }
        }

        fn sighted(&mut self, ms: u64, heartbeat: u64, beats: bool) -> Option<PeerState> {
            let sighting = Self::sighting("a", 1, heartbeat, beats);
            self.membership.sighted(vec![sighting], self.start + Duration::from_millis(ms));
            self.state()
        }

        fn linked(&mut self, ms: u64, linked: Linked) -> Option<PeerState> {
            let id = "a".parse().unwrap();
            self.membership.linked(&id, linked, self.start + Duration::from_millis(ms));
            self.state()
        }

        fn state(&self) -> Option<PeerState> {
            self.membership.peers().next().map(|known| known.state)
        }
    }

    const ALIVE: Option<PeerState> = Some(PeerState::Alive);
    const SUSPECT: Option<PeerState> = Some(PeerState::Suspect);
    const DEAD: Option<PeerState> = Some(PeerState::Dead);

    #[test]
    fn a_lost_link_makes_a_peer_suspect_and_a_failed_dial_ends_it_unless_others_hear_it() {
        let mut told = Told::new();
        assert_eq!(told.sighted(0, 1, true), ALIVE);
        assert_eq!(told.linked(100, Linked::Up), ALIVE);
        assert_eq!(told.linked(200, Linked::Lost), SUSPECT);
        assert_eq!(told.linked(300, Linked::Failed), DEAD);
        // Its heartbeat rises: it came by way of others.
        assert_eq!(told.sighted(400, 2, true), SUSPECT);
        assert_eq!(told.linked(500, Linked::Up), ALIVE);
    }

    #[test]
    fn a_peer_that_others_hear_is_not_dead_for_a_moment_when_its_dial_fails() {
        let mut told = Told::new();
        told.sighted(0, 1, true);
        assert_eq!(told.linked(200, Linked::Lost), SUSPECT);
        assert_eq!(told.sighted(2_150, 2, true), SUSPECT);
        assert_eq!(told.linked(2_200, Linked::Failed), SUSPECT);
    }

    #[test]
    fn silence_is_death_whatever_the_link_says() {
        let mut told = Told::new();
        told.sighted(0, 1, true);
        told.linked(0, Linked::Up);
        assert_eq!(told.sighted(900, 1, false), DEAD);
        assert_eq!(told.sighted(1_000, 2, true), ALIVE);
    }

    #[test]
    fn silence_is_a_suspicion_while_the_link_speaks_and_death_after_twice_the_time() {
        let mut told = Told::new();
        let speak = |told: &mut Told, ms: u64, received: u64| {
            let now = told.start + Duration::from_millis(ms);
            told.membership.link_received(&"a".parse().unwrap(), received, now);
        };
        told.sighted(0, 1, true);
        told.linked(0, Linked::Up);
        speak(&mut told, 100, 5);
        speak(&mut told, 700, 6);
        assert_eq!(told.sighted(900, 1, false), SUSPECT);
        // Nothing came since: it is another word of the same.
        speak(&mut told, 1_200, 6);
        assert_eq!(told.sighted(1_200, 1, false), DEAD);
        speak(&mut told, 1_250, 7);
        assert_eq!(told.sighted(1_250, 1, false), DEAD, "its link alone raises nobody");

        assert_eq!(told.sighted(1_300, 2, true), ALIVE);
        speak(&mut told, 3_000, 8);
        assert_eq!(told.sighted(3_000, 2, false), SUSPECT);
        speak(&mut told, 3_290, 9);
        assert_eq!(told.sighted(3_290, 2, false), SUSPECT);
        assert_eq!(told.sighted(3_300, 2, false), DEAD);
    }

    #[test]
    fn goodbye_is_death_at_once_until_it_is_heard_again() {
        let mut told = Told::new();
        told.sighted(0, 1, true);
        assert_eq!(told.linked(10, Linked::Closed), DEAD);
        assert_eq!(told.sighted(20, 1, true), DEAD);
        let again = Told::sighting("a", 2, 1, true);
        told.membership.sighted(vec![again], told.start + Duration::from_millis(50));
        assert_eq!(told.state(), ALIVE);
    }

    #[test]
    fn a_peer_that_was_late_itself_calls_nobody_silent_until_a_detection_time_has_passed() {
        let mut told = Told::new();
        told.sighted(0, 1, true);
        told.membership.was_late(told.start + Duration::from_millis(3_000));
        assert_eq!(told.sighted(3_000, 1, false), ALIVE);
        assert_eq!(told.sighted(3_900, 1, false), ALIVE);
        assert_eq!(told.sighted(4_100, 1, false), DEAD);
    }

    #[test]
    fn a_memory_of_a_dead_peer_is_not_a_peer_and_a_dead_one_is_forgotten_after_ten_minutes() {
        let mut told = Told::new();
        assert_eq!(told.sighted(0, 1, false), None);
        assert_eq!(told.sighted(10, 2, true), ALIVE);
        assert_eq!(told.sighted(20, 2, false), ALIVE, "what is 10 ms old is no silence");
        assert_eq!(told.sighted(620, 2, false), DEAD);
        told.membership.sighted(Vec::new(), told.start + Duration::from_secs(600));
        assert_eq!(told.state(), DEAD);
        told.membership.sighted(Vec::new(), told.start + Duration::from_secs(601));
        assert_eq!(told.state(), None);
    }

    #[test]
    fn no_more_peers_are_known_than_allowed_and_the_dead_make_room() {
        let mut told = Told::new();
        let many = |beats: bool| -> Vec<Sighting> {
            (0..PEERS_MAX).map(|number| Told::sighting(&format!("p{number}"), 1, 1, beats)).collect()
        };
        told.membership.sighted(many(true), told.start);
        assert_eq!(told.membership.peers().count(), PEERS_MAX - 1);
        assert_eq!(told.membership.refused_total(), 1);
        told.membership.sighted(many(false), told.start + Duration::from_secs(1));
        told.membership.sighted(vec![Told::sighting("late", 1, 1, true)], told.start);
        assert!(told.membership.peers().any(|known| known.sighting.id.as_str() == "late"));
        assert_eq!(told.membership.peers().count(), PEERS_MAX - 1);
    }
}
