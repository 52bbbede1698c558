//! What would change from one document to another, resource by resource and key by key, and where what is managed stands over
//! it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{Object, canonical};
use super::managed::Managed;
use super::resource::{Kind, Name, all};

/// What changes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Difference {
    /// The resources that change, pools first.
    pub changes: Vec<Changed>,
    /// Keys of a later version that change.
    pub other: Vec<KeyChanged>,
    /// Where what operators said goes on over what users write.
    pub overridden: Vec<Overridden>,
    /// Nothing changes but the order of lists, which matters nowhere.
    pub reordered: bool,
}

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It is new.
    Add,
    /// Its keys change.
    Change,
    /// It goes.
    Remove,
}

/// A resource that changes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Changed {
    /// What becomes of it.
    pub operation: Operation,
    /// Which.
    #[serde(flatten)]
    pub name: Name,
    /// The pool of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The keys that change; of one that goes none.
    pub keys: Vec<KeyChanged>,
}

/// A key that changes. What may be a secret is not shown.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyChanged {
    /// Its name; of a table in a resource `health.path`.
    pub key: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A node of which an operator said something, or that was moved.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Overridden {
    /// Which.
    pub node: String,
    /// What they said: `draining`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Where it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<String>,
    /// Who.
    pub by: String,
}

/// Keys that may hold a password, as the rules have them.
const SECRET: [&str; 2] = ["health.send", "health.password"];
const NOT_SHOWN: &str = "(not shown)";

/// From `before` to `after`.
pub fn difference(before: &Object, after: &Object, managed: &Managed) -> Difference {
    let mut changes = Vec::new();
    for kind in Kind::ALL {
        let index = |document| -> BTreeMap<String, (Option<String>, Object)> {
            let named = all(document, kind).into_iter();
            named.map(|(id, pool, resource)| (id.to_owned(), (pool.map(str::to_owned), resource.clone()))).collect()
        };
        let (old, new) = (index(before), index(after));
        let name = |id: &String| Name { kind, id: id.clone() };
        for (id, (pool, resource)) in &new {
            let nothing = (None, Object::new());
            let (was_in, was) = old.get(id).unwrap_or(&nothing);
            let mut keys = keys_changed(was, resource, Some(kind));
            let operation = if old.contains_key(id) { Operation::Change } else { Operation::Add };
            if operation == Operation::Change && was_in != pool {
                let value = |pool: &Option<String>| pool.clone().map(Value::String);
                keys.insert(0, KeyChanged { key: "pool".to_owned(), before: value(was_in), after: value(pool) });
            }
            if operation == Operation::Add || !keys.is_empty() {
                changes.push(Changed { operation, name: name(id), pool: pool.clone(), keys });
            }
        }
        for (id, (pool, _)) in old.iter().filter(|(id, _)| !new.contains_key(*id)) {
            let (operation, keys) = (Operation::Remove, Vec::new());
            changes.push(Changed { operation, name: name(id), pool: pool.clone(), keys });
        }
    }
    let other = other_keys(before, after);
    let stays: Vec<&str> = all(after, Kind::Node).into_iter().map(|(id, ..)| id).collect();
    let overridden = managed.nodes.iter().filter(|(id, _)| stays.contains(&id.as_str()));
    let overridden = overridden.filter_map(|(id, node)| {
        let moved = node.moved.as_ref().map(|moved| moved.address.clone());
        let is_said = node.admin.is_some() || moved.is_some();
        is_said.then(|| Overridden { node: id.to_string(), admin: node.admin.clone(), moved, by: node.by.clone() })
    });
    let reordered = changes.is_empty() && other.is_empty() && canonical(before) != canonical(after);
    Difference { changes, other, overridden: overridden.collect(), reordered }
}

/// The keys of a document that are no list of resources: those of a later version.
fn other_keys(before: &Object, after: &Object) -> Vec<KeyChanged> {
    let without = |document: &Object| -> Object {
        let is_other = |key: &String| Kind::ALL.iter().all(|kind| kind.key() != key);
        document.iter().filter(|(key, _)| is_other(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    keys_changed(&without(before), &without(after), None)
}

fn keys_changed(before: &Object, after: &Object, kind: Option<Kind>) -> Vec<KeyChanged> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten(before, "", kind, &mut old);
    flatten(after, "", kind, &mut new);
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let shown = |key: &str, value: Option<&&Value>| {
        let is_secret = SECRET.contains(&key);
        value.map(|value| if is_secret { Value::from(NOT_SHOWN) } else { (*value).clone() })
    };
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| KeyChanged { key: key.clone(), before: shown(key, old.get(key)), after: shown(key, new.get(key)) })
        .collect()
}

/// The keys of a resource, those of tables in it by their path; its name and the nodes of a pool are not among them.
fn flatten<'d>(object: &'d Object, above: &str, kind: Option<Kind>, out: &mut BTreeMap<String, &'d Value>) {
    for (key, value) in object {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        let is_name = above.is_empty() && kind.is_some_and(|kind| key == kind.id_key());
        let is_nodes = above.is_empty() && kind == Some(Kind::Pool) && key == Kind::Node.key();
        if is_name || is_nodes {
            continue;
        }
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(inner, &path, kind, out),
            _ => {
                out.insert(path, value);
            }
        }
    }
}

