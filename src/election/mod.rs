//! Who leads, and which value all have agreed on: one pure machine.
//!
//! It is Raft with a log of one entry. The entry is the cluster's value (the catalog), of which the machine knows a
//! [`Slot`](crate::model::Slot): the term that stamped it, its revision, its hash, and who votes. Every peer has two of
//! them: *accepted*, which may be lost, and *committed*, which a majority has accepted and which never is.
//!
//! What always holds, and what the model checker and the simulation look for:
//!
//! 1. A term has at most one leader. A vote is on disk before it is told, and told once a term.
//! 2. On a disk the term never goes back, nor does a vote change within its term.
//! 3. What was committed stays: every later leader has accepted it or what followed it. A vote goes only to a candidate
//!    whose accepted value is at least as new; a new leader proposes what it has again before anything else; two lists of
//!    electors that can be in force at once differ by one peer.
//! 4. Committed revisions grow by one, and one revision is one value.
//! 5. Of all peers at most one may act at any moment ([`Election::authority`]).
//! 6. A peer that forgot its promises (a lost disk) makes none until it has heard everybody to whom it can have made some.
//! 7. Until a cluster has committed its first value, every elector has to agree to everything. So a peer that has accepted
//!    nothing proves that nothing was committed, and those that lost their disks in between may begin again with it.
//!
//! Time is handed in, chance is handed in, and nothing is done here: [`Event`] comes in, [`Output`] goes out. An actor
//! (not part of this folder's deciding files) feeds it.

mod actor;
mod ballot;
mod campaign;
mod electorate;
mod event;
mod following;
mod founders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod journal;
mod leading;
mod lease;
mod machine;
#[cfg(test)]
mod model_check;
mod outcomes;
mod quorum;
mod recovery;
mod rules;
mod settings;
#[cfg(test)]
mod simulation;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod time;
#[cfg(test)]
mod transcripts;
mod voting;
#[cfg(test)]
mod world;
mod writes;

pub use actor::{Arguments, ElectionActor, Reach, Refused, Request, Turn};
pub use ballot::{BALLOT_FILE_BYTES_MAX, Ballot, BallotError, Vote};
pub use event::{Change, Declined, Event, Leadership, Output};
pub use founders::{Founders, FoundersError, Known};
pub use lease::Authority;
pub use machine::Election;
pub use outcomes::{Fingerprint, IdempotencyId, IdempotencyIdError, Outcomes, Remembered, Value, ValueError, WriteKey};
pub use settings::{Pace, Settings};
pub use standing::{Committed, Standing};
pub use store::{Found, Life, Pin, Store};
pub use time::{BootTime, Now};
pub use writes::{Offered, Writes};
