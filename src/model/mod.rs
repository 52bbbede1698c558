//! Plain values, checked when they are parsed. Nothing here does IO, knows a clock or rolls dice.

mod address;
mod catalog;
mod check;
mod electors;
mod evidence;
mod id;
pub mod limits;
mod member;
mod min_timeout;
mod node_key;
mod observation;
mod peer_state;
mod pool;
mod preset;
mod slot;
mod strategy;
mod term;

pub use address::{AddressError, Host, NodeAddress};
pub use catalog::{Catalog, CatalogError};
pub use check::{Check, CheckKind, CheckTarget, HttpCheck, StatusRange, TcpCheck};
pub use electors::{Electors, ElectorsError, ElectorsHash, ElectorsWarning};
pub use evidence::Evidence;
pub use id::{ClusterName, IdError, ListenerName, NodeId, PeerId, PoolName, RegionName};
pub use member::{Member, Members};
pub use min_timeout::MinTimeout;
pub use node_key::NodeKey;
pub use observation::{Health, Heard, Observation, Verdict};
pub use peer_state::PeerState;
pub use pool::{Admin, HostSent, Node, Observe, Panic, Pool, Weight};
pub use preset::{Preset, PresetError};
pub use slot::{ClusterId, Newness, Revision, Slot, ValueHash, ValueHashError};
pub use strategy::{HashKey, Strategy, StrategyError};
pub use term::Term;
