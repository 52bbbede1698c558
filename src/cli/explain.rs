//! `evenkeel explain`: what would become of a request, and why.

use serde_json::Value;

use super::args::Explain;
use super::ask::{escaped, refused, rows, show, wait, word};
use super::client::get;
use super::outcome::Failure;
use super::table::Table;

/// Asks a peer, and tells what it says.
pub(super) fn explain(asked: &Explain, colour: bool) -> Result<(), Failure> {
    let mut query = Vec::new();
    let mut add =
        |name: &str, value: Option<&str>| query.extend(value.map(|value| format!("{name}={}", escaped(value))));
    add("url", asked.url.as_deref());
    add("method", asked.method.as_deref());
    add("from", asked.from.as_deref());
    add("listener", asked.listener.as_deref());
    asked.header.iter().for_each(|field| add("header", Some(field)));
    let path = format!("/api/v1/explain?{}", query.join("&"));
    let answer = wait(async { get(&asked.question.api, &path).await })?.body;
    if answer["end"].is_null() {
        return Err(refused(&answer));
    }
    show(&asked.question, &answer, || text(&answer, colour))
}

fn text(answer: &Value, colour: bool) -> String {
    let mut lines = vec![format!(
        "at {}, listener {}, for {} in region {}",
        word(&answer["peer"]),
        word(&answer["listener"]),
        word(&answer["client"]),
        word(&answer["client_region"]),
    )];
    let routes: Vec<String> = rows(&answer["routes"]).iter().map(|route| word(&route["name"])).collect();
    lines.push(if routes.is_empty() { "no route fits".to_owned() } else { format!("routes: {}", routes.join(", ")) });
    lines.extend(rows(&answer["limits"]).iter().map(limit));
    lines.extend(rows(&answer["routes"]).iter().flat_map(beside));
    lines.push(end(answer));
    let mut table = Table::new(
        &["NODE", "REGION", "TURN", ">SCORE", ">WEIGHT", ">LATENCY", ">IN FLIGHT", "HELD AGAINST IT"],
        colour,
    );
    for node in rows(&answer["candidates"]) {
        let picked = node["picked"] == true;
        let against: Vec<String> = rows(&node["excluded"]).iter().map(held).collect();
        let latency = node["latency_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        table.row([
            format!("{}{}", word(&node["id"]), if picked { " *" } else { "" }),
            word(&node["region"]),
            word(&node["rank"]).replace('_', " "),
            word(&node["health_score"]),
            word(&node["effective_weight"]),
            latency,
            word(&node["in_flight"]),
            if against.is_empty() { "-".to_owned() } else { against.join("; ") },
        ]);
    }
    if !rows(&answer["candidates"]).is_empty() {
        lines.push(String::new());
        lines.push(table.lines());
    }
    lines.join("\n")
}

/// Who else gets something of it by a route, in words.
fn beside(route: &Value) -> Vec<String> {
    let name = word(&route["name"]);
    let check = &route["check"];
    let asked = check.is_object().then(|| {
        let (pool, path) = (word(&check["pool"]), word(&check["path"]));
        format!("route {name} asks pool {pool} at {path} before it goes on; nobody was asked now")
    });
    let copied = route["mirror"]
        .as_str()
        .map(|pool| format!("route {name} has pool {pool} get a copy of it; none was sent now"));
    asked.into_iter().chain(copied).collect()
}

/// How the client stands with a limit, in words.
fn limit(limit: &Value) -> String {
    let what = match limit["limit"].as_str() {
        Some("rate") => {
            format!("{} with a burst of {}, {} left", word(&limit["rate"]), word(&limit["burst"]), word(&limit["left"]))
        }
        _ => format!("{} at the same time, {} in flight", word(&limit["max"]), word(&limit["in_flight"])),
    };
    let refuses = if limit["refuses"].is_null() {
        String::new()
    } else {
        format!("; it refuses with {} now", word(&limit["refuses"]))
    };
    format!("limit of route {}, per {}: {what}{refuses}", word(&limit["route"]), word(&limit["per"]))
}

