//! The catalog from the command line: what an operator sees, what a script can rely on, and the exit codes.

use std::path::PathBuf;

use cluster_tests::node::TestNode;
use cluster_tests::peer::{Peer, Printed, evenkeel};
use cluster_tests::raw::Raw;
use cluster_tests::settings::{Pool, Settings};
use cluster_tests::wait::wait_until;
use serde_json::{Value, json};

/// A cluster of one, called `ams-1`, whose catalog changes only when it is asked to; pool `web` is of one node.
struct Shop {
    peer: Peer,
    node: TestNode,
}

impl Shop {
    #[track_caller]
    fn open() -> Self {
        let node = TestNode::start("a");
        let settings = Settings::one("web", "http", [node.address()]).peer_line("id = \"ams-1\"");
        let peer = Peer::start_file(&format!("{}[catalog]\nfollow_file = false\n", settings.evenkeel_toml()), &[]);
        let shop = Self { peer, node };
        wait_until("the first catalog", || shop.revision() == 1);
        shop
    }

    /// Runs `evenkeel` towards this peer, where there is no terminal.
    fn run(&self, arguments: &[&str]) -> Printed {
        let api = self.peer.api().to_string();
        evenkeel(arguments, &[("EVENKEEL_API", &api), ("LOGNAME", "ada")])
    }

    /// What a command prints that ends well.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let Printed { status, out, err } = self.run(arguments);
        assert_eq!((status.code(), err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
        out
    }

    /// The same for programs: one JSON value and nothing else.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.says(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// What a command says that fails, always with what to do below.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let Printed { status, err, .. } = self.run(arguments);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.lines().count() > 1, "a hint stands below: {err}");
        err
    }

    /// A file beside the settings of the peer.
    fn file(&mut self, name: &str, toml: &str) -> String {
        let path: PathBuf = self.peer.process().folder().join(name);
        std::fs::write(&path, toml).expect("a temporary folder takes a file");
        path.to_str().expect("a path of ASCII").to_owned()
    }

    /// A file whose pool `web` has this strategy and one node more.
    fn wanted(&mut self, strategy: &str) -> String {
        let addresses = [self.node.address(), self.node.address()];
        let pool = Pool::new("web").unchecked().line(format!("strategy = {strategy:?}")).nodes(addresses);
        let toml = Settings::default().serve("http", pool).evenkeel_toml();
        self.file("wanted.toml", &toml)
    }

    #[track_caller]
    fn revision(&self) -> u64 {
        self.peer.json("/api/v1/catalog")["revision"].as_u64().unwrap_or(0)
    }
}

