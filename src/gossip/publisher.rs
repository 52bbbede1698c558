//! What this peer says of itself and of nodes. It outlives the actor and chitchat: whoever is started after them says it all
//! again.

use std::time::Instant;

use chitchat::NodeState;

use super::page::Pages;
use super::settings::Settings;
use super::{demand, load, topic};
use crate::model::{Demand, Heard, NodeKey, Revision};

/// What this peer has to say.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    pages: Pages,
    sweeps: u64,
    load: Option<String>,
    demand: Option<String>,
    leaving: bool,
    catalog: Option<Revision>,
    changed: Changed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    sweep: bool,
    load: bool,
    demand: bool,
    leaving: bool,
    catalog: bool,
}

impl Publisher {
    /// What is known of a node now; `None`: this peer no longer observes it.
    pub(super) fn observe(&mut self, node: NodeKey, heard: Option<&Heard>) {
        self.pages.set(node, heard);
    }

    /// Checks kept time.
    pub(super) fn sweep(&mut self) {
        self.sweeps += 1;
        self.changed.sweep = true;
    }

    /// What is in flight now, at every node that has something.
    pub(super) fn load(&mut self, loads: Vec<(NodeKey, u32)>) {
        let text = load::text(loads);
        self.changed.load |= text != self.load;
        self.load = text;
    }

    /// What is asked now, by region and for others.
    pub(super) fn demand(&mut self, demand: Demand) {
        let text = demand::text(demand);
        self.changed.demand |= text != self.demand;
        self.demand = text;
    }

    /// It serves by this revision of the catalog.
    pub(super) fn serve_by(&mut self, revision: Revision) {
        self.changed.catalog |= self.catalog != Some(revision);
        self.catalog = Some(revision);
    }

    /// The peer stops.
    pub(super) fn leave(&mut self) {
        self.changed.leaving |= !self.leaving;
        self.leaving = true;
    }

    /// A new chitchat knows nothing of what was said.
    pub(super) fn begin(&mut self) {
        self.pages.begin();
        self.changed = Changed {
            sweep: self.sweeps > 0,
            load: self.load.is_some(),
            demand: self.demand.is_some(),
            leaving: self.leaving,
            catalog: self.catalog.is_some(),
        };
    }

    /// What stands there from the start.
    pub(super) fn about(settings: &Settings) -> Vec<(String, String)> {
        [
            (topic::REGION, settings.region.as_str()),
            (topic::API, settings.api.as_str()),
            (topic::SOFTWARE, concat!("evenkeel ", env!("CARGO_PKG_VERSION"))),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// Says what changed.
    pub(super) fn say(&mut self, state: &mut NodeState, now: Instant) {
        for (page, text) in self.pages.take_changes(now) {
            let key = topic::page_key(page);
            match text {
                Some(text) => state.set(key, text),
                None => state.delete(&key),
            }
        }
        let changed = std::mem::take(&mut self.changed);
        if changed.sweep {
            state.set(topic::SWEEP, self.sweeps);
        }
        for (key, text, changed) in
            [(topic::LOAD, &self.load, changed.load), (topic::DEMAND, &self.demand, changed.demand)]
        {
            match text {
                _ if !changed => {}
                Some(text) => state.set(key, text),
                None => state.delete(key),
            }
        }
        if let Some(revision) = self.catalog.filter(|_| changed.catalog) {
            state.set(topic::CATALOG, revision);
        }
        if changed.leaving {
            state.set(topic::LEAVING, true);
        }
    }
}
