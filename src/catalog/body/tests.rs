use super::*;
use crate::catalog::managed::ManagedNode;
use crate::catalog::resource::Mode;
use crate::model::{Admin, Revision};

fn object(text: &str) -> Object {
    json::parse(text.as_bytes()).unwrap()
}

fn shop() -> Body {
    let desired = object(
        r#"{"pool":[{"name":"web","node":[{"id":"web-1","address":"10.0.0.1:80"},{"id":"web-2","address":"10.0.0.2:80"}]}]}"#,
    );
    Body::first(desired, &"ams".parse().unwrap(), 1_000)
}

fn write(change: Change) -> Write {
    Write {
        change,
        if_match: None,
        id: "id-1".parse().unwrap(),
        by: Author::new("alice"),
        via: "fra".parse().unwrap(),
        at_ms: 2_000,
    }
}

fn node(id: &str) -> Name {
    Name { kind: Kind::Node, id: id.to_owned() }
}

fn put(id: &str, content: &str) -> Write {
    write(Change::Put { name: node(id), pool: None, content: object(content), mode: Mode::Put })
}

fn changed(body: &Body, write: &Write) -> Body {
    let revision = body.history.last().unwrap().revision + 1;
    match body.after(write, revision).unwrap() {
        Next::Changed { body, bytes, .. } => {
            assert_eq!(Body::parse(&bytes).unwrap(), *body, "it is read as it is written");
            *body
        }
        Next::Same { .. } => panic!("nothing changed by {write:?}"),
    }
}

fn admin(body: &Body, id: &str) -> Admin {
    let meaning = body.meaning().unwrap();
    let found = meaning.catalog.nodes().find(|(_, node)| node.id.as_str() == id).map(|(_, node)| node.admin);
    found.unwrap()
}

