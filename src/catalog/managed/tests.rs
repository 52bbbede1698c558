use serde_json::json;

use super::*;

/// What an earlier version wrote has none of the new parts, and what has none of them is written as an earlier version would.
#[test]
fn what_earlier_versions_wrote_is_read_and_nothing_new_is_written_where_nothing_new_is() {
    let text = json!({ "nodes": { "web-1": { "admin": "draining", "drain_revision": 2, "at_ms": 1, "by": "me" } } });
    let managed: Managed = serde_json::from_value(text.clone()).unwrap();
    assert!(managed.nodes[&"web-1".parse::<NodeId>().unwrap()].is_draining());
    assert_eq!(serde_json::to_value(&managed).unwrap(), text);
}

/// A plan of a later version may be at a step, or do something, that this version does not know.
#[test]
fn a_plan_of_a_later_version_is_left_alone() {
    let text = json!({ "nodes": {}, "intents": { "i7": {
        "plan": "clone", "node": "web-1", "pool": "web", "region": "us", "step": "think", "trigger": "moon", "more": 1,
    } } });
    let managed: Managed = serde_json::from_value(text).unwrap();
    let intent = managed.intents.values().next().unwrap();
    assert_eq!((intent.plan, intent.step), (Plan::Unknown, Step::Unknown));
    assert_eq!(intent.other["more"], 1);
}
