//! `evenkeel apply`, `catalog`, `drain` and `undrain`: what is changed, with the difference first.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::args::{Apply, Catalog, CatalogCommand, Drain, History, Question, Undrain};
use super::ask::{escaped, refused, rows, show, wait, word};
use super::client::{Answer, ApiAddress, Sent, get, send, try_send};
use super::outcome::Failure;
use super::table::Table;
use crate::catalog::{Difference, Object};
use crate::config;
use crate::election::IdempotencyId;
use crate::host::{self, Dice};
use crate::model::limits::API_BODY_BYTES_MAX;

/// How often the progress of a drain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a peer that does not answer, or has not heard of the drain, is waited for once nothing is left elsewhere.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// Sends a write, under an id by which it is done once. Where nobody can say what became of it, it is sent again.
pub(super) async fn write(api: &ApiAddress, method: Method, path: &str, mut sent: Sent) -> Result<Value, Failure> {
    /// Each try waits for a leader by itself.
    const TRIES_MAX: usize = 3;
    let id = IdempotencyId::random(&mut Dice::new()).to_string();
    sent.fields.push(("idempotency-key", id));
    sent.fields.extend(user());
    let mut why = String::new();
    for _ in 0..TRIES_MAX {
        match try_send(api, method.clone(), path, &sent).await {
            Ok(Answer { status, body }) if status.is_success() => return Ok(body),
            Ok(Answer { body, .. }) if body["error"]["code"] == "write_outcome_unknown" => {
                why = word(&body["error"]["message"]);
            }
            Ok(Answer { body, .. }) => return Err(refused_write(&body)),
            Err(broken) if broken.is_perhaps_done() || !why.is_empty() => why = format!("{api} {broken}"),
            Err(broken) => return Err(broken.failure(api)),
        }
    }
    Err(Failure::new(
        format_args!("whether the change is done is not known: {why}"),
        "`evenkeel catalog history` shows it, also of another peer (--api); the same command again does no harm",
    ))
}

/// The field that says who asks, as this machine knows them.
pub(super) fn user() -> Option<(&'static str, String)> {
    let name = config::user_name()?;
    Some(("evenkeel-user", name.chars().filter(char::is_ascii_graphic).take(64).collect()))
}

/// What the API said that was wrong, with every fault of a document.
fn refused_write(body: &Value) -> Failure {
    let error = &body["error"];
    // The API's hints are for whoever sends requests.
    let hint = match error["code"].as_str() {
        Some("changed") => "somebody was faster: say the same command again, and look at the difference once more",
        Some("not_found") => "`evenkeel nodes` and `evenkeel pools` show what is there",
        Some("invalid") => "mend the file; `evenkeel check FILE` shows the lines",
        _ => return refused(body),
    };
    let mut what = match error["code"] == "changed" {
        true => "the catalog has changed in between; nothing was done".to_owned(),
        false => word(&error["message"]),
    };
    let faults = rows(&error["faults"]);
    for fault in faults {
        what += &format!("\n\n{}", word(&fault["key"]));
        for (name, key) in [("found", "found"), ("wrong", "wrong"), ("allowed", "allowed"), ("hint", "hint")] {
            if let Some(text) = fault[key].as_str() {
                what += &format!("\n    {:<9}{}", format!("{name}:"), word(&Value::from(text)));
            }
        }
    }
    Failure::new(what, hint)
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
        if !apply.yes {
            confirm(&apply.question, &question_of(&difference))?;
        }
        let mut sent = Sent::json(&json!({ "desired": desired }));
        sent.fields.extend(if_still(&now));
        let written = write(api, Method::PUT, "/api/v1/catalog", sent).await?;
        let said = json!({ "changed": true, "difference": difference, "written": written });
        show(&apply.question, &said, || written_text(&written))
    })
}

async fn difference_to(api: &ApiAddress, desired: &Object) -> Result<Difference, Failure> {
    let sent = Sent::json(&json!({ "desired": desired }));
    // A peer would hang up on it in the middle, which says less.
    if sent.length() > API_BODY_BYTES_MAX {
        let what = format_args!(
            "the catalog has {} bytes, more than the {API_BODY_BYTES_MAX} that a peer takes",
            sent.length()
        );
        return Err(Failure::new(what, "nothing was changed; make it smaller"));
    }
    let Answer { status, body } = send(api, Method::POST, "/api/v1/catalog/diff", &sent).await?;
    if !status.is_success() {
        return Err(refused_write(&body));
    }
    serde_json::from_value(body)
        .map_err(|error| Failure::new(error, "does the peer run another version? update the older one"))
}

/// What was shown is what is done: not if somebody else was faster.
fn if_still(now: &Answer) -> Option<(&'static str, String)> {
    now.body["etag"].as_str().map(|etag| ("if-match", format!("\"{etag}\"")))
}

fn question_of(difference: &Difference) -> String {
    let (add, change, remove) = difference.counts();
    format!("add {add}, change {change}, remove {remove}: apply?")
}

