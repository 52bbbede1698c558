//! The file, the environment and the flags as written, made into the settings of each module and a catalog; all faults at once.

mod load;
mod settings;

pub use load::{Environment, Faults, Flags, Loaded, Sources, load};
pub use settings::Settings;
