//! `evenkeel failover` and `events`: how failover stands, what is done by hand, and what happened.

use hyper::Method;
use serde_json::{Map, Value};

use super::args::{Direction, Events, Failover, FailoverCommand, Question};
use super::ask::{escaped, list, refused, rows, show, wait, word};
use super::change::{user, write};
use super::client::{Answer, Sent, get, send};
use super::outcome::Failure;
use super::table::Table;

/// `evenkeel failover`
pub(super) fn failover(failover: &Failover, colour: bool) -> Result<(), Failure> {
    let Some(command) = &failover.command else {
        let Answer { status, body } = wait(get(&failover.question.api, "/api/v1/failover"))?;
        if !status.is_success() {
            return Err(refused(&body));
        }
        return show(&failover.question, &body, || status_text(&body, colour));
    };
    match command {
        FailoverCommand::Move(asked) => {
            let mode = match (asked.graceful, asked.immediate) {
                (true, _) => Some("graceful"),
                (_, true) => Some("immediate"),
                _ => None,
            };
            let said = [
                ("to", asked.to.clone().map(Value::from)),
                ("mode", mode.map(Value::from)),
                ("ignore_limits", asked.ignore_limits.then_some(Value::Bool(true))),
            ];
            planned(&asked.question, &format!("/api/v1/nodes/{}/move", escaped(&asked.node)), said)
        }
        FailoverCommand::Scale(asked) => {
            let direction = match asked.direction {
                Direction::Up => "up",
                Direction::Down => "down",
            };
            let said = [("region", Some(Value::from(asked.region.clone()))), ("direction", Some(direction.into()))];
            planned(&asked.question, &format!("/api/v1/pools/{}/scale", escaped(&asked.pool)), said)
        }
        FailoverCommand::Trigger(asked) => {
            let said = [
                ("to", asked.to.clone().map(Value::from)),
                ("percent", asked.percent.map(Value::from)),
                ("duration", asked.duration.clone().map(Value::from)),
                ("reason", asked.reason.clone().map(Value::from)),
            ];
            let path = format!("/api/v1/regions/{}/shift", escaped(&asked.from));
            let done = format!("traffic of region {} is held away from it", asked.from);
            written(&asked.question, Method::POST, &path, Some(body(said)), &done)
        }
        FailoverCommand::Drill(asked) => {
            let said = [
                ("to", asked.to.clone().map(Value::from)),
                ("percent", asked.percent.map(Value::from)),
                ("duration", asked.duration.clone().map(Value::from)),
            ];
            let path = format!("/api/v1/regions/{}/drill", escaped(&asked.region));
            let done = format!(
                "a drill of region {} is held; `evenkeel events --region {0}` says what comes of it",
                asked.region
            );
            written(&asked.question, Method::POST, &path, Some(body(said)), &done)
        }
        FailoverCommand::Restore(asked) => {
            let path = format!("/api/v1/regions/{}/shift", escaped(&asked.region));
            written(&asked.question, Method::DELETE, &path, None, &format!("region {} has its traffic", asked.region))
        }
        FailoverCommand::Blacklist(asked) => {
            let said = [
                ("duration", asked.duration.clone().map(Value::from)),
                ("reason", asked.reason.clone().map(Value::from)),
            ];
            let path = format!("/api/v1/servers/{}/blacklist", escaped(&asked.server));
            let done = format!("no node is moved to server {}", asked.server);
            written(&asked.question, Method::POST, &path, Some(body(said)), &done)
        }
        FailoverCommand::Allow(asked) => {
            let path = format!("/api/v1/servers/{}/blacklist", escaped(&asked.server));
            let done = format!("nodes may be moved to server {}", asked.server);
            written(&asked.question, Method::DELETE, &path, None, &done)
        }
        FailoverCommand::Resolve(asked) => {
            let path = format!("/api/v1/failover/plans/{}/resolve", escaped(&asked.intent));
            planned(&asked.question, &path, [])
        }
    }
}

/// What was said, of what may be said.
fn body<const N: usize>(said: [(&str, Option<Value>); N]) -> Value {
    let said = said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(said.collect::<Map<String, Value>>())
}

/// Asks the leader for a plan. It is not asked again by itself: a plan that was made would be made twice.
fn planned<const N: usize>(question: &Question, path: &str, said: [(&str, Option<Value>); N]) -> Result<(), Failure> {
    let said = body(said);
    let mut sent = if said.as_object().is_some_and(Map::is_empty) { Sent::default() } else { Sent::json(&said) };
    sent.fields.extend(user());
    let Answer { status, body } = wait(send(&question.api, Method::POST, path, &sent))?;
    if !status.is_success() {
        return Err(not_planned(&body));
    }
    show(question, &body, || {
        if body["outcome"].is_string() {
            return format!("plan {} is settled\n", word(&body["intent"]));
        }
        let to = if body["to"].is_null() { String::new() } else { format!(" to server {}", word(&body["to"])) };
        let see = "`evenkeel failover` shows how far it is";
        format!("plan {} of node {}{to}; {see}\n{}", word(&body["intent"]), word(&body["node"]), candidates(&body))
    })
}

fn candidates(body: &Value) -> String {
    rows(&body["candidates"]).iter().map(|of| format!("  {}: {}\n", word(&of["server"]), word(&of["found"]))).collect()
}

