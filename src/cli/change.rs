//! `evenkeel apply`, `catalog`, `drain` and `undrain`: what is changed, with the difference first.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::args::{Apply, Catalog, CatalogCommand, Drain, Undrain};
use super::ask::{escaped, refused, rows, show, wait, word};
use super::client::{Answer, ApiAddress, Sent, get, send};
use super::outcome::Failure;
use super::table::Table;
use crate::catalog::{Difference, Object};
use crate::config;
use crate::election::IdempotencyId;
use crate::host::{self, Dice};

/// How often the progress of a drain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Sends a write, under an id by which it is done once. Where nobody can say what became of it, it is sent again.
async fn write(api: &ApiAddress, method: Method, path: &str, mut sent: Sent) -> Result<Value, Failure> {
    /// Each try waits for a leader by itself.
    const TRIES_MAX: usize = 3;
    let id = IdempotencyId::random(&mut Dice::new()).to_string();
    sent.fields.push(("idempotency-key", id.clone()));
    sent.fields.extend(user().map(|user| ("evenkeel-user", user)));
    for attempt in 1.. {
        let Answer { status, body } = send(api, method.clone(), path, &sent).await?;
        if status.is_success() {
            return Ok(body);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE
            && body["error"]["code"] == "write_outcome_unknown"
            && attempt < TRIES_MAX
        {
            continue;
        }
        return Err(refused_write(&body));
    }
    Err(Failure::new("the write was not answered", format_args!("send it again with Idempotency-Key: {id}")))
}

/// Who asks, as this machine knows them.
fn user() -> Option<String> {
    config::user_name().map(|name| name.chars().filter(char::is_ascii_graphic).take(64).collect())
}

/// What the API said that was wrong, with every fault of a document.
fn refused_write(body: &Value) -> Failure {
    let faults = rows(&body["error"]["faults"]);
    if faults.is_empty() {
        return refused(body);
    }
    let mut what = word(&body["error"]["message"]);
    for fault in faults {
        what += &format!("\n\n{}", word(&fault["key"]));
        for (name, key) in [("found", "found"), ("wrong", "wrong"), ("allowed", "allowed"), ("hint", "hint")] {
            if let Some(text) = fault[key].as_str() {
                what += &format!("\n    {:<9}{}", format!("{name}:"), word(&Value::from(text)));
            }
        }
    }
    Failure::new(what, word(&body["error"]["hint"]))
}

/// `evenkeel apply`
pub(super) fn apply(apply: &Apply) -> Result<(), Failure> {
    let desired = config::catalog_of(&apply.file).map_err(|refused| Failure::Settings(refused.to_string()))?;
    let api = &apply.question.api;
    wait(async {
        let now = get(api, "/api/v1/catalog").await?;
        if !now.status.is_success() {
            return Err(refused(&now.body));
        }
        let difference = difference_to(api, &desired).await?;
        if difference.is_empty() {
            return show(&apply.question, &json!({ "changed": false, "difference": difference }), || {
                format!("{difference}nothing to change: the catalog is as the file has it\n")
            });
        }
        if !apply.question.json {
            write!(io::stdout(), "{difference}")?;
        }
        if apply.dry_run {
            return show(&apply.question, &json!({ "changed": false, "difference": difference }), String::new);
        }
        if !apply.yes && !confirmed(&difference)? {
            return Err(Failure::new("nothing was changed", "answer yes, or give --yes"));
        }
        let mut sent = Sent::json(&json!({ "desired": desired }));
        // What was shown is what is done: not if somebody else was faster.
        sent.fields.extend(now.body["etag"].as_str().map(|etag| ("if-match", format!("\"{etag}\""))));
        let written = write(api, Method::PUT, "/api/v1/catalog", sent).await?;
        let said = json!({ "changed": true, "difference": difference, "written": written });
        show(&apply.question, &said, || written_text(&written))
    })
}

async fn difference_to(api: &ApiAddress, desired: &Object) -> Result<Difference, Failure> {
    let sent = Sent::json(&json!({ "desired": desired }));
    let Answer { status, body } = send(api, Method::POST, "/api/v1/catalog/diff", &sent).await?;
    if !status.is_success() {
        return Err(refused_write(&body));
    }
    serde_json::from_value(body)
        .map_err(|error| Failure::new(error, "does the peer run another version? update the older one"))
}

/// Asks whether to go on. Without a terminal there is nobody to ask.
fn confirmed(difference: &Difference) -> Result<bool, Failure> {
    let (add, change, remove) = difference.counts();
    if !io::stdin().is_terminal() {
        return Err(Failure::new("there is no terminal to ask for a yes", "give --yes to apply, or --dry-run to look"));
    }
    write!(io::stdout(), "add {add}, change {change}, remove {remove}: apply? [y/N] ")?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes" | "Y" | "Yes"))
}

fn written_text(written: &Value) -> String {
    let mut text = match written["changed"] == true {
        true => format!("revision {}", word(&written["revision"])),
        false => format!("nothing changed; revision {} stays", word(&written["revision"])),
    };
    if written["applied"] == false {
        text += ", which the peer that was asked does not serve by yet";
    }
    text.push('\n');
    for warning in rows(&written["warnings"]) {
        text += &format!("warning: {}\n", word(warning));
    }
    text
}

/// `evenkeel catalog`
pub(super) fn catalog(catalog: &Catalog, colour: bool) -> Result<(), Failure> {
    match &catalog.command {
        CatalogCommand::Show(question) => {
            let Answer { status, body } = wait(get(&question.api, "/api/v1/catalog"))?;
            if !status.is_success() {
                return Err(refused(&body));
            }
            show(question, &body, || format!("{:#}\n", body["desired"]))
        }
        CatalogCommand::Diff(diff) => {
            let desired = config::catalog_of(&diff.file).map_err(|refused| Failure::Settings(refused.to_string()))?;
            let difference = wait(difference_to(&diff.question.api, &desired))?;
            show(&diff.question, &json!(difference), || match difference.is_empty() {
                true => format!("{difference}no difference\n"),
                false => difference.to_string(),
            })
        }
        CatalogCommand::History(question) => {
            let Answer { status, body } = wait(get(&question.api, "/api/v1/catalog/history"))?;
            if !status.is_success() {
                return Err(refused(&body));
            }
            show(question, &body, || history_table(rows(&body["items"]), colour))
        }
        CatalogCommand::Rollback(rollback) => {
            let api = &rollback.question.api;
            wait(async {
                let path = format!("/api/v1/catalog/history/{}", rollback.revision);
                let then = get(api, &path).await?;
                if !then.status.is_success() {
                    return Err(refused(&then.body));
                }
                let Some(desired) = then.body["desired"].as_object() else { return Err(refused(&then.body)) };
                let difference = difference_to(api, desired).await?;
                if !rollback.question.json {
                    write!(io::stdout(), "{difference}")?;
                }
                if !difference.is_empty() && !rollback.yes && !confirmed(&difference)? {
                    return Err(Failure::new("nothing was changed", "answer yes, or give --yes"));
                }
                let sent = Sent::json(&json!({ "revision": rollback.revision }));
                let written = write(api, Method::POST, "/api/v1/catalog/rollback", sent).await?;
                let said = json!({ "difference": difference, "written": written });
                show(&rollback.question, &said, || written_text(&written))
            })
        }
    }
}

fn history_table(items: &[Value], colour: bool) -> String {
    let mut table = Table::new(&[">REVISION", "AT", "BY", "THROUGH", "WHAT"], colour);
    for of in items {
        table.row([word(&of["revision"]), word(&of["at"]), word(&of["by"]), word(&of["via"]), word(&of["what"])]);
    }
    table.lines()
}

/// `evenkeel drain`
pub(super) fn drain(drain: &Drain) -> Result<(), Failure> {
    let path = format!("/api/v1/nodes/{}/drain", escaped(&drain.node));
    let api = &drain.question.api;
    let body = drain.timeout.as_ref().map_or_else(|| json!({}), |timeout| json!({ "timeout": timeout }));
    wait(async {
        let written = write(api, Method::POST, &path, Sent::json(&body)).await?;
        if drain.no_wait {
            return show(&drain.question, &written, || written_text(&written));
        }
        let (began, is_terminal) = (host::now(), io::stderr().is_terminal());
        let left = loop {
            let Answer { status, body } = get(api, &format!("/api/v1/nodes/{}", escaped(&drain.node))).await?;
            if !status.is_success() {
                return Err(refused(&body));
            }
            let progress = &body["drain"];
            if progress.is_null() {
                return Err(Failure::new(
                    "the node drains no more",
                    "somebody has undrained it; see `evenkeel catalog history`",
                ));
            }
            let left = progress["in_flight"].as_u64().unwrap_or(0);
            if is_terminal && !drain.question.json {
                let line = progress_line(progress, began);
                let _ = write!(io::stderr(), "\r\x1b[K{line}");
            }
            // Every peer has told of what it has by then.
            if left == 0 && began.elapsed() > 3 * LOOK_EVERY {
                break left;
            }
            sleep(LOOK_EVERY).await;
        };
        if is_terminal && !drain.question.json {
            let _ = writeln!(io::stderr());
        }
        show(&drain.question, &json!({ "written": written, "in_flight": left }), || {
            format!("node {} is drained: nothing is left at any peer\n", drain.node)
        })
    })
}

fn progress_line(progress: &Value, began: Instant) -> String {
    let by_peer: Vec<String> = rows(&progress["by_peer"])
        .iter()
        .map(|peer| format!("{} {}", word(&peer["peer"]), word(&peer["in_flight"])))
        .collect();
    let shares = if by_peer.is_empty() { String::new() } else { format!(" ({})", by_peer.join(", ")) };
    let deadline = progress["timeout_ms"].as_u64().map_or_else(
        || ", no deadline".to_owned(),
        |ms| {
            let left = Duration::from_millis(ms).saturating_sub(began.elapsed());
            format!(", what is left is cut in {} s", left.as_secs())
        },
    );
    format!("{} left{shares}{deadline}", word(&progress["in_flight"]))
}

/// `evenkeel undrain`
pub(super) fn undrain(undrain: &Undrain) -> Result<(), Failure> {
    let path = format!("/api/v1/nodes/{}/undrain", escaped(&undrain.node));
    let written = wait(write(&undrain.question.api, Method::POST, &path, Sent::default()))?;
    show(&undrain.question, &written, || written_text(&written))
}
