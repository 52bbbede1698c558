//! What the machine lends: clock, dice, files, names. The only place that may ask for them.

mod clock;
mod dice;
mod names;

pub use clock::{now, wall_now};
pub use dice::Dice;
pub use names::{NameError, Names, Resolved};