impl Difference {
    /// Whether nothing changes at all.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.other.is_empty() && !self.reordered
    }

    /// How many are added, changed and removed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |operation| self.changes.iter().filter(|change| change.operation == operation).count();
        (count(Operation::Add), count(Operation::Change), count(Operation::Remove))
    }
}

impl fmt::Display for KeyChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{key}: {before} -> {after}"),
            (None, Some(after)) => write!(f, "{key}: {after}"),
            (Some(before), None) => write!(f, "{key}: {before} -> (left out)"),
            (None, None) => f.write_str(key),
        }
    }
}

/// For people: a line a resource and a line a key.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let sign = match change.operation {
                Operation::Add => '+',
                Operation::Change => '~',
                Operation::Remove => '-',
            };
            write!(f, "{sign} {}", change.name)?;
            match &change.pool {
                Some(pool) => writeln!(f, " of pool {pool:?}")?,
                None => writeln!(f)?,
            }
            change.keys.iter().try_for_each(|key| writeln!(f, "    {key}"))?;
        }
        self.other.iter().try_for_each(|key| writeln!(f, "~ {key}"))?;
        if self.reordered {
            writeln!(f, "~ the order of lists alone, which matters nowhere")?;
        }
        for Overridden { node, admin, moved, by } in &self.overridden {
            let by = if by.is_empty() { "an operator" } else { by };
            if let Some(admin) = admin {
                writeln!(f, "! node {node:?} is {admin}, said {by}; that stays")?;
            }
            if let Some(moved) = moved {
                writeln!(
                    f,
                    "! node {node:?} was moved to {moved}; that stays until another server or address is written"
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::super::managed::ManagedNode;
    use super::*;

    fn object(text: &str) -> Object {
        parse(text.as_bytes()).unwrap()
    }

    const BEFORE: &str = r#"{"pool":[{"name":"web","health":{"type":"tcp","send":"secret"},"node":[
        {"id":"web-1","address":"a:1","weight":3},{"id":"web-2","address":"b:1"}]},{"name":"db"}]}"#;

    #[test]
    fn each_resource_and_key_that_changes_is_told_and_nothing_else() {
        let after = r#"{"pool":[{"name":"web","health":{"type":"tcp","send":"other"},"strategy":"p2c","node":[
            {"id":"web-1","address":"a:1"},{"id":"web-3","address":"c:1"}]},{"name":"db","node":[
            {"id":"web-2","address":"b:1"}]}]}"#;
        let difference = difference(&object(BEFORE), &object(after), &Managed::default());
        assert_eq!(
            difference.to_string(),
            r#"~ pool "web"
    health.send: "(not shown)" -> "(not shown)"
    strategy: "p2c"
~ node "web-1" of pool "web"
    weight: 3 -> (left out)
~ node "web-2" of pool "db"
    pool: "web" -> "db"
+ node "web-3" of pool "web"
    address: "c:1"
"#
        );
        assert_eq!(difference.counts(), (1, 3, 0));
    }

    #[test]
    fn what_goes_is_told_with_its_nodes() {
        let text = difference(&object(BEFORE), &object(r#"{"pool":[{"name":"db"}]}"#), &Managed::default()).to_string();
        assert_eq!(text, "- pool \"web\"\n- node \"web-1\" of pool \"web\"\n- node \"web-2\" of pool \"web\"\n");
    }

    #[test]
    fn where_an_operator_said_otherwise_that_is_told() {
        let mut managed = Managed::default();
        let drain =
            ManagedNode { admin: Some("draining".to_owned()), by: "alice".to_owned(), ..ManagedNode::default() };
        managed.nodes.insert("web-1".parse().unwrap(), drain);
        let before = object(BEFORE);
        let difference = difference(&before, &before, &managed);
        assert!(difference.is_empty());
        assert_eq!(difference.to_string(), "! node \"web-1\" is draining, said alice; that stays\n");
    }

    #[test]
    fn another_order_is_no_other_catalog() {
        let after = r#"{"pool":[{"name":"db"},{"name":"web","health":{"send":"secret","type":"tcp"},"node":[
            {"id":"web-2","address":"b:1"},{"weight":3,"id":"web-1","address":"a:1"}]}]}"#;
        let difference = difference(&object(BEFORE), &object(after), &Managed::default());
        assert!(difference.reordered && difference.changes.is_empty());
        let same = super::difference(&object(BEFORE), &object(BEFORE), &Managed::default());
        assert!(same.is_empty() && same.to_string().is_empty());
    }
}
