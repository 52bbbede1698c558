//! The HTTP API for operators. It reaches the rest through the handles of `peer`.

mod settings;

pub use settings::{NotLoopback, Settings};
