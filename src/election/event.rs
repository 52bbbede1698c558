//! What happens to an elector, and what it wants done.

use crate::election::ballot::Ballot;
use crate::model::{ClusterId, Electors, PeerId, Revision, Slot, Term, ValueHash};
use crate::wire::ElectionMessage;

/// What happens.
#[expect(clippy::large_enum_variant, reason = "one at a time, handled and gone")]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Event {
    /// A peer said something. Who it is was checked by the link.
    Received {
        /// Who.
        from: PeerId,
        /// What.
        message: ElectionMessage,
    },
    /// A link to this peer stands.
    Linked(PeerId),
    /// It stands no more.
    Unlinked(PeerId),
    /// The moment of [`super::Election::next_deadline`] has come. Too early does no harm, too late costs time alone.
    DeadlineReached,
    /// The ballot of this number, and with it each before, is on disk.
    Persisted(u64),
    /// The ballot of this number could not be written.
    PersistFailed(u64),
    /// The bytes of this value are here, and on disk.
    Fetched(ValueHash),
    /// They could not be had from the peer that was named.
    FetchFailed(ValueHash),
    /// They were had, and could not be written here.
    FetchUnwritten(ValueHash),
    /// The first electors of a new cluster, as the settings name them; `None` while they cannot be told yet.
    FirstElectors(Option<Electors>),
    /// A new value, to follow the committed one of revision `on`. Its bytes are on disk.
    Propose {
        /// The revision that it was made from.
        on: Revision,
        /// Its hash.
        value: ValueHash,
    },
    /// One elector more or less.
    Change(Change),
    /// An operator says that this elector is gone for good, with its disk, and that no majority is left to remove it.
    Forget(PeerId),
    /// Another one shall lead: a value could not be written here, or this peer would begin a cluster with nothing.
    GiveWay,
    /// The peer is about to stop: it resigns, and campaigns no more.
    Stop,
}

/// One elector more or less.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// This peer shall vote.
    Add(PeerId),
    /// This one shall not vote any more.
    Remove(PeerId),
}

/// What is to be done, in this order.
///
/// Nothing is said before it is on disk what it rests on: the machine keeps such a [`Output::Send`] to itself until
/// [`Event::Persisted`] has told that the ballot is there. So the shell may go on sending while it writes, and heartbeats
/// do not wait for a disk.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Output {
    /// Write this ballot, whole and atomically, then tell [`Event::Persisted`]. One is under way at a time. The bytes of
    /// every value that it names are on disk already.
    Persist {
        /// Grows by one with every ballot.
        number: u64,
        /// What is to be remembered.
        ballot: Ballot,
    },
    /// Say this. Where the peer is not linked it is not said.
    Send {
        /// To whom.
        to: PeerId,
        /// What.
        message: ElectionMessage,
    },
    /// Get the bytes of this value from this peer, check their hash, write them, and tell [`Event::Fetched`]; or tell
    /// [`Event::FetchFailed`] or [`Event::FetchUnwritten`] in the end. It takes the place of one that is under way.
    Fetch {
        /// Its hash.
        value: ValueHash,
        /// Who has it.
        from: PeerId,
    },
    /// This value is committed: apply it, and announce it. Its revision is greater than that of each before.
    Committed(Slot),
    /// Another peer leads than before, or none does.
    Led(Leadership),
    /// What was asked for is not done, and why. It has left no trace.
    Declined(Declined),
    /// This peer is of another cluster of the same name. Said once for each.
    Stranger {
        /// The peer.
        peer: PeerId,
        /// Its cluster.
        cluster: ClusterId,
    },
}

/// Who leads, as far as this peer knows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Leadership {
    /// Nobody.
    Nobody,
    /// Another peer.
    Other {
        /// Which.
        leader: PeerId,
        /// Its term.
        term: Term,
    },
    /// This one. It may act while [`super::Election::authority`] says so.
    Own {
        /// Its term.
        term: Term,
        /// No value was ever accepted: the first one is to be proposed.
        first: bool,
    },
}

/// Why a proposal, a change or an oblivion is not done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Declined {
    /// This peer does not lead, or has not committed anything in its term yet.
    #[error("this peer does not lead")]
    NotLeading,
    /// The value before it is undecided.
    #[error("another change is undecided; ask again when it is decided")]
    Undecided,
    /// It was made from another revision than the committed one.
    #[error("the value has changed in between")]
    Outdated,
    /// It is an elector already.
    #[error("that peer is an elector already")]
    AlreadyElector,
    /// It is none.
    #[error("that peer is no elector")]
    NoElector,
    /// The peer does not answer, or does not know yet how it stands.
    #[error(
        "that peer does not answer, or has not heard all electors yet; remove electors that are gone, then ask again"
    )]
    NotReady,
    /// The change would leave no majority that answers.
    #[error("the electors that answer would be no majority of the new ones; first remove those that are gone")]
    NoMajorityAfter,
    /// There would be too many, or none.
    #[error("there would be too many electors, or none")]
    Count,
    /// A leader stands, so a majority can remove the elector.
    #[error("a leader stands: remove the elector instead of forgetting it")]
    MajorityStands,
}
