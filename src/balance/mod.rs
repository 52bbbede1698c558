//! Picking: kernels, hashing, the health score, and the live counts they read. Knows nodes only as numbered candidates.

pub mod hash;
mod live;
mod queue;
mod score;

pub use live::{NodeCounts, NodeLive, Place, PoolLive, RetryPermit};
pub use queue::{Queue, QueueFull, Waiting};
pub use score::{Band, score};
