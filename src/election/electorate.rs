//! Who votes, changed: one elector more or less at a time, by a leader; or, where no majority is left, by an operator.

use crate::election::event::{Change, Declined, Output};
use crate::election::machine::{Election, Role};
use crate::election::quorum::{self, Need};
use crate::election::time::Now;
use crate::model::{Electors, PeerId, Slot};
use crate::wire::Memory;

impl Election {
    pub(super) fn change(&mut self, change: Change, now: Now) {
        match self.changed(change, now) {
            Ok(slot) => self.undecided(slot),
            Err(why) => self.output(Output::Declined(why)),
        }
    }

    /// The value as it is, with one elector more or less. Two lists that differ by one have a peer of each majority in
    /// common; so the new list decides about itself.
    fn changed(&self, change: Change, now: Now) -> Result<Slot, Declined> {
        let Role::Leading(leading) = &self.role else { return Err(Declined::NotLeading) };
        let revision = self.journal.wanted.accepted.as_ref().map(|slot| slot.revision).unwrap_or_default();
        let slot = self.next_slot(revision)?.ok_or(Declined::NotLeading)?;
        let electors = match change {
            Change::Add(id) if slot.electors.contains(&id) => return Err(Declined::AlreadyElector),
            Change::Add(id) => {
                let is_ready = leading.others.get(&id).is_some_and(|progress| {
                    progress.memory == Memory::Whole && progress.accepted >= self.journal.wanted.newness()
                });
                if !is_ready {
                    return Err(Declined::NotReady);
                }
                slot.electors.with(id)
            }
            Change::Remove(id) if !slot.electors.contains(&id) => return Err(Declined::NoElector),
            Change::Remove(id) => slot.electors.without(&id),
        };
        let electors = electors.map_err(|_| Declined::Count)?;
        if !self.is_answered_by(&electors, now) {
            return Err(Declined::NoMajorityAfter);
        }
        Ok(Slot { electors, ..slot })
    }

    /// Whether a majority of these has answered lately. Who is no elector yet is asked less often, and has longer for it.
    fn is_answered_by(&self, electors: &Electors, now: Now) -> bool {
        let Role::Leading(leading) = &self.role else { return false };
        let silence = self.settings.pace.min_timeout.get();
        let grace = (self.settings.pace.between_announcements() * 2).saturating_sub(silence);
        let answered = quorum::reached_by(electors, Need::Majority, |id| {
            if *id == self.settings.own {
                return Some(now.boot());
            }
            let progress = leading.others.get(id).filter(|progress| progress.memory == Memory::Whole)?;
            let votes = self.electors().is_some_and(|electors| electors.contains(id));
            Some(if votes { progress.answered } else { progress.answered.after(grace) })
        });
        answered.is_some_and(|answered| now.boot() <= answered.after(silence))
    }

    /// An operator says that this elector is gone for good. Nobody can check that: it is the one way out where no majority
    /// is left, and it is done to each peer that is left. The value and how new it is stay as they are, so that of two such
    /// peers the one with the newer value still leads.
    pub(super) fn forget(&mut self, gone: &PeerId, now: Now) {
        let leads = matches!(self.role, Role::Leading(_));
        let why =
            if leads || self.held_until > now.at { Some(Declined::MajorityStands) } else { self.without(gone).err() };
        match why {
            Some(why) => self.output(Output::Declined(why)),
            None => self.recovery.restart(),
        }
    }

    fn without(&mut self, gone: &PeerId) -> Result<(), Declined> {
        if *gone == self.settings.own {
            return Err(Declined::Count);
        }
        let ballot = &mut self.journal.wanted;
        let mut is_elector = false;
        for slot in [&mut ballot.accepted, &mut ballot.committed].into_iter().flatten() {
            if slot.electors.contains(gone) {
                slot.electors = slot.electors.without(gone).map_err(|_| Declined::Count)?;
                is_elector = true;
            }
        }
        if is_elector { Ok(()) } else { Err(Declined::NoElector) }
    }
}
