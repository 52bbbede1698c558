//! Compiled routes: which of them a request fits, found without looking at all of them. Pure: the time and the dice are
//! handed in.
//!
//! [`Table::find`] is what the data plane and `explain` both call. What a request is like is asked of [`Facts`], one at a time and
//! only where a route wants to know.

mod checks;
mod facts;
mod glob;
pub mod path;
pub mod query;
mod ranges;
mod render;
mod table;
mod trie;

pub use facts::{Facts, Head};
pub use ranges::ClientRanges;
pub use render::render;
pub use table::{Decision, Entry, Found, Limited, Table};
