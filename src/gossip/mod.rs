//! What this peer knows, told to all others, and what they know, told here: chitchat (Scuttlebutt reconciliation, phi
//! accrual failure detection) over the link.
//!
//! A peer writes its own keys only. What it says of nodes stands on pages ([`page`]), its load in one short value ([`load`]);
//! [`reader`] turns what others say into news, [`membership`] says who lives. [`guard`] decides what of a message chitchat may
//! see; it and `transport` alone know chitchat's messages, `actor` alone runs anything.

mod actor;
mod budget;
mod counts;
mod demand;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod load;
mod membership;
mod page;
mod publisher;
mod reader;
mod rounds;
mod seeds;
mod settings;
mod topic;
mod transport;

pub use actor::{Arguments, Gossip, Input, Memory, Output, PeerRow, Turn};
pub use counts::{Counted, Counts};
pub use reader::News;
pub use settings::{Pace, Seed, Settings};
