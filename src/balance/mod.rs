//! Picking: kernels, hashing, the health score, and the live counts they read. Knows nodes only as numbered candidates.

mod draw;
pub mod hash;
mod least;
mod live;
mod maglev;
mod picker;
mod queue;
mod rotate;
pub mod score;
pub mod weight;

pub(crate) use maglev::Maglev;

pub use live::{NodeCounts, NodeLive, OwnLines, PoolLive, RetryPermit};
pub use picker::{Candidate, NoPlace, Picker};
pub use queue::{Queue, QueueFull, Waiting};