/// Where its way ends, in words.
fn end(answer: &Value) -> String {
    let end = &answer["end"];
    let by = match answer["ended_by"].as_str() {
        Some(route) => format!("route {route}"),
        None => "the listener".to_owned(),
    };
    let status = word(&end["status"]);
    match end["action"].as_str().unwrap_or_default() {
        "malformed" => format!("the listener refuses it with {status}: {}", word(&end["reason"])),
        "redirect" => format!("{by} answers {status} and sends the client to {}", word(&end["location"])),
        "answer" => format!("{by} answers {status} itself"),
        "health" => "the peer says how it is itself (health_path of the listener)".to_owned(),
        "refuse" => format!("{by} refuses it with {status}"),
        "reset" => format!("{by} resets the connection"),
        "file" => format!("{by} answers with a file of the folder {}", end["folder"].as_str().unwrap_or_default()),
        _ => {
            let regions: Vec<String> = rows(&end["regions"]).iter().map(word).collect();
            let looked =
                if regions.is_empty() { String::new() } else { format!(", looking in {}", regions.join(", then ")) };
            let fallback =
                end["fallback"].as_str().map_or(String::new(), |pool| format!("; if that fails, to pool {pool}"));
            let node = match (end["node"].as_str(), end["none_because"].as_str()) {
                (Some(node), _) if end["home"] == end["node"] => format!("node {node}, the home of its session"),
                (Some(node), _) => format!("this time node {node}"),
                (None, Some("full")) => "every node is full, it waits".to_owned(),
                (None, Some("over_capacity")) => "no region takes one more now: 503".to_owned(),
                (None, _) => "no node can be used: 503".to_owned(),
            };
            format!("{by} sends it to pool {}{looked}: {node}{fallback}", word(&end["pool"]))
        }
    }
}

fn held(against: &Value) -> String {
    let by: Vec<String> = rows(&against["by"]).iter().map(word).collect();
    let reason = word(&against["reason"]).replace('_', " ");
    if by.is_empty() { reason } else { format!("{reason} (says {})", by.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_becomes_of_a_request_is_told_in_words() {
        let answer = json!({
            "peer": "ams-1", "listener": "web", "client": "203.0.113.7", "client_region": "eu",
            "routes": [{"name": "api", "priority": 10, "check": {"pool": "auth", "path": "/ok"}, "mirror": "shadow"}], "ended_by": "api",
            "end": {"action": "forward", "pool": "web", "node": "web-1", "regions": ["eu", "us"], "fallback": "spare"},
            "limits": [
                {"limit": "rate", "route": "api", "per": "client_ip", "rate": "10/s", "burst": 20, "left": 0, "wait_ms": 5.0,
                 "refuses": 429},
                {"limit": "connections", "route": "api", "per": "route", "max": 9, "in_flight": 2, "refuses": null},
            ],
            "candidates": [
                {"id": "web-1", "region": "eu", "rank": "usable", "picked": true, "health_score": 99.5, "effective_weight": 1.0,
                 "latency_ms": 1.25, "in_flight": 3, "excluded": []},
                {"id": "web-2", "region": "us", "rank": "last_resort", "picked": false, "health_score": 50.0,
                 "effective_weight": 1.0, "latency_ms": null, "in_flight": 0,
                 "excluded": [{"reason": "down", "by": ["ams-1", "fra-1"]}]},
            ],
        });
        let text = text(&answer, false);
        for part in [
            "limit of route api, per client_ip: 10/s with a burst of 20, 0 left; it refuses with 429 now",
            "limit of route api, per route: 9 at the same time, 2 in flight\n",
            "route api asks pool auth at /ok before it goes on; nobody was asked now\n",
            "route api has pool shadow get a copy of it; none was sent now\n",
            "at ams-1, listener web, for 203.0.113.7 in region eu",
            "route api sends it to pool web, looking in eu, then us: this time node web-1; if that fails, to pool spare",
            "web-1 *",
            "last resort",
            "down (says ams-1, fra-1)",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let end_of = |said: Value| end(&json!({"ended_by": null, "end": said}));
        let at_home =
            end_of(json!({"action": "forward", "pool": "web", "node": "web-1", "home": "web-1", "regions": []}));
        assert_eq!(at_home, "the listener sends it to pool web: node web-1, the home of its session");
    }
}
