//! The actor that asks nodes how they are: when, how often, what an answer means for the vote; and the names of nodes.
//!
//! [`machine`] decides for one node, [`schedule`] and [`names`] what is due, [`hints`] what others hear at once, [`watch`] for
//! all nodes together; none of them waits for anything. `ask` does one check over a node's addresses, `actor` performs what
//! the watch decides.

mod actor;
mod ask;
mod hints;
mod machine;
mod names;
mod schedule;
mod watch;

pub use actor::{Arguments, Health, Turn};
pub use ask::{Asker, Asking, World};
pub use hints::Hint;
pub use watch::Output;
