//! The part of the file that is the catalog, as the document that the first leader of a cluster begins with.

use serde_json::{Map, Value, json};

use crate::catalog::rules::{INTERVAL, Over, PARTS};
use crate::document::{Form, Table};
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
    if let Some(enabled) = over.auto_shift.as_ref().and_then(|over| over.value) {
        let failover = desired.entry("failover").or_insert_with(|| json!({}));
        if let Some(failover) = failover.as_object_mut() {
            failover.insert("enabled".to_owned(), enabled.into());
        }
    }
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
    if let Some(strategy) = over.strategy.as_ref().and_then(|over| over.value) {
        pool.insert("strategy".to_owned(), strategy.name().into());
    }
    if let Some(strategy) = over.region_strategy.as_ref().and_then(|over| over.value) {
        pool.insert("region_strategy".to_owned(), strategy.name().into());
    }
    let Some(interval) = over.interval.as_ref().and_then(|over| over.value) else { return };
    let health = pool.entry("health").or_insert_with(|| json!({}));
    if let Some(health) = health.as_object_mut()
        // Nobody asks such nodes, so an interval would be refused there.
        && health.get("type").and_then(Value::as_str) != Some("none")
    {
        health.insert("interval".to_owned(), unquoted(&INTERVAL.show(&interval)).into());
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
    if pool.check.interval != Check::INTERVAL_DEFAULT {
        object.insert("health".to_owned(), json!({"interval": unquoted(&INTERVAL.show(&pool.check.interval))}));
    }
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
