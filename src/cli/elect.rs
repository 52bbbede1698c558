//! `evenkeel leader` and `electors`: who leads, who votes, and how that is changed.

use hyper::Method;
use serde_json::{Value, json};

use super::args::{Electors, ElectorsCommand, Question};
use super::ask::{escaped, refused, rows, show, wait, word};
use super::change::{confirm, user};
use super::client::{Answer, Sent, get, send};
use super::outcome::Failure;
use super::table::Table;

/// `evenkeel leader`
pub(super) fn leader(question: &Question, colour: bool) -> Result<(), Failure> {
    let Answer { status, body } = wait(get(&question.api, "/api/v1/leader"))?;
    if !status.is_success() {
        return Err(refused(&body));
    }
    show(question, &body, || leader_text(&body, colour))
}

fn leader_text(body: &Value, colour: bool) -> String {
    let leader = &body["leader"];
    let mut text = match leader["id"].as_str() {
        Some(id) => format!("{id} leads in term {}, known here since {}\n", word(&body["term"]), word(&body["since"])),
        None => format!("nobody leads that this peer knows of, in term {}\n", word(&body["term"])),
    };
    if !body["waits_for"].is_null() {
        text += &format!("  waiting: {}\n", word(&body["waits_for"]));
    }
    for warning in rows(&body["warnings"]) {
        text += &format!("  warning: {}\n", word(warning));
    }
    text.push('\n');
    text + &electors_table(rows(&body["electors"]), colour)
}

fn electors_table(electors: &[Value], colour: bool) -> String {
    let mut table = Table::new(&["ELECTOR", "STATE"], colour);
    for of in electors {
        let state = if of["state"].is_null() { "never met".to_owned() } else { word(&of["state"]) };
        table.row([word(&of["id"]), state]);
    }
    table.lines()
}

/// `evenkeel electors`
pub(super) fn electors(electors: &Electors, colour: bool) -> Result<(), Failure> {
    let (question, answer) = match &electors.command {
        None => (&electors.question, wait(get(&electors.question.api, "/api/v1/electors"))?),
        Some(ElectorsCommand::Add(elector)) => {
            let mut sent = Sent::json(&json!({ "id": elector.peer }));
            sent.fields.extend(user());
            (&elector.question, wait(send(&elector.question.api, Method::POST, "/api/v1/electors", &sent))?)
        }
        Some(ElectorsCommand::Remove(elector)) => {
            let path = format!("/api/v1/electors/{}", escaped(&elector.peer));
            let mut sent = Sent::default();
            sent.fields.extend(user());
            (&elector.question, wait(send(&elector.question.api, Method::DELETE, &path, &sent))?)
        }
        Some(ElectorsCommand::Forget(elector)) => {
            if !elector.yes {
                let what = format!(
                    "is {} gone for good? Should it come back, two leaders may stand. Forget it?",
                    elector.peer
                );
                confirm(&elector.question, &what)?;
            }
            let path = format!("/api/v1/electors/{}?forget=true", escaped(&elector.peer));
            (&elector.question, wait(send(&elector.question.api, Method::DELETE, &path, &Sent::default()))?)
        }
    };
    let Answer { status, body } = answer;
    if !status.is_success() {
        return Err(refused(&body));
    }
    show(question, &body, || match body["electors"].as_array() {
        // The answer to a change.
        Some(ids) => {
            let ids: Vec<String> = ids.iter().map(word).collect();
            let warning = body["warning"].as_str().map_or_else(String::new, |warning| format!("warning: {warning}\n"));
            let here = if body["here_alone"] == true {
                ", as this peer sees it; say the same at every peer that is left"
            } else {
                ""
            };
            format!("electors: {}{here}\n{warning}", ids.join(", "))
        }
        None => {
            let mut text = electors_table(rows(&body["items"]), colour);
            for warning in rows(&body["warnings"]) {
                text += &format!("  warning: {}\n", word(warning));
            }
            text
        }
    })
}
