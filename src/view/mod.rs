//! What routing knows at one moment: verdicts, states, weights, and who gets a request. Pure, but for one actor that
//! alone writes the [`View`].

mod choose;
mod view;

pub use choose::{Ask, Taken, Tried, Unavailable};
pub use view::{Cache, NodeState, NodeView, PoolView, Run, View, ViewCell};
