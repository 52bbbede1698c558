//! Who leads, told once, and again whenever it changes.

use crate::model::{PeerId, Term};

/// So many looks in a row have to find no leader before that is told: an election takes fewer.
const LOOKS_WITHOUT: u32 = 20;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Leader {
    told: Option<(Term, PeerId)>,
    looks_without: u32,
}

impl Leader {
    /// What is to be told, if anything, now that this peer leads as far as any peer knows.
    pub(super) fn look_at(&mut self, now: Option<(Term, PeerId)>) -> Option<String> {
        let Some((term, id)) = now else {
            self.looks_without = self.looks_without.saturating_add(1);
            let line = "nobody leads: the catalog cannot be changed, and traffic goes on".to_owned();
            return (self.looks_without == LOOKS_WITHOUT).then_some(line);
        };
        let was_without = std::mem::take(&mut self.looks_without) >= LOOKS_WITHOUT;
        // A peer that has not heard of the newest leader yet may know the last one.
        if !was_without && self.told.as_ref().is_some_and(|(told, _)| *told >= term) {
            return None;
        }
        let line = match &self.told {
            Some((_, before)) if *before != id => format!("{id}  leads in term {term}; {before} led before"),
            _ => format!("{id}  leads in term {term}"),
        };
        self.told = Some((term, id));
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(term: u64, id: &str) -> Option<(Term, PeerId)> {
        Some((Term::new(term)?, id.parse().unwrap()))
    }

    #[test]
    fn a_leader_is_told_once_and_the_next_one_with_whom_it_follows() {
        let mut leader = Leader::default();
        assert_eq!(leader.look_at(None), None);
        assert_eq!(leader.look_at(of(1, "a")).as_deref(), Some("a  leads in term 1"));
        assert_eq!(leader.look_at(of(1, "a")), None);
        assert_eq!(leader.look_at(None), None, "an election");
        assert_eq!(leader.look_at(of(2, "b")).as_deref(), Some("b  leads in term 2; a led before"));
        assert_eq!(leader.look_at(of(1, "a")), None, "a peer that is late");
        assert_eq!(leader.look_at(of(3, "b")).as_deref(), Some("b  leads in term 3"));
    }

    #[test]
    fn that_nobody_leads_for_long_is_told_once() {
        let mut leader = Leader::default();
        leader.look_at(of(1, "a"));
        let told: Vec<String> = (0..10 * LOOKS_WITHOUT).filter_map(|_| leader.look_at(None)).collect();
        assert_eq!(told, ["nobody leads: the catalog cannot be changed, and traffic goes on"]);
        assert_eq!(leader.look_at(of(1, "a")).as_deref(), Some("a  leads in term 1"));
    }
}
