//! What one peer asks another, and what it is answered.

use serde::{Deserialize, Serialize};

use super::codec::{WireError, decode, encode};
use super::frame::Kind;
use crate::model::limits::QUERY_BYTES_MAX;
use crate::model::{DrainSeen, NodeId, PeerId, ValueHash};

/// The link bounds the whole message, its kind included.
const BODY_BYTES_MAX: usize = QUERY_BYTES_MAX - 2;

/// A question to a peer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Query {
    /// The bytes of the value of this hash.
    Value(ValueHash),
    /// What users wanted in an earlier revision, by its ETag.
    Desired([u8; 16]),
    /// A write to the catalog, as JSON: for the leader, which passes it on to nobody.
    Write(Vec<u8>),
    /// One elector more or less: for the leader, which passes it on to nobody.
    Electors(ElectorsChange),
    /// How far the drain of this node is at the peer.
    Drain(NodeId),
    /// What a leader orders of an executor, as JSON.
    Order(Vec<u8>),
    /// What an operator asks of the leader, as JSON: it passes it on to nobody.
    Operate(Vec<u8>),
    /// What the peer can carry out, and what its traffic met.
    Report,
    /// The last events of the peer.
    Events,
}

/// One elector more or less.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ElectorsChange {
    /// This peer shall vote.
    Add(PeerId),
    /// This one shall not vote any more.
    Remove(PeerId),
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum QueryAnswer {
    /// The bytes that were asked for; `None`: they are not here.
    Bytes(Option<Vec<u8>>),
    /// How far a drain is; `None`: the peer knows of none.
    Drain(Option<DrainSeen>),
    /// What became of the write or the change, as JSON.
    Outcome(Vec<u8>),
}

impl Query {
    /// The message.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Kind::Query.frame(&encode::<BODY_BYTES_MAX>(self)?))
    }

    /// What a message asks.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        decode::<Self, BODY_BYTES_MAX>(Kind::Query.body(message)?)
    }
}

impl QueryAnswer {
    /// The message.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Kind::QueryAnswer.frame(&encode::<BODY_BYTES_MAX>(self)?))
    }

    /// What a message answers.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        decode::<Self, BODY_BYTES_MAX>(Kind::QueryAnswer.body(message)?)
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod samples {
    use super::*;
    use crate::model::{DrainLeft, Revision};

    pub(crate) fn queries() -> Vec<Query> {
        let hash = ValueHash::of(b"value");
        let peer: PeerId = "ams-1".parse().expect("a legal sample");
        vec![
            Query::Value(hash),
            Query::Desired([7; 16]),
            Query::Write(b"{}".to_vec()),
            Query::Electors(ElectorsChange::Add(peer.clone())),
            Query::Electors(ElectorsChange::Remove(peer)),
            Query::Drain("web-1".parse().expect("a legal sample")),
            Query::Order(b"{}".to_vec()),
            Query::Operate(b"{}".to_vec()),
            Query::Report,
            Query::Events,
        ]
    }

    pub(crate) fn answers() -> Vec<QueryAnswer> {
        vec![
            QueryAnswer::Bytes(Some(b"value".to_vec())),
            QueryAnswer::Bytes(None),
            QueryAnswer::Drain(Some(DrainSeen {
                begun: Revision::new(9).expect("a legal sample"),
                passed_ms: 1_500,
                left: DrainLeft { in_flight: 7, cut: 1 },
            })),
            QueryAnswer::Outcome(b"{}".to_vec()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::limits::VALUE_BYTES_MAX;

    #[test]
    fn every_question_and_answer_arrives_as_it_was_sent() {
        for query in samples::queries() {
            let bytes = query.encode().unwrap();
            assert_eq!(Query::decode(&bytes), Ok(query.clone()));
            for cut in 0..bytes.len() {
                assert!(Query::decode(&bytes[..cut]).is_err(), "{query:?} cut to {cut}");
            }
        }
        for answer in samples::answers() {
            assert_eq!(QueryAnswer::decode(&answer.encode().unwrap()), Ok(answer));
        }
    }

    #[test]
    fn the_longest_value_fits_and_a_longer_one_is_refused() {
        let longest = QueryAnswer::Bytes(Some(vec![7; VALUE_BYTES_MAX]));
        assert_eq!(QueryAnswer::decode(&longest.encode().unwrap()), Ok(longest));
        let longer = QueryAnswer::Bytes(Some(vec![7; QUERY_BYTES_MAX]));
        assert!(matches!(longer.encode(), Err(WireError::TooLong { .. })));
    }

    /// Frozen: a later version that writes these otherwise could not talk to this one.
    #[test]
    fn the_bytes_of_a_question_stay_the_same_over_versions() {
        assert_eq!(Query::Write(b"{}".to_vec()).encode().unwrap(), [0, 5, 2, 2, b'{', b'}']);
        let add = Query::Electors(ElectorsChange::Add("a".parse().unwrap()));
        assert_eq!(add.encode().unwrap(), [0, 5, 3, 0, 1, b'a']);
        assert_eq!(QueryAnswer::Bytes(None).encode().unwrap(), [0, 6, 0, 0]);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_question(bytes: Vec<u8>) {
            if let Ok(query) = Query::decode(&Kind::Query.frame(&bytes)) {
                prop_assert_eq!(Query::decode(&query.encode().unwrap()), Ok(query));
            }
            let _ = QueryAnswer::decode(&Kind::QueryAnswer.frame(&bytes));
        }
    }
}
