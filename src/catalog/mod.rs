//! The cluster's desired state: the rules of its document, what is managed over it, and how it is changed.
//!
//! [`Body`] is the document that the cluster agrees on, pure: a write makes the next one. [`CatalogActor`] applies what is
//! committed, and at the leader makes writes into what is committed next. [`CatalogHandle`] is what the rest of a peer asks.

mod actor;
mod applied;
mod body;
mod difference;
mod handle;
mod json;
mod managed;
mod reading;
mod resource;
pub mod rules;
mod versions;
mod write;

pub use actor::{Arguments, Asked, CatalogActor, Turn};
pub use applied::{Applied, Behind, Source};
pub use body::{Body, Meaning, Next, Record};
pub use difference::{Changed, Difference, KeyChanged, Operation, Overridden, difference};
pub use handle::{CatalogHandle, ElectorsRefused, Parts};
pub use json::{Etag, EtagError, JsonError, Object, canonical, parse};
pub use managed::{
    Attempt, DrillEnd, Drilling, Intent, Managed, ManagedDrill, ManagedNode, ManagedServer, ManagedShift, Moved,
    Progress, ServerThen, Shifting, Started,
};
pub use reading::{at_start, of_file};
pub use resource::{Kind, Mode, Name, ResourceError, all, find};
pub use versions::Versions;
pub use write::{Author, Change, Keyed, Outcome, Write, WriteRefused, Written, Wrong};
