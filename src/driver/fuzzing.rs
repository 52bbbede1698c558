//! The decoders of this folder, for `crate::fuzzing`.

use super::effect::{Action, Done, Failed};
use super::fence::Fence;
use super::order::{Answer, Order};
use crate::model::{IntentId, NodeId, Term};

fn node() -> NodeId {
    "web-1".parse().expect("a legal sample")
}

fn full() -> Fence {
    let mut fence = Fence::new(node(), Term::new(7).expect("a legal sample"));
    let intent = IntentId::of_revision(42);
    for (action, outcome) in [
        (Action::Switch, Ok(Done { address: Some("10.0.0.2:51820".to_owned()), note: "moved".to_owned() })),
        (Action::Undo, Err(Failed::new("the hypervisor said no"))),
    ] {
        fence.begin(intent, action);
        fence.end(intent, action, &outcome);
    }
    fence
}

pub(crate) fn fence(bytes: &[u8]) {
    // As they are, and behind a head that vouches for them.
    for file in [bytes.to_vec(), Fence::seal(bytes).unwrap_or_default()] {
        if let Ok(fence) = Fence::decode(&node(), &file) {
            assert_eq!(Fence::decode(&node(), &fence.encode().expect("what was read fits")), Ok(fence));
        }
    }
}

pub(crate) fn fences() -> Vec<Vec<u8>> {
    let file = full().encode().expect("it fits");
    let body = file.iter().position(|&byte| byte == b'{').map(|at| file[at..].to_vec());
    std::iter::once(file).chain(body).collect()
}

pub(crate) fn order(bytes: &[u8]) {
    if let Ok(order) = serde_json::from_slice::<Order>(bytes) {
        let written = serde_json::to_vec(&order).expect("what was read is written");
        assert_eq!(serde_json::from_slice::<Order>(&written).expect("and read again"), order);
    }
    // Numbers with a fraction need not be the same again.
    let _ = serde_json::from_slice::<Answer>(bytes);
}

pub(crate) fn orders() -> Vec<Vec<u8>> {
    [
        r#""describe""#,
        r#"{"fence":{"node":"web-1","term":7,"challenge":9}}"#,
        r#"{"act":{"driver":"vpn","effect":{"action":"switch","intent":"i42","term":7,
            "node":{"id":"web-1","pool":"web","region":"eu","address":"10.0.1.10:8000"},
            "from":{"id":"a","address":"10.0.0.1"},"to":{"id":"b","address":"10.0.0.2:51820","labels":{"rack":"7"}}}}}"#,
        r#"{"described":{"drivers":[{"name":"vpn","nodes":[{"node":"web-1","cpu_percent":12.5,"memory_mb":80.0}]}]}}"#,
        r#"{"stale":{"term":8,"intent":"i43"}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
