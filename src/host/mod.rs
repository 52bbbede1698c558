//! What the machine lends: clock, dice, files, names. The only place that may ask for them.

mod clock;
mod descriptors;
mod dice;
mod incarnation;
mod names;

pub use clock::{now, wall_now};
pub use descriptors::raise_descriptor_limit;
pub use dice::Dice;
pub use incarnation::Incarnations;
pub use names::{NameError, Names, Resolved};
