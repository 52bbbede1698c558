//! `evenkeel status`, `pools` and `nodes`: what a running peer says, as a table or as it is.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime;

use super::args::{Ask, Question};
use super::client::{Answer, get};
use super::outcome::Failure;
use super::table::Table;

/// How a peer is. Any answer is a good one here; whether the peer is well stands in it.
pub(super) fn status(ask: &Ask, colour: bool) -> Result<(), Failure> {
    let mut report = wait(async { get(&ask.question.api, "/api/health/detailed").await })?.body;
    if report["status"].is_null() {
        return Err(refused(&report));
    }
    if let Some(pool) = &ask.pool {
        only_pool(&mut report["pools"], pool)?;
        if let Some(listeners) = report["listeners"].as_array_mut() {
            listeners.retain(|listener| listener["pool"] == *pool);
        }
    }
    show(&ask.question, &report, || status_text(&report, colour))
}

/// The pools.
pub(super) fn pools(ask: &Ask, colour: bool) -> Result<(), Failure> {
    let mut list = wait(list(&ask.question, "/api/v1/pools", ""))?;
    if let Some(pool) = &ask.pool {
        only_pool(&mut list["items"], pool)?;
    }
    show(&ask.question, &list, || pools_table(rows(&list["items"]), colour))
}

/// The nodes.
pub(super) fn nodes(ask: &Ask, colour: bool) -> Result<(), Failure> {
    let query = ask.pool.as_ref().map_or(String::new(), |pool| format!("pool={}&", escaped(pool)));
    let list = wait(list(&ask.question, "/api/v1/nodes", &query))?;
    show(&ask.question, &list, || nodes_table(rows(&list["items"]), colour))
}

/// The peers.
pub(super) fn peers(question: &Question, colour: bool) -> Result<(), Failure> {
    let list = wait(list(question, "/api/v1/peers", ""))?;
    show(question, &list, || peers_text(rows(&list["items"]), colour))
}

/// Leaves of `pools` only the one of this name.
fn only_pool(pools: &mut Value, name: &str) -> Result<(), Failure> {
    /// More names are not listed.
    const NAMES_SHOWN_MAX: usize = 20;
    if rows(pools).iter().all(|pool| pool["name"] != name) {
        let names: Vec<String> = rows(pools).iter().map(|pool| word(&pool["name"])).collect();
        let hint = match names.len() {
            0 => "this peer has no pool".to_owned(),
            1..=NAMES_SHOWN_MAX => format!("its pools: {}", names.join(", ")),
            many => {
                format!("`evenkeel pools` lists all {many}, beginning with {}", names[..NAMES_SHOWN_MAX].join(", "))
            }
        };
        return Err(Failure::new(format_args!("this peer has no pool {name:?}"), hint));
    }
    if let Some(pools) = pools.as_array_mut() {
        pools.retain(|pool| pool["name"] == name);
    }
    Ok(())
}

/// Runs one question.
pub(super) fn wait<T>(question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error, "the system is short of memory or descriptors"))?;
    runtime.block_on(question)
}

/// A whole list, page by page. Whatever else stands in the answers is that of the last page.
pub(super) async fn list(question: &Question, path: &str, query: &str) -> Result<Value, Failure> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let Answer { status, mut body } = get(&question.api, &format!("{path}?{query}{after}")).await?;
        let Some(page) = body["items"].as_array_mut().filter(|_| status.is_success()) else {
            return Err(refused(&body));
        };
        items.append(page);
        match body["next"].as_str() {
            Some(next) => after = format!("after={}", escaped(next)),
            None => {
                body["items"] = Value::Array(items);
                return Ok(body);
            }
        }
    }
}

/// What the API said that was wrong.
pub(super) fn refused(body: &Value) -> Failure {
    let error = &body["error"];
    let what = error["message"].as_str().unwrap_or("the answer is not that of a peer's API");
    Failure::new(what, error["hint"].as_str().unwrap_or("check --api and EVENKEEL_API"))
}