/// Why there is no plan, with what was found of each server.
fn not_planned(body: &Value) -> Failure {
    let against = &body["error"]["against"];
    if against.is_null() {
        return refused(body);
    }
    let what = format!("{}\n{}", word(&body["error"]["message"]), candidates(against));
    let hint = match against["constraint"].as_str() {
        Some("moves_per_hour" | "cooldown") => "wait, or say it with --ignore-limits",
        Some("executor") => "`evenkeel check FILE` shows the drivers of a peer's file",
        _ => "`evenkeel failover` shows how things stand",
    };
    Failure::new(what.trim_end(), hint)
}

fn written(question: &Question, method: Method, path: &str, said: Option<Value>, done: &str) -> Result<(), Failure> {
    let sent = said.map_or_else(Sent::default, |said| Sent::json(&said));
    let written = wait(write(&question.api, method, path, sent))?;
    show(question, &written, || match written["changed"] == true {
        true => format!("{done}\n"),
        false => format!("{done}: it was so already\n"),
    })
}

fn status_text(status: &Value, colour: bool) -> String {
    let mut text = match status["leader"].as_str() {
        Some(leader) => format!("{leader} leads in term {}\n", word(&status["term"])),
        None => "nobody leads that this peer knows of: nothing is moved, shifted or scaled\n".to_owned(),
    };
    let mut section = |title: &str, columns: &[&str], list: &Value, row: &dyn Fn(&Value) -> Vec<String>| {
        if rows(list).is_empty() {
            return;
        }
        let mut table = Table::new(columns, colour);
        rows(list).iter().for_each(|of| table.row(row(of)));
        text += &format!("\n{title}\n{}", table.lines());
    };
    section("plans", &["PLAN", "", "NODE", "REGION", "FROM", "TO", "STEP", "WHY"], &status["plans"], &|of| {
        let keys = ["intent", "plan", "node", "region", "from", "to", "step", "trigger"];
        keys.iter().map(|key| word(&of[*key])).collect()
    });
    section("shifts", &["REGION", "TO", "KIND", ">STAYS", "SINCE", "UNTIL", "WHY"], &status["shifts"], &|of| {
        let stays = format!("{} %", word(&of["stays_percent"]));
        let of = |key: &str| word(&of[key]);
        vec![of("region"), of("to"), of("kind"), stays, of("since"), of("until"), of("why")]
    });
    section("drills", &["REGION", "NEXT", "LAST", "OUTCOME", "WHY"], &status["drills"], &|of| {
        let last = &of["last"];
        let at = if last["ended"].is_null() { &last["began"] } else { &last["ended"] };
        let outcome =
            if at.is_null() || !last["outcome"].is_null() { word(&last["outcome"]) } else { "under way".to_owned() };
        vec![word(&of["region"]), word(&of["next"]), word(at), outcome, word(&last["why"])]
    });
    section("moved", &["NODE", "SERVER", "ADDRESS"], &status["moved"], &|of| {
        ["node", "server", "address"].iter().map(|key| word(&of[*key])).collect()
    });
    section("started", &["NODE", "POOL", "REGION", "ADDRESS", "AT PEER"], &status["started"], &|of| {
        ["node", "pool", "region", "address", "peer"].iter().map(|key| word(&of[*key])).collect()
    });
    section("blacklisted", &["SERVER", "UNTIL", "WHY", "BY"], &status["blacklisted"], &|of| {
        ["server", "until", "reason", "by"].iter().map(|key| word(&of[*key])).collect()
    });
    section(
        "what became of the last plans",
        &["PLAN", "", "NODE", "FROM", "TO", "OUTCOME", "ENDED", "WHY", "FAILURE"],
        &status["attempts"],
        &|of| {
            let keys = ["intent", "plan", "node", "from", "to", "outcome", "ended", "trigger", "failure"];
            keys.iter().map(|key| word(&of[*key])).collect()
        },
    );
    text
}

/// `evenkeel events`
pub(super) fn events(events: &Events, colour: bool) -> Result<(), Failure> {
    let filters = [("kind", &events.kind), ("node", &events.node), ("region", &events.region)];
    let query: Vec<String> = filters
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={}&", escaped(value))))
        .collect();
    let body = wait(list(&events.question, "/api/v1/events", &query.concat()))?;
    show(&events.question, &body, || {
        let mut table = Table::new(&["AT", "KIND", "AT PEER", "WHAT"], colour);
        for event in rows(&body["items"]) {
            table.row(["at", "kind", "peer", "summary"].map(|key| word(&event[key])));
        }
        let mut text = table.lines();
        let missing: Vec<String> = rows(&body["missing_peers"]).iter().map(word).collect();
        if !missing.is_empty() {
            text += &format!("\nwithout what {} would say\n", missing.join(", "));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_said_is_not_sent() {
        assert_eq!(body([("to", None), ("mode", Some("graceful".into()))]), json!({ "mode": "graceful" }));
    }

    #[test]
    fn the_status_shows_what_there_is_and_nothing_else() {
        let empty = json!({ "leader": "ams-1", "term": 3, "plans": [], "attempts": [] });
        assert_eq!(status_text(&empty, false), "ams-1 leads in term 3\n");
        let plan = json!({ "intent": "i7", "plan": "move", "node": "us-1", "region": "us", "step": "act" });
        let text = status_text(&json!({ "leader": null, "plans": [plan] }), false);
        assert!(text.starts_with("nobody leads") && text.contains("i7") && !text.contains("shifts"), "{text}");
    }
}
