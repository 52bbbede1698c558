//! Which nodes are watched, and what changes when the catalog does.
//!
//! A node that stays at its address keeps all that was found of it, and its place in the schedule. At another address it is
//! another node. What is gone is asked no more, and the answer to a question that was under way is dropped.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::{Known, Round, Watch, Watched, disabled};
use crate::health::machine::Machine;
use crate::model::{Admin, Catalog, Check, CheckKind, Host, Node, NodeId, NodeKey, Observe, Pool, Transport};
use crate::view::observers::Observed;

impl Watch {
    /// The first catalog. `known`: what was known before a restart.
    pub(super) fn begin_with(&mut self, catalog: &Catalog, mut known: HashMap<NodeKey, Known>, now: Instant) {
        for pool in catalog.pools() {
            let check = Arc::new(pool.check.clone());
            for node in &pool.nodes {
                let key = NodeKey::of(&node.id, &node.address);
                if node.admin == Admin::Disabled {
                    self.disable(key, &node.id);
                } else {
                    self.add(
                        node,
                        (pool.observe, pool.transport(node)),
                        &check,
                        known.remove(&key).unwrap_or_default(),
                        now,
                    );
                }
            }
        }
        self.count_round();
    }

    /// Another catalog. Nodes that are new are asked at once, as after a start. `is_known`: whether anybody knows how a node is.
    pub(in crate::health) fn change(&mut self, catalog: &Catalog, is_known: impl Fn(&NodeId) -> bool, now: Instant) {
        let addresses: HashMap<&NodeId, &Node> = catalog
            .nodes()
            .map(|(_, node)| (&node.id, node))
            .filter(|(_, node)| node.admin != Admin::Disabled)
            .collect();
        let mut gone: Vec<usize> = (self.numbers.iter())
            .filter(|(id, index)| addresses.get(id).is_none_or(|node| node.address != self.nodes[**index].address))
            .map(|(_, index)| *index)
            .collect();
        gone.sort_unstable();
        self.forget(&gone);
        let mut disabled = HashSet::new();
        for pool in catalog.pools() {
            let check = Arc::new(pool.check.clone());
            for node in &pool.nodes {
                if node.admin == Admin::Disabled {
                    let key = NodeKey::of(&node.id, &node.address);
                    disabled.insert(key);
                    self.disable(key, &node.id);
                } else if let Some(&index) = self.numbers.get(&node.id) {
                    self.adapt(index, node, pool, &check, &is_known, now);
                } else {
                    self.add(node, (pool.observe, pool.transport(node)), &check, Known::default(), now);
                }
            }
        }
        self.disabled.retain(|key, _| disabled.contains(key));
        self.said_once.retain(|key, _| disabled.contains(key));
        self.count_round();
    }