#[test]
fn a_write_makes_the_next_revision_and_says_who_did_what_through_which_peer() {
    let next = changed(&shop(), &put("web-1", r#"{"address":"10.0.0.9:80"}"#));
    let record = next.history.last().unwrap();
    assert_eq!((record.revision, record.by.as_str(), record.via.as_str()), (2, "alice", "fra"));
    assert_eq!((record.what.as_str(), record.etag), ("put node \"web-1\"", next.etag()));
    assert_eq!(next.history.len(), 2);
}

#[test]
fn the_last_twenty_changes_are_remembered() {
    let mut body = shop();
    for weight in 1..=30 {
        body = changed(&body, &put("web-1", &format!(r#"{{"address":"10.0.0.1:80","weight":{weight}}}"#)));
    }
    assert_eq!(body.history.len(), HISTORY_MAX);
    assert_eq!((body.history[0].revision, body.history[19].revision), (12, 31));
}

#[test]
fn a_write_that_asks_for_what_is_there_changes_nothing() {
    let body = shop();
    let same = write(Change::Apply { desired: body.desired.clone() });
    assert!(matches!(body.after(&same, 2), Ok(Next::Same { .. })));
    assert!(matches!(body.after(&write(Change::Undrain { node: "web-1".parse().unwrap() }), 2), Ok(Next::Same { .. })));
    let drain = write(Change::Drain { node: "web-1".parse().unwrap(), timeout_ms: Some(5) });
    let drained = changed(&body, &drain);
    assert!(matches!(drained.after(&Write { at_ms: 9_999, ..drain }, 3), Ok(Next::Same { .. })), "nor does time");
}

#[test]
fn a_drain_is_over_what_users_wrote_and_apply_does_not_touch_it() {
    let drained = changed(&shop(), &write(Change::Drain { node: "web-1".parse().unwrap(), timeout_ms: Some(30_000) }));
    let timeout = Some(std::time::Duration::from_secs(30));
    let begun = Revision::new(2).unwrap();
    assert_eq!(admin(&drained, "web-1"), Admin::Draining { begun, timeout });
    assert_eq!(admin(&drained, "web-2"), Admin::Enabled);
    assert_eq!(drained.etag(), shop().etag(), "what users want is what it was");

    let mut desired = drained.desired.clone();
    resource::put(&mut desired, &node("web-1"), None, object(r#"{"address":"10.0.0.1:80","weight":9}"#), Mode::Put)
        .unwrap();
    let applied = changed(&drained, &write(Change::Apply { desired }));
    assert_eq!(admin(&applied, "web-1"), Admin::Draining { begun, timeout });
    let back = changed(&applied, &write(Change::Undrain { node: "web-1".parse().unwrap() }));
    assert_eq!(admin(&back, "web-1"), Admin::Enabled);
}

#[test]
fn a_drain_that_is_begun_anew_is_another_one_and_another_deadline_is_none() {
    let node = || "web-1".parse().unwrap();
    let drain = |body: &Body, ms| changed(body, &write(Change::Drain { node: node(), timeout_ms: Some(ms) }));
    let begun = |body: &Body| body.managed.nodes[&node()].drain_revision;
    let (first, longer) = (drain(&shop(), 5), drain(&drain(&shop(), 5), 9));
    assert_eq!((begun(&first), begun(&longer)), (Some(2), Some(2)));
    let back = changed(&longer, &write(Change::Undrain { node: node() }));
    assert_eq!(begun(&drain(&back, 9)), Some(5));
}

#[test]
fn what_a_later_version_says_of_a_node_outlives_a_drain_by_this_one() {
    let mut body = shop();
    let later = ManagedNode { other: object(r#"{"pinned":true}"#), ..ManagedNode::default() };
    body.managed.nodes.insert("web-1".parse().unwrap(), later.clone());
    let drained = changed(&body, &write(Change::Drain { node: "web-1".parse().unwrap(), timeout_ms: None }));
    assert_eq!(drained.managed.nodes[&"web-1".parse::<NodeId>().unwrap()].other, later.other);
    let back = changed(&drained, &write(Change::Undrain { node: "web-1".parse().unwrap() }));
    assert_eq!(back.managed, body.managed);
    // A word that this version does not know is no drain that it could end.
    let word = ManagedNode { admin: Some("parked".to_owned()), ..later };
    body.managed.nodes.insert("web-2".parse().unwrap(), word);
    let undrained = body.after(&write(Change::Undrain { node: "web-2".parse().unwrap() }), 2);
    assert!(matches!(undrained, Ok(Next::Same { .. })));
}

#[test]
fn a_node_that_is_gone_is_not_draining_when_it_comes_back() {
    let drained = changed(&shop(), &write(Change::Drain { node: "web-1".parse().unwrap(), timeout_ms: None }));
    let gone = changed(&drained, &write(Change::Delete { name: node("web-1") }));
    assert!(gone.managed.nodes.is_empty());
}

#[test]
fn a_write_is_refused_where_what_it_is_about_has_changed() {
    let body = shop();
    let (_, web_1) = resource::find(&body.desired, &node("web-1")).unwrap();
    let etag = Etag::of(web_1);
    let conditional = |if_match| Write { if_match: Some(if_match), ..put("web-1", r#"{"address":"10.0.0.9:80"}"#) };
    let next = changed(&body, &conditional(etag));
    let refused = next.after(&conditional(etag), 3).unwrap_err();
    assert!(matches!(refused, WriteRefused::Changed { etag: now } if now != etag.to_string()));
    // Another node's change is no conflict.
    let other = changed(&body, &put("web-2", r#"{"address":"10.0.0.8:80"}"#));
    changed(&other, &conditional(etag));
    let whole = Write { if_match: Some(body.etag()), ..write(Change::Apply { desired: Object::new() }) };
    assert!(matches!(other.after(&whole, 3), Err(WriteRefused::Changed { .. })));
    let gone = Write { if_match: Some(etag), ..write(Change::Delete { name: node("web-9") }) };
    assert_eq!(body.after(&gone, 2), Err(WriteRefused::Changed { etag: String::new() }));
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_nothing_is_changed() {
    let body = shop();
    let wrong = object(
        r#"{"pool":[{"name":"web","strategi":"p2c","node":[{"id":"web-1","address":"nowhere"},{"id":"web-2","address":"b:1","weight":5000}]}]}"#,
    );
    let WriteRefused::Invalid { faults } = body.after(&write(Change::Apply { desired: wrong }), 2).unwrap_err() else {
        panic!("it is invalid")
    };
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(keys.contains(&r#"pool "web" node "web-1" address"#), "{keys:?}");
    assert!(faults.iter().any(|fault| fault.hint.as_deref().is_some_and(|hint| hint.contains("strategy"))));
}

#[test]
fn what_a_later_version_wrote_is_kept_and_no_fault_and_what_is_new_and_unknown_is_one() {
    let mut body = shop();
    body.desired.insert("galaxy".into(), Value::from(7));
    body.other.insert("later".into(), Value::from("kept"));
    body.managed.other.insert("moons".into(), Value::from(1));
    assert!(body.meaning().is_ok());
    let next = changed(&body, &put("web-1", r#"{"address":"10.0.0.9:80"}"#));
    assert_eq!(
        (next.desired.get("galaxy"), next.other.get("later")),
        (Some(&Value::from(7)), Some(&Value::from("kept")))
    );
    assert_eq!(next.managed.other.get("moons"), Some(&Value::from(1)));
    let unknown = next.after(&put("web-1", r#"{"address":"10.0.0.9:80","colour":"red"}"#), 3).unwrap_err();
    assert!(matches!(unknown, WriteRefused::Invalid { faults } if faults.len() == 1));
}

#[test]
fn what_is_not_there_is_told() {
    let body = shop();
    for change in [
        Change::Drain { node: "web-9".parse().unwrap(), timeout_ms: None },
        Change::Undrain { node: "web-9".parse().unwrap() },
        Change::Delete { name: node("web-9") },
    ] {
        let refused = body.after(&write(change), 2).unwrap_err();
        assert!(matches!(&refused, WriteRefused::NotFound { message } if message.contains("web-9")), "{refused:?}");
    }
}

#[test]
fn who_asked_is_shown_on_one_short_line() {
    assert_eq!(Author::new(" alice\r\nX: y\0 ").as_str(), "alice??X: y?");
    assert!(Author::new(&"ü".repeat(100)).as_str().len() <= crate::model::limits::AUTHOR_BYTES_MAX);
}

#[test]
fn however_many_keys_are_unknown_a_user_is_told_of_a_misspelt_one_and_of_nobody_elses() {
    let node = |number: usize, beside: &str| format!(r#"{{"id":"n-{number}","address":"10.0.0.1:{number}"{beside}}}"#);
    let nodes: Vec<String> = (1..=1_200).map(|number| node(number, r#","zone":"x""#)).collect();
    let desired = object(&format!(r#"{{"pool":[{{"name":"web","node":[{}]}}]}}"#, nodes.join(",")));
    let body = Body::first(desired, &"ams".parse().unwrap(), 1_000);
    let next = changed(&body, &put("n-1", &node(1, "")));
    assert_eq!(next.check(&next.desired).unwrap().unknown.len(), 1_199);
    let misspelt = next.after(&put("n-1200", &node(1_200, r#","wieght":3"#)), 3).unwrap_err();
    let WriteRefused::Invalid { faults } = misspelt else { panic!("{misspelt:?}") };
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].key.ends_with("node \"n-1200\" wieght"), "{faults:?}");
}
