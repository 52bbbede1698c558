//! Bytes of messages between peers.
//!
//! A message is a *kind* and a body; the body is bincode, called in `codec.rs` and nowhere else, so that the format could
//! be changed in one file. A type of a message is frozen once it is released: bincode has no field names, so a field more is
//! another kind. New kinds, and new variants at the end of an enum, are what a later version adds.
//!
//! Decoding is where hostile bytes end: what comes out has passed the checks of its types (names, bounds, addresses), what
//! cannot be read is a [`WireError`], and nothing panics or allocates more than the bytes that came.

mod codec;
mod election;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hello;
mod hint;
mod query;

pub use codec::WireError;
/// For records on disk, which are written by the same rules as messages.
pub(crate) use codec::{decode as read_record, encode as write_record};
pub use election::{ElectionMessage, Memory, Round, Status, Verdict, Word};
pub use frame::Kind;
pub use hello::{Advertised, Hello, HelloAnswer, Refusal, Software};
pub use hint::Hint;
pub use query::{ElectorsChange, Query, QueryAnswer};
