//! The decoders of this folder, for `crate::fuzzing`.

use super::election::{ElectionMessage, samples};
use super::{Advertised, Hello, HelloAnswer, Hint, Query, QueryAnswer, Refusal, Software, query};
use crate::model::ClusterId;

pub(crate) fn hello(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(Hello::decode(&hello.encode().expect("what was read fits")), Ok(hello));
    }
}

pub(crate) fn hellos() -> Vec<Vec<u8>> {
    vec![sample().encode().expect("it fits")]
}

pub(crate) fn hello_answer(bytes: &[u8]) {
    if let Ok(answer) = HelloAnswer::decode(bytes) {
        assert_eq!(HelloAnswer::decode(&answer.encode().expect("what was read fits")), Ok(answer));
    }
}

pub(crate) fn hello_answers() -> Vec<Vec<u8>> {
    let refused = HelloAnswer::Refused { reason: Refusal::IdTaken, by: sample().id };
    [HelloAnswer::Welcome(sample()), refused].map(|answer| answer.encode().expect("it fits")).into()
}

pub(crate) fn hint(bytes: &[u8]) {
    if let Ok(hint) = Hint::decode(bytes) {
        assert_eq!(Hint::decode(&hint.encode().expect("what was read fits")), Ok(hint));
    }
}

pub(crate) fn hints() -> Vec<Vec<u8>> {
    let nodes = ["web-1", "a.b_c", "9"].map(|id| id.parse().expect("a legal id"));
    vec![Hint::new(nodes.into()).expect("three nodes").encode().expect("it fits")]
}

pub(crate) fn election(bytes: &[u8]) {
    if let Ok(message) = ElectionMessage::decode(bytes) {
        assert_eq!(ElectionMessage::decode(&message.encode().expect("what was read fits")), Ok(message));
    }
}

pub(crate) fn elections() -> Vec<Vec<u8>> {
    samples::all().iter().map(|message| message.encode().expect("it fits")).collect()
}

pub(crate) fn query(bytes: &[u8]) {
    if let Ok(query) = Query::decode(bytes) {
        assert_eq!(Query::decode(&query.encode().expect("what was read fits")), Ok(query));
    }
}

pub(crate) fn queries() -> Vec<Vec<u8>> {
    query::samples::queries().iter().map(|query| query.encode().expect("it fits")).collect()
}

pub(crate) fn query_answer(bytes: &[u8]) {
    if let Ok(answer) = QueryAnswer::decode(bytes) {
        assert_eq!(QueryAnswer::decode(&answer.encode().expect("what was read fits")), Ok(answer));
    }
}

pub(crate) fn query_answers() -> Vec<Vec<u8>> {
    query::samples::answers().iter().map(|answer| answer.encode().expect("it fits")).collect()
}

fn sample() -> Hello {
    Hello {
        cluster: "prod".parse().expect("a legal name"),
        id: "ams-1".parse().expect("a legal id"),
        region: "eu-west".parse().expect("a legal name"),
        incarnation: 1_795_277_804_495,
        advertised: Advertised::new(([10, 0, 0, 1], 7_940).into()).expect("it can be dialed"),
        cluster_id: Some(ClusterId([7; 16])),
        software: Software::own(),
    }
}
