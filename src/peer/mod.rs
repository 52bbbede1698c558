//! What a peer is made of: supervision, start, stop, handles, wiring. No decisions.

mod agree;
mod announce;
mod bare;
mod cluster;
mod cookies;
mod drains;
mod events;
mod failover;
mod founding;
mod handles;
mod listeners;
mod open;
mod profiles;
mod settings;
mod start;
pub mod supervise;

pub use agree::Agreed;
pub use bare::{BarePeer, BareSettings, Surroundings};
pub use cluster::{ClusterHandles, ClusterSettings};
pub use handles::{BoundListener, BoundListeners, Handles, NotReady, Readiness};
pub use settings::Settings;
pub use start::{Peer, StartError};
