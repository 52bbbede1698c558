//! The decoder of this folder, for `crate::fuzzing`.

use super::ballot::{Ballot, samples};

pub(crate) fn ballot(bytes: &[u8]) {
    if let Ok(ballot) = Ballot::decode(bytes) {
        assert_eq!(Ballot::decode(&ballot.encode().expect("what was read fits")), Ok(ballot));
    }
}

pub(crate) fn ballots() -> Vec<Vec<u8>> {
    vec![samples::full().encode().expect("it fits")]
}
