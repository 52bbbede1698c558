//! The machine and the versions, without which a figure says nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What the figures depend on.
pub(crate) fn describe(evenkeel: Option<&Path>) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model,
        "cores": cores(),
        "kernel": kernel.trim(),
        "evenkeel": evenkeel.map(|binary| first_line(&binary.display().to_string(), "--version")),
        "nginx": first_line("nginx", "-v"),
        "haproxy": first_line("haproxy", "-v"),
        "wrk": first_line("wrk", "-v"),
    })
}

/// The same as lines.
pub(crate) fn text(machine: &Value) -> String {
    let lines = machine.as_object().into_iter().flatten().map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        other => format!("{name}: {other}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn first_line(program: &str, option: &str) -> String {
    let found = cluster_tests::need::find(program).unwrap_or_else(|| program.into());
    let Ok(output) = Command::new(found).arg(option).output() else { return "not installed".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