pub(super) fn show(question: &Question, said: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if question.json {
        writeln!(out, "{said}")?;
    } else {
        out.write_all(text().as_bytes())?;
    }
    Ok(())
}

fn status_text(report: &Value, colour: bool) -> String {
    let peer = &report["peer"];
    let mut head = Table::new(&["PEER", "REGION", "STATUS", "READY", "UP FOR", "VERSION"], colour);
    let ready = if report["ready"] == true { "yes" } else { "no" };
    let up_for = Duration::from_secs(report["uptime_seconds"].as_u64().unwrap_or(0));
    head.row([
        word(&peer["id"]),
        word(&peer["region"]),
        word(&report["status"]),
        ready.to_owned(),
        format_duration(up_for),
        word(&peer["version"]),
    ]);
    let mut text = head.lines();
    text += &cluster_line(&report["cluster"]);
    text += &agreement_lines(&report["leader"], &report["catalog"]);
    for reason in rows(&report["reasons"]) {
        text += &format!("  {}\n", word(&reason["message"]));
    }

    let mut listeners =
        Table::new(&["LISTENER", "ADDRESS", "PROTOCOL", "POOL", ">OPEN", ">REQUESTS", ">REFUSED"], colour);
    for of in rows(&report["listeners"]) {
        let counts = &of["counts"];
        listeners.row([
            word(&of["name"]),
            word(&of["address"]),
            word(&of["protocol"]),
            word(&of["pool"]),
            word(&counts["connections_open"]),
            word(&counts["requests_total"]),
            word(&counts["requests_refused"]),
        ]);
    }
    let mut parts = Table::new(&["PART", "STATE", ">RESTARTS", "LAST FAILURE"], colour);
    for of in rows(&report["children"]) {
        parts.row([word(&of["name"]), word(&of["state"]), word(&of["restarts"]), word(&of["last_failure"])]);
    }
    for table in [listeners.lines(), pools_table(rows(&report["pools"]), colour), parts.lines()] {
        text.push('\n');
        text += &table;
    }
    text
}

/// The cluster in one line; nothing for a peer without one.
fn cluster_line(cluster: &Value) -> String {
    let Some(name) = cluster["name"].as_str() else { return String::new() };
    let peers = &cluster["peers"];
    let counts = ["alive", "suspect", "dead", "refused"].map(|state| (state, peers[state].as_u64().unwrap_or(0)));
    let counts: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(state, count)| format!("{count} {state}")).collect();
    let doubtful: Vec<String> = rows(&cluster["doubtful"]).iter().map(word).collect();
    let doubtful = if doubtful.is_empty() { String::new() } else { format!("; doubtful: {}", doubtful.join(", ")) };
    format!("  cluster {name}: peers {}{doubtful}\n", counts.join(", "))
}

/// Who leads and by which catalog the peer serves, in one line, and what is unwise about it below; nothing where the peer says
/// nothing of it.
fn agreement_lines(leader: &Value, catalog: &Value) -> String {
    if leader.is_null() {
        return String::new();
    }
    let who = leader["leader"]["id"].as_str().map_or_else(
        || format!("nobody leads, term {}", word(&leader["term"])),
        |id| format!("leader {id}, term {}", word(&leader["term"])),
    );
    let revision = match catalog["revision"].as_u64() {
        Some(revision) => format!("catalog revision {revision}"),
        None => "catalog of this peer's own file".to_owned(),
    };
    let behind = catalog["behind"]["revision"].as_u64();
    let behind = behind.map_or_else(String::new, |newest| format!(", behind revision {newest}"));
    let mut text = format!("  {who}; {revision}{behind}\n");
    for warning in rows(&leader["warnings"]) {
        text += &format!("  warning: {}\n", word(warning));
    }
    text
}

