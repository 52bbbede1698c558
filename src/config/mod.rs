//! The file, the environment and the flags as written, made into the settings of each module and a catalog; all faults at once.

mod settings;

pub use settings::Settings;
