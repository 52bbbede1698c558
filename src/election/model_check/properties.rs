//! What must hold in every state, and what must be seen in one at least: a scenario in which nothing happens shows nothing.

use std::time::Duration;

use stateright::Property;

use super::memo::Fault;
use super::scenario::{Disk, STEP, electors};
use super::space::{Space, State};
use crate::election::ballot::Vote;

pub(super) const ONE_LEADER: &str = "a term has at most one leader";
pub(super) const NEVER_BACK: &str = "term and vote never go back";
pub(super) const NEVER_LOST: &str = "what was committed is never lost, and revisions are linear";
pub(super) const ONE_ACTS: &str = "at most one peer may act";
pub(super) const STOPS: &str = "a leader without a quorum stops";
pub(super) const ELECTED: &str = "a leader is elected";
pub(super) const ELECTED_AGAIN: &str = "a second term has a leader";
pub(super) const COMMITTED: &str = "something is committed";
pub(super) const CHANGED: &str = "a change of the electors is committed";
pub(super) const RECOVERED: &str = "a peer that lost its disk remembers again";

/// Those of a scenario.
pub(super) fn of(space: &Space) -> Vec<Property<Space>> {
    let mut all = vec![
        Property::always(ONE_LEADER, |_, state: &State| state.fault != Some(Fault::TwoLeaders)),
        Property::always(NEVER_BACK, |_, state: &State| state.fault != Some(Fault::WentBack)),
        Property::always(NEVER_LOST, |_, state: &State| state.fault != Some(Fault::CommittedLost)),
        Property::sometimes(ELECTED, |space: &Space, state: &State| has_seen(space, state, ELECTED)),
        Property::sometimes(COMMITTED, |space: &Space, state: &State| has_seen(space, state, COMMITTED)),
    ];
    if space.is_timed() {
        all.push(Property::always(ONE_ACTS, |space: &Space, state: &State| {
            let now = space.now(state.clock);
            let acts = |peer: &usize| space.local(state, *peer).machine.authority(now).is_some();
            (0..space.ids.len()).filter(acts).count() <= 1
        }));
        all.push(Property::always(STOPS, |space: &Space, state: &State| {
            let now = space.now(state.clock);
            (0..space.ids.len()).all(|peer| {
                let local = space.local(state, peer);
                // What was answered then was sent then or before.
                let silent = STEP * u32::from(state.clock - local.answered_at);
                local.machine.authority(now).is_none() || silent < Duration::from_millis(270)
            })
        }));
    }
    if space.scenario.term_max > 2 {
        all.push(Property::sometimes(ELECTED_AGAIN, |space: &Space, state: &State| {
            has_seen(space, state, ELECTED_AGAIN)
        }));
    }
    if !space.scenario.changes.is_empty() {
        all.push(Property::sometimes(CHANGED, |space: &Space, state: &State| has_seen(space, state, CHANGED)));
    }
    if space.scenario.wipes > 0 {
        all.push(Property::sometimes(RECOVERED, |space: &Space, state: &State| has_seen(space, state, RECOVERED)));
    }
    all
}

fn has_seen(space: &Space, state: &State, what: &str) -> bool {
    let locals = || (0..space.ids.len()).map(|peer| space.local(state, peer));
    match what {
        ELECTED => state.leaders.iter().any(|leader| *leader != 0),
        ELECTED_AGAIN => state.leaders.iter().filter(|leader| **leader != 0).count() > 1,
        COMMITTED => state.committed.iter().filter(|slot| **slot != 0).count() > 0,
        CHANGED => {
            let first = space.scenario.peers.iter().find_map(|(_, disk, _)| match disk {
                Disk::Committed(ids) => Some(electors(ids)),
                Disk::Empty => None,
            });
            locals().any(|local| local.disk.committed.as_ref().map(|slot| &slot.electors) != first.as_ref())
        }
        _ => locals().any(|local| local.life > 0 && local.disk.vote == Vote::Forgotten),
    }
}
