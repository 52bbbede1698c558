//! What the machine lends: clock, dice, files, names. The only place that may ask for them.

mod asleep;
mod clock;
mod descriptors;
mod dice;
mod durable;
mod folder;
mod incarnation;
mod names;

pub use asleep::asleep;
pub use clock::{now, wall_now, wall_now_ms, wall_timestamp};
pub use descriptors::raise_descriptor_limit;
pub use dice::Dice;
pub use durable::{DurableError, DurableFile};
pub use folder::{DataFolder, FolderError};
pub use incarnation::Incarnations;
pub use names::{NameError, Names, Resolved};
