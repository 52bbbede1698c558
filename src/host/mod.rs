//! What the machine lends: clock, dice, files, names. The only place that may ask for them.

mod clock;
mod dice;

pub use clock::{now, wall_now};
pub use dice::Dice;
