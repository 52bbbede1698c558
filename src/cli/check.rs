//! `evenkeel check`: every fault of the settings at once, or what they come to; starts nothing.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::args::Check;
use super::outcome::Failure;
use super::table::Table;
use crate::config::{self, Faults, Loaded, Refused, Setting, Sources};

pub(super) fn check(args: &Check, colour: bool) -> Result<(), Failure> {
    let sources = Sources::of_process(Some(args.file.clone()), args.over_file.clone().into());
    let file = args.file.display().to_string();
    let checked = config::load(&sources);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report(&file, &checked, args.values))?;
        return checked.map(drop).map_err(|_| Failure::told_settings());
    }
    let loaded = checked.map_err(|refused| Failure::Settings(refused.to_string()))?;
    for warning in &loaded.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    if args.values {
        writeln!(out, "{}", values_table(&loaded.values, colour))?;
    }
    let (peer, nodes) = (&loaded.settings.peer, loaded.settings.peer.catalog.nodes().count());
    let (listeners, pools) = (peer.proxy.listeners.len(), peer.catalog.pools().len());
    writeln!(out, "{file} is fine: listeners {listeners}, pools {pools}, nodes {nodes}")?;
    Ok(writeln!(out, "data folder {}", printable(&peer.data_dir.display().to_string()))?)
}

/// The one shape that programs are told, whatever was found.
fn report(file: &str, checked: &Result<Loaded, Refused>, values: bool) -> Value {
    let fine = Faults::default();
    let (faults, warnings) = match checked {
        Ok(loaded) => (&fine, &loaded.warnings),
        Err(refused) => (&refused.faults, &refused.warnings),
    };
    let values = checked.as_ref().ok().filter(|_| values).map(|loaded| &loaded.values);
    json!({
        "ok": checked.is_ok(),
        "file": file,
        "faults": faults.faults,
        "unlisted": faults.unlisted,
        "shape_only": faults.shape_only,
        "warnings": warnings,
        "values": values,
        "data_dir": checked.as_ref().ok().map(|loaded| &loaded.settings.peer.data_dir),
    })
}

fn values_table(values: &[Setting], colour: bool) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "ORIGIN"], colour);
    for Setting { key, value, origin } in values {
        table.row([key.clone(), printable(value), origin.to_string()]);
    }
    table.lines()
}

/// Nothing that stands in a file may move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    const REGION: (&str, &str) = ("REGIONAL_ENDPOINTS", "us:https://us.example.com");

    fn checked(environment: &[(&str, &str)]) -> Result<Loaded, Refused> {
        let flags = Flags { id: Some("ams-1".to_owned()), ..Flags::default() };
        config::load(&Sources { environment: environment.iter().copied().collect(), flags, ..Sources::default() })
    }

    #[test]
    fn programs_are_told_the_same_shape_whatever_was_found() {
        let fine = report("a.toml", &checked(&[REGION]), false);
        let expected = json!({
            "ok": true, "file": "a.toml", "faults": [], "unlisted": 0, "shape_only": false, "warnings": [], "values": null,
            "data_dir": "evenkeel-ams-1"
        });
        assert_eq!(fine, expected);

        let wrong = report("a.toml", &checked(&[REGION, ("LOG_LEVEL", "loud")]), true);
        let names = |report: &Value| report.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&wrong), names(&fine));
        assert_eq!((&wrong["ok"], &wrong["values"]), (&json!(false), &Value::Null));
        let fault = &wrong["faults"][0];
        assert_eq!(names(fault), ["origin", "key", "found", "wrong", "allowed", "hint"], "none is left out");
        assert_eq!(fault["origin"], json!({"from": "environment", "name": "LOG_LEVEL"}));
    }

    #[test]
    fn values_are_told_with_where_they_come_from() {
        let fine = checked(&[REGION, ("EVENKEEL_LOG_LEVEL", "debug")]);
        let told = report("a.toml", &fine, true);
        let value = |key: &str| {
            let values = told["values"].as_array().unwrap();
            values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("{key} is not in {told}")).clone()
        };
        assert_eq!(value("peer.id")["origin"], json!({"from": "flag", "name": "--id"}));
        assert_eq!(value("log.level")["value"], "\"debug\"");
        assert_eq!(value("log.level")["origin"], json!({"from": "environment", "name": "EVENKEEL_LOG_LEVEL"}));
        assert_eq!(value("log.format")["origin"], json!({"from": "default"}));

        let table = values_table(&fine.unwrap().values, false);
        let row = |key: &str| {
            let line = table.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {table}"));
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("SETTING"), ["SETTING", "VALUE", "ORIGIN"]);
        assert_eq!(row("peer.id"), ["peer.id", "\"ams-1\"", "flag", "--id"]);
        assert_eq!(row("log.level"), ["log.level", "\"debug\"", "environment", "EVENKEEL_LOG_LEVEL"]);
    }

    #[test]
    fn no_value_moves_the_cursor() {
        assert_eq!(printable("\"query:a\u{1b}[2J\""), "\"query:a\\u{1b}[2J\"");
    }
}
