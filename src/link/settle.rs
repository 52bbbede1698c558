//! Which of two connections between the same two ids stays. Both peers must come to the same end, without asking.

use crate::model::PeerId;
use crate::wire::Refusal;

/// Who dialed a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    /// This peer.
    Dialed,
    /// The other one.
    Accepted,
}

/// What matters of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    pub(super) side: Side,
    pub(super) incarnation: u64,
}

/// What becomes of a connection that meets another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Settled {
    /// The new one takes the old one's place.
    Replace,
    /// The old one is asked whether it lives. If it does, the new one is refused for this reason, else it takes the place.
    IfOldIsDead(Refusal),
}

/// Settles between `old`, which stands, and `new`, both to the peer `other`.
///
/// - Two runs of a peer: the one that lives has the id. It is not the greater incarnation: a process that was restarted on
///   a machine without its data is the live one all the same.
/// - One run, dialed from the same end again: whoever dials has lost the old one.
/// - One run, dialed from both ends: the one that the lower id dialed stays.
pub(super) fn settle(own: &PeerId, other: &PeerId, old: Standing, new: Standing) -> Settled {
    let kept = if own < other { Side::Dialed } else { Side::Accepted };
    if old.incarnation != new.incarnation {
        Settled::IfOldIsDead(Refusal::IdTaken)
    } else if new.side == old.side || new.side == kept {
        Settled::Replace
    } else {
        Settled::IfOldIsDead(Refusal::Duplicate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_two_connections() {
        use Side::{Accepted, Dialed};
        let duplicate = Settled::IfOldIsDead(Refusal::Duplicate);
        let taken = Settled::IfOldIsDead(Refusal::IdTaken);
        let [ams, waw] = ["ams", "waw"].map(|id| id.parse::<PeerId>().unwrap());
        for (own, other, old, new, settled) in [
            (&ams, &waw, (Accepted, 1), (Dialed, 1), Settled::Replace),
            (&ams, &waw, (Dialed, 1), (Accepted, 1), duplicate),
            (&waw, &ams, (Accepted, 1), (Dialed, 1), duplicate),
            (&waw, &ams, (Dialed, 1), (Accepted, 1), Settled::Replace),
            (&ams, &waw, (Accepted, 1), (Accepted, 1), Settled::Replace),
            (&waw, &ams, (Dialed, 1), (Dialed, 1), Settled::Replace),
            (&ams, &waw, (Accepted, 1), (Accepted, 2), taken),
            (&ams, &waw, (Accepted, 2), (Accepted, 1), taken),
            (&waw, &ams, (Dialed, 1), (Accepted, 2), taken),
        ] {
            let standing = |(side, incarnation)| Standing { side, incarnation };
            assert_eq!(settle(own, other, standing(old), standing(new)), settled, "{own} {other} {old:?} {new:?}");
        }
    }

    /// Whatever the order in which the two ends see two dials of one run, they keep the same one.
    #[test]
    fn both_ends_keep_the_same_of_two_dials() {
        let [ams, waw] = ["ams", "waw"].map(|id| id.parse::<PeerId>().unwrap());
        let standing = |side| Standing { side, incarnation: 1 };
        let (by_ams, by_waw) = ((Side::Dialed, Side::Accepted), (Side::Accepted, Side::Dialed));
        for (old, new, new_stays) in [(by_ams, by_waw, false), (by_waw, by_ams, true)] {
            let at_ams = settle(&ams, &waw, standing(old.0), standing(new.0));
            let at_waw = settle(&waw, &ams, standing(old.1), standing(new.1));
            assert_eq!(at_ams == Settled::Replace, new_stays);
            assert_eq!(at_waw == Settled::Replace, new_stays);
        }
    }
}