#[test]
fn apply_shows_the_difference_first_and_changes_nothing_without_a_yes() {
    let mut shop = Shop::open();
    let file = shop.wanted("random");
    let unasked = shop.run(&["apply", &file]);
    assert_eq!(unasked.status.code(), Some(1), "{unasked:?}");
    for line in ["~ pool \"web\"", "    strategy: \"random\"", "+ node \"web-2\" of pool \"web\""] {
        assert!(unasked.out.lines().any(|said| said == line), "{line}: {}", unasked.out);
    }
    assert!(unasked.err.contains("no terminal") && unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(shop.says(&["apply", &file, "--dry-run"]), unasked.out);
    assert_eq!(shop.says(&["catalog", "diff", &file]), unasked.out);
    let looked = shop.json(&["apply", &file, "--dry-run"]);
    assert_eq!((&looked["changed"], looked["difference"]["changes"].as_array().unwrap().len()), (&json!(false), 2));
    assert_eq!(shop.json(&["catalog", "diff", &file]), looked["difference"]);
    let unasked = shop.run(&["apply", &file, "--json"]);
    assert_eq!((unasked.status.code(), unasked.out.as_str()), (Some(1), ""));
    shop.fails(&["apply", &file, "--yes", "--dry-run"], 64);
    assert_eq!(shop.revision(), 1);

    let applied = shop.says(&["apply", &file, "--yes"]);
    assert!(applied.ends_with("revision 2\n"), "{applied}");
    assert_eq!(shop.peer.json("/api/v1/pools/web")["strategy"], "random");
    let again = shop.says(&["apply", &file]);
    assert!(again.ends_with("nothing to change: the catalog is as the file has it\n"), "{again}");
    assert_eq!(shop.json(&["apply", &file])["changed"], false);
    assert_eq!(shop.revision(), 2);
    let file = shop.wanted("p2c");
    let applied = shop.json(&["apply", &file, "--yes"]);
    assert_eq!((&applied["changed"], &applied["written"]["revision"]), (&json!(true), &json!(3)), "{applied}");
}

#[test]
fn a_file_with_faults_is_refused_with_all_of_them_and_a_misspelt_section_is_no_pool_less() {
    let mut shop = Shop::open();
    let misspelt = shop.file("misspelt.toml", "[[pol]]\nname = \"web\"\n");
    let none = shop.file("none.toml", "[peer]\nid = \"x\"\n");
    let broken = shop.file("broken.toml", "[[pool]]\nname = web\n");
    for command in [&["apply"][..], &["catalog", "diff"]] {
        let of = |file: &str| shop.fails(&[command, &[file]].concat(), 64);
        let said = of(&misspelt);
        assert!(said.contains("line 1: pol") && said.contains("did you mean pool?"), "{said}");
        assert!(of(&none).contains("no catalog part"));
        assert!(of(&broken).contains("line 2"));
        assert!(of("/nowhere/evenkeel.toml").contains("/nowhere/evenkeel.toml"));
    }
    let faulty = shop.file(
        "faulty.toml",
        "[[pool]]\nname = \"web\"\nstrategy = \"rond_robin\"\nretires = 3\n[[pool.node]]\nid = \"web-1\"\naddress = \"10.0.0.1\"\n",
    );
    let said = shop.fails(&["apply", &faulty, "--yes"], 1);
    for part in ["3 faults", "strategy", "rond_robin", "retires", "did you mean retries?", "address", "port"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(shop.revision(), 1);
}

#[test]
fn the_catalog_is_shown_with_its_history_and_goes_back() {
    let mut shop = Shop::open();
    let shown: Value = serde_json::from_str(&shop.says(&["catalog", "show"])).expect("what users want, as JSON");
    assert_eq!(shop.json(&["catalog", "show"])["desired"], shown);
    let file = shop.wanted("random");
    shop.says(&["apply", &file, "--yes"]);
    let history = shop.says(&["catalog", "history"]);
    let rows: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["REVISION", "AT", "BY", "THROUGH", "WHAT"]);
    let cells = |row: &[&str]| [row[0], row[2], row[3], row[4]].map(str::to_owned);
    assert_eq!(cells(&rows[1]), ["2", "ada", "ams-1", "apply"], "{history}");
    assert_eq!(rows.len(), 3, "{history}");
    assert_eq!(shop.json(&["catalog", "history"])["items"][0]["revision"], 2);

    let unasked = shop.fails(&["catalog", "rollback", "1"], 1);
    assert!(unasked.contains("--yes"), "{unasked}");
    let unknown = shop.fails(&["catalog", "rollback", "9", "--yes"], 1);
    assert!(unknown.contains("no revision \"9\"") && unknown.contains("the history has 1, 2"), "{unknown}");
    let back = shop.says(&["catalog", "rollback", "1", "--yes"]);
    assert!(back.contains("- node \"web-2\"") && back.ends_with("revision 3\n"), "{back}");
    assert_eq!(shop.json(&["catalog", "show"])["desired"], shown);
    let back = shop.json(&["catalog", "rollback", "2", "--yes"]);
    assert_eq!(back["written"]["revision"], 4, "{back}");
    shop.fails(&["catalog"], 64);
}

#[test]
fn a_drain_waits_until_nothing_is_left_or_its_time_is_over() {
    let shop = Shop::open();
    let listener = shop.peer.listener("web");
    let in_flight = || shop.peer.json("/api/v1/nodes/web-1")["in_flight"].clone();
    let mut long = Raw::connect(listener);
    long.send("GET /delay/4000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    wait_until("the long request", || in_flight() == 1);
    assert_eq!(shop.says(&["drain", "web-1"]), "node web-1 is drained: nothing is left at any peer\n");
    assert_eq!(in_flight(), 0);
    assert_eq!(long.answer("GET").expect("nothing is cut").status, 200, "its answer had come by then");
    assert_eq!(Raw::connect(listener).get("/").status, 503);
    let nodes = shop.says(&["nodes"]);
    assert!(nodes.contains("draining"), "{nodes}");
    assert_eq!(shop.says(&["undrain", "web-1"]), "revision 3\n");
    assert_eq!(Raw::connect(listener).get("/").status, 200);
    assert_eq!(shop.says(&["undrain", "web-1"]), "nothing changed; revision 3 stays\n");

    let mut endless = Raw::connect(listener);
    endless.send("GET /freeze HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    wait_until("the endless request", || in_flight() == 1);
    assert_eq!(shop.says(&["drain", "web-1", "--no-wait"]), "revision 4\n");
    assert_eq!(in_flight(), 1, "nobody waited, and nothing is cut");
    assert_eq!(shop.json(&["undrain", "web-1"])["revision"], 5);
    let drained = shop.json(&["drain", "web-1", "--timeout", "200ms"]);
    assert_eq!(drained["written"]["revision"], 6, "{drained}");
    assert_eq!((&drained["drain"]["in_flight"], &drained["drain"]["cut"]), (&json!(0), &json!(1)), "{drained}");
    assert_eq!(
        shop.says(&["drain", "web-1", "--timeout", "200ms"]),
        "node web-1 is drained: nothing is left at any peer; 1 was cut at the deadline\n"
    );
    assert_eq!(shop.json(&["drain", "web-1", "--timeout", "200ms", "--no-wait"])["changed"], false);

    assert!(shop.fails(&["drain", "web-9"], 1).contains("web-9"));
    assert!(shop.fails(&["undrain", "web-9"], 1).contains("web-9"));
    assert!(shop.fails(&["drain", "web-1", "--timeout", "soon"], 1).contains("timeout"));
}

#[test]
fn who_leads_and_who_votes_is_told_and_a_stranger_is_no_elector() {
    let shop = Shop::open();
    let leader = shop.says(&["leader"]);
    assert!(leader.starts_with("ams-1 leads in term ") && leader.contains("ELECTOR"), "{leader}");
    assert_eq!(shop.json(&["leader"])["leader"]["id"], "ams-1");
    let electors = shop.says(&["electors"]);
    assert!(electors.lines().any(|line| line.split_whitespace().eq(["ams-1", "alive"])), "{electors}");
    assert_eq!(shop.json(&["electors"])["items"][0]["id"], "ams-1");
    for command in [&["electors", "add", "ams-2"], &["electors", "remove", "ams-1"], &["electors", "remove", "ams-2"]] {
        shop.fails(command, 1);
    }
    shop.fails(&["electors", "add"], 64);
    assert_eq!(shop.json(&["electors"])["items"].as_array().unwrap().len(), 1);

    let status = shop.says(&["status"]);
    let term = shop.json(&["leader"])["term"].clone();
    assert!(status.contains(&format!("\n  leader ams-1, term {term}; catalog revision 1\n")), "{status}");
    let status = shop.json(&["status"]);
    assert_eq!((&status["catalog"]["revision"], &status["leader"]["term"]), (&json!(1), &term));
    let metrics = shop.peer.ask("/metrics").text();
    for line in [
        format!("evenkeel_election_term {term}.0"),
        "evenkeel_election_leading 1.0".to_owned(),
        "evenkeel_election_leader_known 1.0".to_owned(),
        "evenkeel_electors 1.0".to_owned(),
        "evenkeel_catalog_revision 1.0".to_owned(),
        "evenkeel_catalog_behind 0.0".to_owned(),
    ] {
        assert!(metrics.lines().any(|said| said == line), "{line}: {metrics}");
    }
}