    /// Says again whatever a view has otherwise. It drops what is said of nodes before it has them.
    pub(in crate::health) fn tell_again(&mut self, known: &HashMap<NodeKey, Known>) {
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let Some(known) = known.get(&node.observed.key).filter(|_| !node.is_gone) else { continue };
            let has_moved = node.name.is_some() && known.addresses != node.addresses;
            node.tell_addresses |= has_moved;
            if has_moved || known.observation != node.machine.observation() {
                self.tell_observation(index);
            }
        }
        for (key, node) in &self.disabled {
            if known.get(key).is_some_and(|known| known.observation != disabled()) {
                self.said_once.insert(*key, node.clone());
            }
        }
    }

    /// What peers call the node of this id that is watched.
    pub(in crate::health) fn key_of(&self, id: &NodeId) -> Option<NodeKey> {
        self.numbers.get(id).map(|&index| self.nodes[index].observed.key)
    }

    fn disable(&mut self, key: NodeKey, id: &NodeId) {
        if self.disabled.insert(key, id.clone()).is_none() {
            self.said_once.insert(key, id.clone());
        }
    }

    fn add(
        &mut self,
        node: &Node,
        (observe, transport): (Observe, Transport),
        check: &Arc<Check>,
        known: Known,
        now: Instant,
    ) {
        let index = self.free.pop().unwrap_or(self.nodes.len());
        let is_resumed = !known.addresses.is_empty();
        let (name, addresses) = self.addresses_of(index, node, known.addresses, now);
        let observed = Observed::of(node, observe);
        let mut machine = Machine::resume(check, &known.observation, now);
        machine.observe(observed.is_observed_here(&self.members));
        let is_asked = check.kind != CheckKind::None && machine.is_observing();
        let watched = Watched {
            id: node.id.clone(),
            is_gone: false,
            observed,
            name,
            authority: node.address.authority().into(),
            address: node.address.clone(),
            transport,
            machine,
            check: Arc::clone(check),
            // Whoever checks it, traffic from here needs its address.
            round: if is_asked || addresses.is_empty() { Round::Open } else { Round::Done },
            tell_addresses: name.is_some() && !is_resumed && !addresses.is_empty(),
            addresses,
            suspected_meanwhile: false,
            broke_off: false,
            hinted: false,
            asked_for_hint: false,
            finished: None,
            asked: Vec::new(),
            tell_observation: false,
        };
        if index == self.nodes.len() {
            self.nodes.push(watched);
        } else {
            self.nodes[index] = watched;
        }
        self.numbers.insert(node.id.clone(), index);
        self.schedule.grow(self.nodes.len());
        if self.nodes[index].machine.needs_checks(now) {
            self.due(index, now);
        }
        self.tell_observation(index);
    }

    /// Where a node is, as far as that is known, and the number of its name.
    fn addresses_of(
        &mut self,
        index: usize,
        node: &Node,
        known: Vec<SocketAddr>,
        now: Instant,
    ) -> (Option<usize>, Vec<SocketAddr>) {
        let Host::Name(name) = &node.address.host else {
            return (None, node.address.literal().into_iter().collect());
        };
        let mut ips: Vec<IpAddr> = known.iter().map(SocketAddr::ip).collect();
        ips.sort_unstable();
        let number = self.names.number_of(name, ips, now);
        if self.named.len() <= number {
            self.named.resize_with(number + 1, Vec::new);
        }
        self.named[number].push(index);
        if !known.is_empty() {
            return (Some(number), known);
        }
        // Another node of this name may have been asked for already.
        let of_name = self.names.addresses(number).iter();
        (Some(number), of_name.map(|ip| SocketAddr::new(*ip, node.address.port)).collect())
    }

    fn forget(&mut self, gone: &[usize]) {
        for &index in gone {
            let node = &mut self.nodes[index];
            node.is_gone = true;
            self.numbers.remove(&node.id);
            if let Some(number) = node.name {
                self.named[number].retain(|of| *of != index);
                if self.named[number].is_empty() {
                    self.names.forget(number);
                }
            }
            self.hints.forget(index);
            self.schedule.clear(index);
            if !self.schedule.is_under_way(index) {
                self.free.push(index);
            }
        }
        let gone: HashSet<usize> = gone.iter().copied().collect();
        self.untold.retain(|index| !gone.contains(index));
    }

    /// A node that stays where it is takes on what is set for it now.
    fn adapt(
        &mut self,
        index: usize,
        settings: &Node,
        pool: &Pool,
        check: &Arc<Check>,
        is_known: impl Fn(&NodeId) -> bool,
        now: Instant,
    ) {
        let node = &mut self.nodes[index];
        let transport = pool.transport(settings);
        if node.transport != transport {
            node.transport = transport;
            // As with another kind of check.
            node.asked.clear();
            if node.machine.needs_checks(now) {
                self.due(index, now);
            }
        }
        let node = &mut self.nodes[index];
        if *node.check != **check {
            let is_asked_otherwise = node.check.kind != check.kind;
            let is_sooner = check.interval < node.check.interval;
            node.check = Arc::clone(check);
            node.machine.adjust(check);
            let needs_checks = node.machine.needs_checks(now);
            if is_asked_otherwise {
                // The answer to what was asked before says nothing of what is asked now.
                node.asked.clear();
                if needs_checks {
                    self.due(index, now);
                } else if !node.machine.is_suspected() && !node.hinted && !node.broke_off {
                    self.schedule.clear(index);
                }
            } else if is_sooner && needs_checks && !node.addresses.is_empty() {
                self.schedule.bring_forward(index, now + check.interval.mul_f64(self.dice.fraction()));
            }
            self.tell_observation(index);
        }
        let node = &mut self.nodes[index];
        if node.round == Round::Open && !node.is_checked_here() && !node.addresses.is_empty() {
            node.round = Round::Done;
        }
        if (&node.observed.region, node.observed.observe) != (&settings.region, pool.observe) {
            node.observed.region.clone_from(&settings.region);
            node.observed.observe = pool.observe;
            self.take_part(index, is_known, now);
        }
    }

    fn count_round(&mut self) {
        let is_open = |node: &&Watched| !node.is_gone && node.round != Round::Done;
        self.round_left = self.nodes.iter().filter(is_open).count();
    }
}