fn pools_table(pools: &[Value], colour: bool) -> String {
    let columns = [
        "POOL",
        "STRATEGY",
        "CHECK",
        ">NODES",
        ">UP",
        ">DEGRADED",
        ">DOWN",
        ">UNKNOWN",
        ">IN FLIGHT",
        ">WAITING",
        ">RETRIES",
    ];
    let mut table = Table::new(&columns, colour);
    for of in pools {
        let nodes = &of["nodes"];
        table.row([
            word(&of["name"]),
            word(&of["strategy"]),
            word(&of["check"]),
            word(&nodes["total"]),
            word(&nodes["up"]),
            word(&nodes["degraded"]),
            word(&nodes["down"]),
            word(&nodes["unknown"]),
            word(&of["in_flight"]),
            word(&of["waiting"]),
            word(&of["retries_total"]),
        ]);
    }
    table.lines()
}

/// The peers, and below them what to do about those that were refused.
fn peers_text(peers: &[Value], colour: bool) -> String {
    let columns = ["PEER", "REGION", "STATE", "ADDRESS", "API", ">ROUND TRIP", ">HEARD", "SOFTWARE"];
    let mut table = Table::new(&columns, colour);
    let mut hints: Vec<String> = Vec::new();
    for of in peers {
        let notes = [(&of["leaving"], "leaving"), (&of["doubtful"], "doubtful")];
        let notes: String =
            notes.iter().filter(|(set, _)| **set == true).map(|(_, note)| format!(", {note}")).collect();
        table.row([
            word(&of["id"]),
            word(&of["region"]),
            format!("{}{notes}", word(&of["state"])),
            word(&of["addresses"][0]),
            word(&of["api"]),
            number(&of["link"]["rtt_ms"], " ms"),
            if of["this"] == true { "this peer".to_owned() } else { ago(&of["last_heard_ms"]) },
            word(&of["software"]),
        ]);
        let refused = &of["refused"];
        if refused.is_object() {
            let by = if refused["by"] == "this" { "refused by this peer" } else { "it refused this peer" };
            hints.push(format!(
                "  {}  {by}, {} times: {}\n    {}\n",
                word(&of["addresses"][0]),
                word(&refused["count"]),
                word(&refused["reason"]),
                word(&refused["hint"]),
            ));
        }
    }
    let mut text = table.lines();
    text.extend(hints);
    text
}

/// Milliseconds since something, in the words that people use.
fn ago(ms: &Value) -> String {
    ms.as_u64().map_or_else(
        || "-".to_owned(),
        |ms| match ms {
            0..10_000 => format!("{ms} ms"),
            _ => format_duration(Duration::from_millis(ms)),
        },
    )
}

fn nodes_table(nodes: &[Value], colour: bool) -> String {
    let columns = [
        "NODE",
        "POOL",
        "REGION",
        "ADDRESS",
        "VERDICT",
        "LOCAL",
        ">WEIGHT",
        ">SCORE",
        ">LATENCY",
        ">IN FLIGHT",
        ">REQUESTS",
    ];
    let mut table = Table::new(&columns, colour);
    for of in nodes {
        let admin = of["state"]["admin"].as_str().filter(|admin| *admin != "enabled");
        table.row([
            word(&of["id"]),
            word(&of["pool"]),
            word(&of["region"]),
            word(&of["address"]),
            word(&of["state"]["verdict"]),
            admin.map_or_else(|| word(&of["state"]["local"]), ToOwned::to_owned),
            number(&of["effective_weight"], ""),
            number(&of["health_score"], ""),
            number(&of["latency_ms"], " ms"),
            word(&of["in_flight"]),
            word(&of["totals"]["requests"]),
        ]);
    }
    table.lines()
}

pub(super) fn rows(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A value as people read it; what is not known is a dash.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // Nothing that came over a wire may move the cursor.
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => other.to_string(),
    }
}

/// A number with one digit behind the point, and its unit.
fn number(value: &Value, unit: &str) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.1}{unit}"))
}

fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, _, _) => format!("{days}d {hours}h"),
    }
}

