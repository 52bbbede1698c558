//! Chance. Deciding code is handed [`Dice`]; only the edge makes some, and a test makes them from a seed.

/// A source of random numbers that is fast and not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Dice that nobody can foretell.
    #[expect(clippy::disallowed_methods, reason = "the one place that takes a seed from the system")]
    pub fn new() -> Self {
        Self(fastrand::Rng::new())
    }

    /// Dice that always fall the same way.
    pub fn from_seed(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// A number of 0 up to, not with, 1.
    pub fn fraction(&mut self) -> f64 {
        self.0.f64()
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
