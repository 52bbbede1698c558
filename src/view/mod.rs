//! What routing knows at one moment: verdicts, states, weights, and who gets a request. Pure, but for one actor that
//! alone writes the [`View`].

mod actor;
mod build;
mod choose;
mod picture;
pub mod verdict;

pub use actor::{Arguments, Inbox, Turn, ViewActor, channel};
pub use build::{Changes, Event, first};
pub use choose::{Ask, Taken, Tried, Unavailable};
pub use picture::{Cache, Local, NodeState, NodeView, PoolView, Run, View, ViewCell};

#[cfg(test)]
mod tests;