/// A value for a query (RFC 3986 section 2.3: what is unreserved stands for itself).
pub(super) fn escaped(value: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn node(id: &str, verdict: &str, latency: &Value) -> Value {
        json!({
            "id": id, "pool": "web", "region": "default", "address": "10.0.0.1:80",
            "state": {"admin": "enabled", "verdict": verdict, "local": "admitted"}, "effective_weight": 1.0,
            "health_score": 98.5, "latency_ms": latency, "in_flight": 2, "totals": {"requests": 31}
        })
    }

    #[test]
    fn nodes_are_a_table_and_what_is_not_known_is_a_dash() {
        let shown = nodes_table(&[node("web-1", "up", &json!(1.25)), node("web-2", "unknown", &Value::Null)], false);
        let expected = "\
NODE   POOL  REGION   ADDRESS      VERDICT  LOCAL     WEIGHT  SCORE  LATENCY  IN FLIGHT  REQUESTS
web-1  web   default  10.0.0.1:80  up       admitted     1.0   98.5   1.2 ms          2        31
web-2  web   default  10.0.0.1:80  unknown  admitted     1.0   98.5        -          2        31
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn status_shows_what_is_wrong_below_the_peer() {
        let report = json!({
            "status": "degraded", "ready": true, "uptime_seconds": 3_725,
            "reasons": [{"code": "pool_without_usable_nodes", "message": "no node of pool web is usable"}],
            "peer": {"id": "ams-1", "region": "default", "version": "0.1.0"},
            "children": [{"name": "view", "state": "running", "restarts": 0, "last_failure": null}],
            "listeners": [], "pools": []
        });
        let shown = status_text(&report, false);
        assert!(shown.contains("ams-1  default  degraded  yes    1h 2m   0.1.0"), "{shown}");
        assert!(shown.contains("\n  no node of pool web is usable\n"), "{shown}");
        assert!(shown.contains("view  running         0  -"), "{shown}");
    }

    #[test]
    fn status_says_in_one_line_who_leads_and_by_which_catalog_the_peer_serves() {
        let leader = |id: &Value| json!({"leader": id, "term": 3, "warnings": []});
        let led = leader(&json!({"id": "ams-1"}));
        for (leader, catalog, line) in [
            (&led, json!({"revision": 5, "behind": null}), "  leader ams-1, term 3; catalog revision 5\n"),
            (
                &led,
                json!({"revision": 5, "behind": {"revision": 7}}),
                "  leader ams-1, term 3; catalog revision 5, behind revision 7\n",
            ),
            (
                &leader(&Value::Null),
                json!({"revision": null, "behind": null}),
                "  nobody leads, term 3; catalog of this peer's own file\n",
            ),
        ] {
            assert_eq!(agreement_lines(leader, &catalog), line);
        }
        let warned = json!({"leader": null, "term": 0, "warnings": ["two electors"]});
        assert!(agreement_lines(&warned, &Value::Null).ends_with("\n  warning: two electors\n"));
        assert_eq!(agreement_lines(&Value::Null, &Value::Null), "", "a peer of an older version");
    }

    #[test]
    fn a_pool_that_does_not_exist_is_answered_with_those_that_do() {
        let mut pools = json!([{"name": "api", "in_flight": 1}, {"name": "web", "in_flight": 2}]);
        let Err(Failure::Failed { what, hint }) = only_pool(&mut pools, "nope") else { panic!("it is none of them") };
        assert_eq!((what.as_str(), hint.as_str()), ("this peer has no pool \"nope\"", "its pools: api, web"));
        only_pool(&mut pools, "web").unwrap();
        assert_eq!(pools, json!([{"name": "web", "in_flight": 2}]));

        let mut many = Value::Array((0..30).map(|n| json!({"name": format!("p{n}")})).collect());
        let Err(Failure::Failed { hint, .. }) = only_pool(&mut many, "nope") else { panic!("it is none of them") };
        assert!(
            hint.starts_with("`evenkeel pools` lists all 30, beginning with p0, ") && !hint.contains("p20"),
            "{hint}"
        );
    }

    #[tokio::test]
    async fn a_long_list_is_asked_for_page_by_page_and_a_refusal_is_told_in_its_own_words() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = server.local_addr().unwrap().to_string();
        let question = Question { api: api.parse().unwrap(), json: true };
        let answers = async {
            let mut asked = Vec::new();
            for (status, body) in [
                ("200 OK", json!({"items": [1, 2], "next": "b c"})),
                ("200 OK", json!({"items": [3], "next": null, "missing_peers": []})),
                (
                    "404 Not Found",
                    json!({"error": {"code": "unknown_pool", "message": "no such pool", "hint": "look"}}),
                ),
            ] {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut head = vec![0; 4_096];
                let length = stream.read(&mut head).await.unwrap();
                asked.push(String::from_utf8_lossy(&head[..length]).lines().next().unwrap().to_owned());
                let body = body.to_string();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        };
        let questions = async {
            let whole = list(&question, "/api/v1/nodes", "").await.unwrap();
            let refused = list(&question, "/api/v1/nodes", "pool=x&").await.unwrap_err();
            (whole, refused)
        };
        let (asked, (whole, refused)) = tokio::join!(answers, questions);
        assert_eq!(whole, json!({"items": [1, 2, 3], "next": null, "missing_peers": []}));
        assert!(matches!(refused, Failure::Failed { what, hint } if what == "no such pool" && hint == "look"));
        let asked: Vec<_> = asked.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(asked, ["/api/v1/nodes?", "/api/v1/nodes?after=b%20c", "/api/v1/nodes?pool=x&"]);
    }

    #[test]
    fn peers_are_a_table_and_below_it_stands_what_to_do_about_those_refused() {
        let peer = |id: &str, state: &str| {
            json!({
                "id": id, "region": "eu-west", "state": state, "this": id == "ams-1", "addresses": ["10.0.0.1:7940"],
                "api": "127.0.0.1:8080", "software": "evenkeel 0.1.0", "leaving": id == "fra-1", "doubtful": id == "fra-1",
                "last_heard_ms": if id == "ams-1" { Value::Null } else { json!(if state == "dead" { 95_000 } else { 40 }) },
                "link": if state == "dead" || id == "ams-1" { Value::Null } else { json!({"rtt_ms": 1.25}) }
            })
        };
        let refused = json!({
            "id": null, "region": null, "state": "refused", "this": false, "addresses": ["10.0.0.9:5000"],
            "last_heard_ms": 5, "link": null,
            "refused": {"reason": "wrong_key", "hint": "give both the same file", "by": "this", "count": 3}
        });
        let text = peers_text(&[refused, peer("ams-1", "alive"), peer("fra-1", "alive"), peer("waw-1", "dead")], false);
        let told: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let expected = [
            "PEER REGION STATE ADDRESS API ROUND TRIP HEARD SOFTWARE",
            "- - refused 10.0.0.9:5000 - - 5 ms -",
            "ams-1 eu-west alive 10.0.0.1:7940 127.0.0.1:8080 - this peer evenkeel 0.1.0",
            "fra-1 eu-west alive, leaving, doubtful 10.0.0.1:7940 127.0.0.1:8080 1.2 ms 40 ms evenkeel 0.1.0",
            "waw-1 eu-west dead 10.0.0.1:7940 127.0.0.1:8080 - 1m 35s evenkeel 0.1.0",
            "10.0.0.9:5000 refused by this peer, 3 times: wrong_key",
            "give both the same file",
        ];
        assert_eq!(told, expected.map(words), "\n{text}");
    }

    #[test]
    fn what_came_over_the_wire_cannot_move_the_cursor() {
        assert_eq!(word(&json!("a\u{1b}[2Jb\n")), "a [2Jb ");
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(escaped("web-1 &x=ä"), "web-1%20%26x%3D%C3%A4");
    }
}
