//! What routing knows at one moment: verdicts, states, weights, and who gets a request. Pure, but for one actor that
//! alone writes the [`View`].

mod actor;
mod away;
mod build;
mod carry;
mod changes;
mod choose;
mod chooser;
mod explain;
mod heard;
mod homes;
mod load;
pub mod observers;
mod picture;
mod regions;
mod sessions;
mod spill;
mod tiers;
pub mod verdict;
mod within_capacity;

pub use actor::{Arguments, Cache, Inbox, Turn, ViewActor, ViewCell, channel};
pub use build::{Event, first};
pub use changes::Changes;
pub use choose::{Ask, Stick, Taken, Tried, Unavailable, Wanted, WantedNode};
pub use explain::{Against, Chance, Rank};
pub use picture::{Local, NodeState, NodeView, Opinion, PoolView, View};
pub use regions::Regions;

#[cfg(test)]
mod tests;