/// Asks whether to go on; goes on only by a yes. Without a terminal there is nobody to ask.
pub(super) fn confirm(question: &Question, what: &str) -> Result<(), Failure> {
    if question.json || !io::stdin().is_terminal() {
        let why = if question.json {
            "with --json nobody is asked for a yes"
        } else {
            "there is no terminal to ask for a yes"
        };
        return Err(Failure::new(why, "give --yes to go on without being asked"));
    }
    write!(io::stderr(), "{what} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "yes" | "Y" | "Yes" => Ok(()),
        _ => Err(Failure::new("nothing was changed", "answer yes, or give --yes")),
    }
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
        CatalogCommand::History(History { revision: None, question }) => {
            let Answer { status, body } = wait(get(&question.api, "/api/v1/catalog/history"))?;
            if !status.is_success() {
                return Err(refused(&body));
            }
            show(question, &body, || history_table(rows(&body["items"]), colour))
        }
        CatalogCommand::History(History { revision: Some(revision), question }) => {
            let Answer { status, body } = wait(get(&question.api, &format!("/api/v1/catalog/history/{revision}")))?;
            if !status.is_success() {
                return Err(refused(&body));
            }
            let difference: Option<Difference> = serde_json::from_value(body["difference"].clone()).unwrap_or_default();
            show(question, &body, || {
                let table = history_table(std::slice::from_ref(&body), colour);
                match &difference {
                    None => {
                        format!("{table}\nwhat it changed is not known any more: no peer has the revision before\n")
                    }
                    Some(difference) if difference.is_empty() => format!("{table}\nnothing of what users wrote\n"),
                    Some(difference) => format!("{table}\n{difference}"),
                }
            })
        }
        CatalogCommand::Rollback(rollback) => {
            let api = &rollback.question.api;
            wait(async {
                let path = format!("/api/v1/catalog/history/{}", rollback.revision);
                let (now, then) = (get(api, "/api/v1/catalog").await?, get(api, &path).await?);
                if let Some(failed) = [&now, &then].into_iter().find(|answer| !answer.status.is_success()) {
                    return Err(refused(&failed.body));
                }
                let Some(desired) = then.body["desired"].as_object() else { return Err(refused(&then.body)) };
                let difference = difference_to(api, desired).await?;
                if !rollback.question.json {
                    write!(io::stdout(), "{difference}")?;
                }
                if rollback.dry_run {
                    let said = json!({ "changed": false, "difference": difference });
                    return show(&rollback.question, &said, String::new);
                }
                if !difference.is_empty() && !rollback.yes {
                    confirm(&rollback.question, &question_of(&difference))?;
                }
                let mut sent = Sent::json(&json!({ "revision": rollback.revision }));
                sent.fields.extend(if_still(&now));
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
        let (began, is_terminal) = (host::now(), io::stderr().is_terminal() && !drain.question.json);
        let progress = loop {
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
            if is_terminal {
                let _ = write!(io::stderr(), "\r\x1b[K{}", progress_line(progress));
            }
            let nothing_left = progress["in_flight"] == 0;
            let all_told = rows(&progress["missing_peers"]).is_empty();
            // A peer may hear of the drain a little later than the one that was asked.
            if nothing_left && began.elapsed() > if all_told { 3 * LOOK_EVERY } else { SILENT_MAX } {
                break progress.clone();
            }
            sleep(LOOK_EVERY).await;
        };
        if is_terminal {
            let _ = writeln!(io::stderr());
        }
        let silent = names(&progress["missing_peers"]);
        show(&drain.question, &json!({ "written": written, "drain": progress }), || match silent.is_empty() {
            true => drained(&drain.node, &progress),
            false => String::new(),
        })?;
        match silent.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(
                format_args!(
                    "node {} has nothing left at the peers that answer; no answer from {}",
                    drain.node,
                    silent.join(", ")
                ),
                "such a peer may still send it new work: see `evenkeel peers`, then say the same again",
            )),
        }
    })
}

/// What a drain came to once nothing is left.
fn drained(node: &str, progress: &Value) -> String {
    let cut = match progress["cut"].as_u64() {
        None | Some(0) => String::new(),
        Some(cut) => format!("; {cut} {} cut at the deadline", if cut == 1 { "was" } else { "were" }),
    };
    format!("node {node} is drained: nothing is left at any peer{cut}\n")
}

fn progress_line(progress: &Value) -> String {
    let by_peer: Vec<String> = rows(&progress["by_peer"])
        .iter()
        .filter(|peer| peer["in_flight"] != 0)
        .map(|peer| format!("{} {}", word(&peer["peer"]), word(&peer["in_flight"])))
        .collect();
    let shares = if by_peer.is_empty() { String::new() } else { format!(" ({})", by_peer.join(", ")) };
    let deadline = match progress["cut_in_ms"].as_u64() {
        None => ", no deadline".to_owned(),
        Some(ms) => format!(", what is left is cut in {} s", ms.div_ceil(1_000)),
    };
    let silent = match names(&progress["missing_peers"]) {
        silent if silent.is_empty() => String::new(),
        silent => format!(", no answer from {}", silent.join(", ")),
    };
    format!("{} left{shares}{deadline}{silent}", word(&progress["in_flight"]))
}

fn names(list: &Value) -> Vec<String> {
    rows(list).iter().map(word).collect()
}

/// `evenkeel undrain`
pub(super) fn undrain(undrain: &Undrain) -> Result<(), Failure> {
    let path = format!("/api/v1/nodes/{}/undrain", escaped(&undrain.node));
    let written = wait(write(&undrain.question.api, Method::POST, &path, Sent::default()))?;
    show(&undrain.question, &written, || written_text(&written))
}
