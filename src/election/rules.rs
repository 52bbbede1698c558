//! The rules whose absence the model checker must notice. In the product each is kept, and nothing can switch one off.

/// A rule without which something that must never happen does happen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Rule {
    /// A vote is on disk before it is told.
    VoteIsDurable,
    /// A peer that lost its ballot votes for nobody.
    LostBallotIsSilent,
    /// It remembers again only by what all others say.
    RecoveryHearsAll,
    /// What is accepted is not committed.
    AcceptedMayBeLost,
    /// Nobody votes right after a start.
    SilenceAfterStart,
    /// Nobody begins a cluster while a committed value is known.
    NoSecondFounding,
}

/// Which rules are kept.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Rules {
    #[cfg(test)]
    broken: Option<Rule>,
}

impl Rules {
    /// Whether this rule is kept.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "in a test there is something to ask")]
    pub(super) const fn keep(self, _rule: Rule) -> bool {
        true
    }

    /// Whether this rule is kept.
    #[cfg(test)]
    pub(super) fn keep(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// All but one.
    #[cfg(test)]
    pub(super) fn without(rule: Rule) -> Self {
        Self { broken: Some(rule) }
    }
}
