//! The part of the file that is the catalog, as the document that the first leader of a cluster begins with.

use serde_json::{Map, Value, json};

use crate::catalog::rules::{INTERVAL, Over, PARTS};
use crate::document::{Form, Override, Table};
use crate::model::{Check, Pool};

/// What stands in the file as it stands there, and what the environment says as the file would say it. `root` was read and
/// found right.
pub(super) fn desired(root: &Table, over: &Over) -> Map<String, Value> {
    let mut desired = root.to_json(&PARTS);
    if let Some(Value::Array(pools)) = desired.get_mut("pool") {
        for pool in pools.iter_mut().filter_map(Value::as_object_mut) {
            fold(pool, over);
        }
    }
    set_within(&mut desired, "failover", [("enabled", said(over.auto_shift.as_ref()).map(Value::from))]);
    if let Some((pool, _)) = &over.beside {
        let beside = written(pool);
        match desired.get_mut("pool") {
            Some(Value::Array(pools)) => pools.push(beside),
            // Without a pool of the file the others come behind it.
            _ => {
                desired.shift_insert(0, "pool".to_owned(), json!([beside]));
            }
        }
    }
    desired
}

/// What variables say of every pool.
fn fold(pool: &mut Map<String, Value>, over: &Over) {
    if let Some(strategy) = said(over.strategy.as_ref()) {
        pool.insert("strategy".to_owned(), strategy.name().into());
    }
    if let Some(strategy) = said(over.region_strategy.as_ref()) {
        pool.insert("region_strategy".to_owned(), strategy.name().into());
    }
    let interval = said(over.interval.as_ref()).map(|interval| unquoted(&INTERVAL.show(&interval)).into());
    let fall = said(over.fall.as_ref()).map(|fall| fall.get().into());
    // Nobody asks nodes without a check, so neither would be taken there.
    let is_asked = pool.get("health").and_then(|health| health.get("type")).and_then(Value::as_str) != Some("none");
    if is_asked {
        set_within(pool, "health", [("interval", interval), ("fall", fall)]);
    }
    if let Some(scaling) = pool.get_mut("scaling").and_then(Value::as_object_mut) {
        let over = &over.scaling;
        let number = |over: &Option<Override<f64>>| said(over.as_ref()).map(Value::from);
        set_within(scaling, "connections", [("up", number(&over.up)), ("down", number(&over.down))]);
        for (key, value) in [
            ("enabled", said(over.enabled.as_ref()).map(Value::from)),
            ("max_nodes", said(over.max_nodes.as_ref()).map(Value::from)),
        ] {
            scaling.extend(value.map(|value| (key.to_owned(), value)));
        }
    }
}

fn said<T: Clone>(over: Option<&Override<T>>) -> Option<T> {
    over.and_then(|over| over.value.clone())
}

/// Sets keys of a table within, which is made where it is not there.
fn set_within<const N: usize>(of: &mut Map<String, Value>, table: &str, keys: [(&str, Option<Value>); N]) {
    let mut keys = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).peekable();
    if keys.peek().is_none() {
        return;
    }
    if let Some(table) = of.entry(table).or_insert_with(|| json!({})).as_object_mut() {
        table.extend(keys);
    }
}

/// The pool of `REGIONAL_ENDPOINTS`, which has nothing that a user of it cannot say.
fn written(pool: &Pool) -> Value {
    let default = Pool::new(pool.name.clone());
    let mut object = Map::new();
    object.insert("name".to_owned(), pool.name.as_str().into());
    if pool.strategy != default.strategy {
        object.insert("strategy".to_owned(), pool.strategy.name().into());
    }
    if pool.region_strategy != default.region_strategy {
        object.insert("region_strategy".to_owned(), pool.region_strategy.name().into());
    }
    let Check { interval, fall, .. } = pool.check;
    let shown = || unquoted(&INTERVAL.show(&interval)).into();
    let interval = (interval != Check::INTERVAL_DEFAULT).then(shown);
    let fall = (fall != Check::FALL_DEFAULT).then(|| fall.get().into());
    set_within(&mut object, "health", [("interval", interval), ("fall", fall)]);
    object.insert("host".to_owned(), "node".into());
    let node =
        |node: &crate::model::Node| json!({"id": node.id, "address": node.address.to_string(), "region": node.region});
    object.insert("node".to_owned(), pool.nodes.iter().map(node).collect());
    Value::Object(object)
}

/// A text as the file has it between its quotes.
fn unquoted(text: &str) -> &str {
    text.trim_matches('"')
}
