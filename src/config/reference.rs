//! The reference of all settings, written from the settings themselves.

use std::fmt::Write as _;

use super::file::describe;
use crate::document::Row;

const HEAD: &str = "\
# Settings

<!-- Written from the code; a test holds the two equal. EVENKEEL_TEST_WRITE_DOCS=1 cargo test --lib config writes it anew. -->

Settings come from a file, the environment and flags; the later of these overrides the earlier. `evenkeel check FILE`
says everything that is wrong with a file at once and starts nothing; `evenkeel run` refuses a wrong file in the same words,
with exit code 64.

The file is TOML, in UTF-8, 4 MiB at most. It is named by `--config`, or by `EVENKEEL_CONFIG`. Durations are a whole number
and one unit of `ms`, `s`, `m`, `h`, `d`: `\"250ms\"`, `\"5s\"`, `\"2m\"`, `\"1h\"`. Lists of tables, such as `[[listener]]` and
`[[pool]]`, stand in the file only. An empty variable of the environment counts as not set. `EVENKEEL_API` is no setting: it
tells every command that asks a peer (`evenkeel status`, `apply`, `drain`) which API to ask, and a peer leaves it alone.

`evenkeel check FILE --values` shows every setting with its value and where that comes from: the default, a line of the
file, a variable, a flag. What a check sends (`send`) may hold a password: no fault, difference or list of
settings shows it; whoever may read the catalog reads it there.

An annotated sample is `deploy/evenkeel.toml`.
";

const INHERITED: &str = "\
## Variables of other systems

These are understood as in the systems that Evenkeel takes over from.

| variable | what it does |
| --- | --- |
| `REGIONAL_ENDPOINTS` | `us-east:https://us.example.com,eu-west:https://eu.example.com` makes a pool `regions` of one node a region, `us-east-1` and `eu-west-1`. Nodes get their own name in `Host`, and are checked by a connection (with https: a TLS handshake). Without a listener in the file, an HTTP listener `regions` at 127.0.0.1:8000 leads to it. A peer that is given nothing else runs. |
| `LOAD_BALANCING_STRATEGY` | The `region_strategy` of every pool. |
| `LOAD_BALANCER_STRATEGY` | The `strategy` of every pool. |
| `HEALTH_CHECK_INTERVAL` | The `health.interval` of every pool whose nodes are checked: whole seconds, or a duration. |
| `FAILOVER_ENABLED` | `failover.enabled`: whether regions that are lost are shifted. |
| `FAILOVER_THRESHOLD` | The `health.fall` of every pool whose nodes are checked: 1 to 255 bad answers in a row. |
| `AUTO_SCALE_ENABLED`, `MAX_NODES_PER_COUNTRY` | `scaling.enabled` and `scaling.max_nodes` of every pool that is scaled. |
| `SCALE_UP_THRESHOLD`, `SCALE_DOWN_THRESHOLD` | `scaling.connections.up` and `.down` of every pool that is scaled: connections at a node. |
| `LOAD_BALANCER_ENABLED` | `true` is how it is; `false` is refused. |
| `LOG_LEVEL` | `log.level`; weaker than `EVENKEEL_LOG_LEVEL`. Capitals, `WARNING` and `CRITICAL` are understood. |
";

/// All settings as a page of Markdown: `docs/reference/settings.md`.
pub fn reference() -> String {
    let description = describe();
    let mut page = HEAD.to_owned();
    for section in &description.sections {
        let rows: Vec<&Row> = description.rows.iter().filter(|row| row.section == section.name).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## `{}`\n\n{}\n\n| key | allowed | default | what it does |\n| --- | --- | --- | --- |\n",
            section.title, section.doc
        );
        for row in rows {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                row.key,
                cell(&row.allowed),
                cell(&row.default),
                meaning(row).replace('|', "\\|")
            );
        }
    }
    page.push('\n');
    page.push_str(INHERITED);
    page.push_str(
        "\n## Not available in this version\n\nThese are known and refused until something acts on them.\n\n",
    );
    for (section, key) in &description.later {
        let section = if section.is_empty() { String::new() } else { format!("{section}.") };
        let _ = writeln!(page, "- `{section}{key}`");
    }
    page
}

/// Words of the file in code, so that Markdown leaves them alone.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('"').enumerate() {
        match index % 2 {
            0 => out.push_str(part),
            _ => {
                let _ = write!(out, "`\"{part}\"`");
            }
        }
    }
    out.replace('|', "\\|")
}

fn meaning(row: &Row) -> String {
    let mut text = row.doc.to_owned();
    if let Some(only) = row.only {
        let _ = write!(text, " Only with {}.", cell(only));
    }
    if let Some(flag) = row.flag {
        let _ = write!(text, " Flag: `{flag}`.");
    }
    if !row.variables.is_empty() {
        let names: Vec<String> = row.variables.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(text, " Environment: {}.", names.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "writes the page instead of comparing it, on request")]
    fn the_page_of_all_settings_says_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/settings.md");
        if std::env::var("EVENKEEL_TEST_WRITE_DOCS").is_ok() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference")).unwrap();
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == reference(),
            "{path} is old; EVENKEEL_TEST_WRITE_DOCS=1 cargo test --lib config writes it anew"
        );
    }
}
