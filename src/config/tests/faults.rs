//! What a wrong file is told.

use super::*;

#[test]
fn a_wrong_file_is_told_what_stands_there_what_may_and_what_to_do() {
    for (text, said) in [
        (
            "[[pool.node]]\nid = \"web-2\"\naddress = \"127.0.0.1:1\"\nweigth = 3",
            r#"evenkeel.toml line 16: pool "web" node "web-2" weigth
    found:   weigth = 3
    wrong:   there is no such key
    allowed: address, backup, id, max_connections, region, server, weight
    hint:    did you mean weight?

1 fault"#,
        ),
        (
            "[[pool.node]]\nid = \"web-2\"\naddress = \"127.0.0.1:1\"\nweight = 5000",
            r#"evenkeel.toml line 16: pool "web" node "web-2" weight
    found:   5000
    wrong:   it is more than 1000
    allowed: a whole number of 1 to 1000

1 fault"#,
        ),
        (
            "[upstream]\nidle_timeout = 60",
            r#"evenkeel.toml line 14: upstream.idle_timeout
    found:   60
    wrong:   a number alone does not say its unit
    allowed: a duration of "10ms" to "24h"
    hint:    write "60s" for seconds

1 fault"#,
        ),
        (
            "[[pool]]\nname = \"b\"\nstrategy = \"lest_conn\"",
            r#"evenkeel.toml line 15: pool "b" strategy
    found:   "lest_conn"
    wrong:   it is none of these
    allowed: "round_robin", "random", "weighted", "weighted_latency", "health_score", "least_connections", "least_latency", "least_response_time", "p2c", "ip_hash", "consistent_hash"; also "weighted_round_robin", "least_conn", "ewma"
    hint:    did you mean "least_conn"?

1 fault"#,
        ),
        (
            "[[listener]]\nname = \"Web 2\"\nlisten = \":8001\"\npool = \"wep\"",
            r#"evenkeel.toml line 14: listener 2 name
    found:   "Web 2"
    wrong:   'W' is not allowed in a name; use a-z, 0-9, and after the first character also . _ -
    allowed: 1 to 63 of a-z, 0-9, and after the first character also . _ -
    hint:    write "web-2"

evenkeel.toml line 15: listener 2 listen
    found:   ":8001"
    wrong:   it is not an IP address with a port
    allowed: an IP address and a port, "127.0.0.1:8000" or "[::1]:8000"; port 0 takes a free one
    hint:    write "0.0.0.0:8001" for all IPv4 addresses, "[::]:8001" for all

evenkeel.toml line 16: listener 2 pool
    found:   "wep"
    wrong:   there is no such pool
    allowed: web
    hint:    did you mean "web"?

3 faults"#,
        ),
        (
            "[api]\nlisten = \"0.0.0.0:8080\"",
            r#"evenkeel.toml line 14: api.listen
    found:   "0.0.0.0:8080"
    wrong:   0.0.0.0:8080 is not loopback; the API of this version has no users and listens on loopback only, such as 127.0.0.1:8080
    allowed: a loopback address and a port, "127.0.0.1:8080"; port 0 takes a free one

1 fault"#,
        ),
        (
            "[[pool]]\nname = \"web\"",
            r#"evenkeel.toml line 14: pool "web" name
    found:   "web"
    wrong:   pool web stands there twice
    hint:    the first is at evenkeel.toml line 8; give one of them another name

1 fault"#,
        ),
        (
            "[[pool.node]]\nid = \"web-1\"\naddress = \"db\"",
            r#"evenkeel.toml line 14: node "web-1" id
    found:   "web-1"
    wrong:   node web-1 stands there twice; a node id is unique in the cluster
    hint:    the first is at evenkeel.toml line 11; give one of them another name

evenkeel.toml line 15: pool "web" node "web-1" address
    found:   "db"
    wrong:   a port is missing; write host:port, or https://host for port 443
    allowed: "host:port", "http://host", "https://host"; a name is looked up again as its TTL ends
    hint:    write "db:80" if that is its port

2 faults"#,
        ),
        (
            "[[pool.node]]\naddress = \"db:1\"",
            r#"evenkeel.toml line 13: pool "web" node 2 id
    wrong:   it is missing
    allowed: 1 to 63 of a-z, 0-9, and after the first character also . _ -

1 fault"#,
        ),
        (
            "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:8080\"\npool = \"web\"\nprotocol = \"tcp\"\nvia = true",
            r#"evenkeel.toml line 14: listener "web" name
    found:   "web"
    wrong:   listener web stands there twice
    hint:    the first is at evenkeel.toml line 3; give one of them another name

evenkeel.toml line 15: listener "web" listen
    found:   "127.0.0.1:8080"
    wrong:   the API (api.listen) listens there
    hint:    give one of them another port

evenkeel.toml line 18: listener "web" via
    found:   via = true
    wrong:   it has an effect only with protocol = "http"
    hint:    remove it

3 faults"#,
        ),
        (
            "[peer]\ninterval = \"5s\"\nid = ams",
            r#"evenkeel.toml line 14: peer.interval
    found:   interval = "5s"
    wrong:   there is no such key
    allowed: announce, data_dir, drain, id, max_connections, region, workers
    hint:    interval is a key of [pool.health]

evenkeel.toml line 15
    found:   id = ams
    wrong:   it is neither a number nor a text in quotes
    hint:    put a text in quotes: "..."

2 faults"#,
        ),
        (
            "[pool]\nname = \"x\"\n[history]\nname = \"prod\"",
            r#"evenkeel.toml line 13
    found:   [pool]
    wrong:   duplicate key
    hint:    a key or [section] stands once; a list repeats [[name]], with two brackets, for each element

evenkeel.toml line 15: history
    wrong:   not available in this version
    hint:    remove it; nothing here acts on it yet

2 faults"#,
        ),
        (
            "[[pool]]\nname = \"b\"\nhealth = { type = \"http\" path = \"/\" }\nretries = 99",
            r#"evenkeel.toml line 15
    found:   health = { type = "http" path = "/" }
    wrong:   missing comma between key-value pairs, expected `,`
    hint:    a table is written { a = 1, b = 2 }; look for a missing comma or }

evenkeel.toml line 16: pool "b" retries
    found:   99
    wrong:   it is more than 10
    allowed: a whole number of 0 to 10

2 faults"#,
        ),
        (
            "[[pool.node]]\nid = \"web-2\"\naddress = \"127.0.0.1:1\"\npool.x = 1",
            r#"evenkeel.toml line 16: pool "web" node "web-2" pool
    found:   pool.x = 1
    wrong:   there is no such key
    allowed: address, backup, id, max_connections, region, server, weight
    hint:    pool is a key of [[listener]] and of [route.then] and of [route.then.fallback] and of 2 more

1 fault"#,
        ),
        (
            "[peer.tls]\nx = 1",
            r#"evenkeel.toml line 13: peer.tls
    found:   [peer.tls]
    wrong:   there is no such key
    allowed: announce, data_dir, drain, id, max_connections, region, workers
    hint:    tls is a key of [[pool]]

1 fault"#,
        ),
        (
            "[peer\nid = \"x\"\nworkers = \"many\"",
            r#"evenkeel.toml line 13
    found:   [peer
    wrong:   unclosed table, expected `]`
    hint:    a section is written [name], an element of a list [[name]]

1 fault; the file is checked further once its shape is mended"#,
        ),
    ] {
        let text = format!("{GOOD}{text}");
        assert_eq!(faults(of_text(&text)).to_string(), said, "\n{text}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_at_once_in_the_order_of_its_lines() {
    let text = r#"[peer]
id = 7
workers = 0
drain = "1w"
colour = "red"
[api]
listen = "0.0.0.0:1"
[log]
level = "loud"
format = true
[metrics]
[[listener]]
name = "a"
listen = "127.0.0.1"
pool = "none"
head_timeout = "2 hours"
max_connections = -1
trusted_proxies = ["10.0.0.0/40", "x"]
[[listener]]
name = "a"
[[pool]]
name = "web"
strategy = "fastest"
hash = "header"
exact = "yes"
health = { type = "htp", path = "health", statuses = "2xx", rise = 300 }
sticky = { by = "coockie" }
[[pool.node]]
id = "n 1"
address = "http://n/path"
weight = 1.5
[[pool.node]]
address = "n:99999"
max_connections = 0
"#;
    let found = faults(of_text(text));
    let lines: Vec<u32> = found
        .faults
        .iter()
        .map(|fault| match fault.origin {
            Origin::File { line, .. } => line,
            _ => panic!("{fault}"),
        })
        .collect();
    assert_eq!(
        lines,
        [
            2, 3, 4, 5, 7, 9, 10, 11, 14, 15, 16, 17, 18, 19, 19, 20, 23, 24, 25, 26, 26, 26, 26, 27, 29, 30, 31, 32,
            33, 34
        ],
        "{found}"
    );
    assert!(found.to_string().ends_with("\n\n30 faults"));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["faults"][0]["origin"], serde_json::json!({"from": "file", "path": "evenkeel.toml", "line": 2}));
    assert_eq!(json["faults"][0]["key"], "peer.id");
}

#[test]
fn nobody_listens_where_the_api_does() {
    for (address, api, refused) in [
        ("127.0.0.1:8080", "127.0.0.1:8080", true),
        ("0.0.0.0:8080", "127.0.0.1:8080", true),
        ("[::]:8080", "127.0.0.1:8080", true),
        ("0.0.0.0:8080", "[::1]:8080", false),
        ("127.0.0.2:8080", "127.0.0.1:8080", false),
        ("0.0.0.0:8081", "127.0.0.1:8080", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
    ] {
        let text = format!("api.listen = \"{api}\"\n{GOOD}").replace("127.0.0.1:8000", address);
        assert_eq!(of_text(&text).is_err(), refused, "{text}");
    }
    let environment = [("REGIONAL_ENDPOINTS", "us:us.example:80"), ("EVENKEEL_API_LISTEN", "127.0.0.1:8000")];
    assert_eq!(faults(of_environment(&environment)).faults[0].wrong, "the API (api.listen) listens there");
}

#[test]
fn listeners_that_cover_one_another_are_refused_and_both_are_named() {
    let listener = |name: &str, address: &str| {
        format!("[[listener]]\nname = \"{name}\"\nlisten = \"{address}\"\npool = \"web\"\n")
    };
    for (second, wrong) in [
        ("127.0.0.1:8000", "listener \"web\" (evenkeel.toml line 4) listens there"),
        ("0.0.0.0:8000", "it covers 127.0.0.1:8000, where listener \"web\" (evenkeel.toml line 4) listens"),
        ("[::]:8000", "it covers 127.0.0.1:8000, where listener \"web\" (evenkeel.toml line 4) listens"),
    ] {
        let found = faults(of_text(&format!("{GOOD}{}", listener("b", second))));
        assert_eq!(found.count(), 1, "{found}");
        assert_eq!((found.faults[0].key.as_str(), found.faults[0].wrong.as_str()), ("listener \"b\" listen", wrong));
    }
    let covered = GOOD.replace("127.0.0.1:8000", "0.0.0.0:8000") + &listener("b", "127.0.0.1:8000");
    let found = faults(of_text(&covered));
    assert_eq!(
        found.faults[0].wrong,
        "listener \"web\" (evenkeel.toml line 4) listens at 0.0.0.0:8000, which covers it"
    );
    assert!(of_text(&format!("{GOOD}{}", listener("b", "127.0.0.2:8000"))).is_ok());
}

#[test]
fn a_node_where_this_peer_itself_listens_is_refused() {
    for address in ["127.0.0.1:8000", "localhost:8000", "http://127.0.0.1:8000"] {
        let found = faults(of_text(&GOOD.replace("127.0.0.1:3000", address)));
        assert_eq!(found.count(), 1, "{found}");
        assert_eq!(
            (found.faults[0].key.as_str(), found.faults[0].wrong.as_str()),
            (
                "pool \"web\" node \"web-1\" address",
                "listener \"web\" of this peer listens there, so a request would come back to it"
            )
        );
    }
    let found = faults(of_environment(&[("REGIONAL_ENDPOINTS", "us:127.0.0.1:8000")]));
    assert_eq!(found.faults[0].key, "node \"us-1\" address", "{found}");
}

#[test]
fn what_a_check_sends_is_shown_to_nobody() {
    let text = GOOD.replace(
        "name = \"web\"\n\n[[pool.node]]",
        "name = \"web\"\nhealth = { send = \"AUTH hunter2\" }\n\n[[pool.node]]",
    );
    let loaded = of_text(&text).unwrap();
    let send = loaded.values.iter().find(|setting| setting.key == "pool \"web\" health.send").unwrap();
    assert_eq!(send.value, "(12 bytes, not shown)");
    for wrong in [text.replace("{ send", "{ type = \"none\", send"), text.replace("hunter2", &"hunter2".repeat(10_000))]
    {
        let found = faults(of_text(&wrong));
        assert_eq!((found.count(), found.to_string().contains("hunter2")), (1, false), "{found}");
    }
}

#[test]
fn a_route_to_files_of_a_folder_that_is_not_there_is_warned_of() {
    let route = "[[route]]\nname = \"site\"\nthen = { files = { folder = \"site\" } }\n";
    let warned = |text: &str| of_text(text).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let said = warned(&format!("{GOOD}{route}"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("route \"site\" then.files.folder: this file has no [[files]] called site"), "{said:?}");
    let folder = "[[files]]\nname = \"site\"\nroot = \"/\"\n";
    assert_eq!(warned(&format!("{GOOD}{folder}{route}")), [""; 0]);
}

#[test]
fn warnings_are_told_beside_faults_and_none_that_only_follows_from_one() {
    let text = format!("{GOOD}[[pool]]\nname = \"b\"\nretries = 99\n");
    let refused = of_text(&text).unwrap_err();
    let warned: Vec<String> = refused.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warned,
        [
            "evenkeel.toml line 13: pool \"b\": it has no node; whoever asks for it gets 503, or a closed connection",
            "evenkeel.toml line 14: pool \"b\": neither a listener nor a route leads to it; its nodes are only checked",
        ]
    );
    let told = refused.to_string();
    assert!(told.starts_with("warning: evenkeel.toml line 13:") && told.ends_with("\n\n1 fault"), "{told}");

    let misspelt = GOOD.replacen("pool = \"web\"", "pool = \"wep\"", 1);
    assert_eq!(of_text(&misspelt).unwrap_err().warnings, [], "the listener means this pool");
    let broken = GOOD.replacen("pool = \"web\"", "pool = web", 1);
    assert_eq!(of_text(&broken).unwrap_err().warnings, []);

    let crowd: String = (0..2_000).map(|n| format!("[[pool]]\nname = \"p{n}\"\n")).collect();
    let warnings = of_text(&crowd).unwrap_err().warnings;
    assert_eq!(warnings.len(), crate::model::limits::SETTINGS_WARNINGS_MAX + 1);
    assert!(warnings.last().unwrap().message.ends_with(" more warnings are not listed"));
}

#[test]
fn settings_of_requests_are_warned_of_where_only_relays_lead_to_the_pool() {
    let pool = "[[pool]]\nname = \"db\"\nstrategy = \"consistent_hash\"\nhash = \"header:x-user\"\nhost = \"node\"\n\
                response_timeout = \"9s\"\nnode = [{ id = \"db-1\", address = \"127.0.0.1:1\" }]\n";
    let listener = |name: &str, protocol: &str, port: u16| {
        format!(
            "[[listener]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\npool = \"db\"\nlisten = \"127.0.0.1:{port}\"\n"
        )
    };
    let warnings = |text: &str| of_text(text).unwrap_or_else(|refused| panic!("{refused}")).warnings;
    let relays = format!("{pool}{}{}", listener("a", "tcp", 1_000), listener("b", "tcp", 1_001));
    let told: Vec<String> = warnings(&relays).iter().map(ToString::to_string).collect();
    let why = "it has no effect: it is of HTTP requests, and only tcp listeners lead to this pool";
    let expected = [(4, "hash"), (5, "host"), (6, "response_timeout")];
    assert_eq!(told, expected.map(|(line, key)| format!("evenkeel.toml line {line}: pool \"db\" {key}: {why}")));
    assert_eq!(warnings(&relays.replace("header:x-user", "client_ip")).len(), 2, "a relay has a client");
    assert_eq!(warnings(&format!("{pool}{}{}", listener("a", "tcp", 1_000), listener("b", "http", 1_001))), []);
}

#[test]
fn a_path_that_a_hint_proposes_is_one_that_is_taken() {
    for (wrong, right) in [("x", "/x"), ("x y", "/x%20y"), ("/ü#1", "/%C3%BC%231"), ("", "/")] {
        let text = |path: &str| format!("{GOOD}[pool.health]\ntype = \"http\"\npath = \"{path}\"\n");
        let found = faults(of_text(&text(wrong)));
        assert_eq!(found.faults[0].hint.as_deref(), Some(&*format!("write \"{right}\"")), "{found}");
        assert!(of_text(&text(right)).is_ok(), "{right}");
    }
}

#[test]
fn what_may_stand_in_a_section_leaves_out_what_this_version_does_not_have() {
    for (text, name) in [("[api]\nx = 1", "user"), ("[[x]]", "webhook")] {
        let found = faults(of_text(&format!("{GOOD}{text}")));
        assert!(!found.to_string().contains(name), "{found}");
    }
    let found = faults(of_text(&format!("{GOOD}[histroy]")));
    assert_eq!(found.faults[0].hint.as_deref(), Some("history is not available in this version"));
}

#[test]
fn every_name_of_a_later_version_is_refused_as_such_and_not_as_unknown() {
    for text in [
        "[[webhook]]",
        "[history]",
        "[[api.user]]\nname = \"admin\"",
        "[api]\nlisten = \"unix:/run/evenkeel\"",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"grpc\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"postgres\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"docker\" }",
        "[[pool]]\nname = \"b\"\nhealth = { type = \"exec\" }",
    ] {
        let found = faults(of_text(&format!("{GOOD}{text}")));
        assert_eq!(found.count(), 1, "{found}");
        assert!(found.faults[0].wrong.ends_with("not available in this version"), "{found}");
    }
    for name in ["EVENKEEL_HISTORY_KEEP", "EVENKEEL_API_USER"] {
        let found = faults(with_environment(GOOD, &[(name, "1")]));
        assert_eq!(found.count(), 1, "{found}");
        assert_eq!(found.faults[0].wrong, "not available in this version", "{found}");
    }
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_said() {
    let text = "[[pool]]\nname = \"a\"\nhash = \"uri\"\nexact = true\nstrategy = \"random\"\n";
    let said: Vec<String> = of_text(text).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "evenkeel.toml line 3: pool \"a\" hash: it has no effect while the strategy is random; consistent_hash looks at it",
            "evenkeel.toml line 4: pool \"a\" exact: it has no effect while the strategy is random; health_score looks at it",
            "evenkeel.toml line 1: pool \"a\": it has no node; whoever asks for it gets 503, or a closed connection",
            "evenkeel.toml line 2: pool \"a\": neither a listener nor a route leads to it; its nodes are only checked",
            "there is no listener; this peer takes no traffic",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_why() {
    let folder = std::env::temp_dir().join(format!("evenkeel-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("evenkeel.toml");
    let sources = Sources { file: Some(path.clone()), ..Sources::default() };
    let said = |sources: &Sources| faults(load(sources)).to_string().replace(&folder.display().to_string(), "DIR");

    let told = said(&sources);
    assert!(told.starts_with("DIR/evenkeel.toml\n    wrong:   there is no such file\n    hint:    look for"), "{told}");
    assert!(told.contains("begin one; the least file is:\n"), "{told}");
    let by_environment = self::sources(&[("EVENKEEL_CONFIG", &path.display().to_string())]);
    assert!(said(&by_environment).contains("hint:    EVENKEEL_CONFIG names it; look for"));
    std::fs::write(folder.join("evenkel.toml"), GOOD).unwrap();
    assert_eq!(
        said(&sources),
        "DIR/evenkeel.toml\n    wrong:   there is no such file\n    hint:    did you mean DIR/evenkel.toml?\n\n1 fault"
    );
    let nowhere = Sources { file: Some(folder.join("none/evenkeel.toml")), ..Sources::default() };
    assert!(said(&nowhere).contains("hint:    there is no folder DIR/none either"), "{}", said(&nowhere));
    std::fs::write(&path, b"# one\n# two \xff\n").unwrap();
    assert_eq!(
        said(&sources),
        "DIR/evenkeel.toml line 2\n    wrong:   it is not UTF-8 from here on\n    hint:    save it as UTF-8\n\n1 fault"
    );
    std::fs::write(&path, "#\n".repeat(3 * 1024 * 1024)).unwrap();
    assert_eq!(
        said(&sources),
        "DIR/evenkeel.toml\n    wrong:   it is larger than 4 MiB, the most a settings file may have\n\n1 fault"
    );
    std::fs::write(&path, GOOD).unwrap();
    assert!(load(&sources).is_ok());
    assert!(load(&by_environment).is_ok());
    let directory = Sources { file: Some(folder.clone()), ..Sources::default() };
    assert!(said(&directory).contains("it is a directory"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_route_of_a_listener_that_the_file_does_not_have_is_warned_of() {
    let route = |listener: &str| {
        format!("{GOOD}[[route]]\nname = \"r\"\nwhen = {{ listener = \"{listener}\" }}\nthen = {{ refuse = 403 }}\n")
    };
    let warnings = |text: &str| of_text(text).unwrap_or_else(|refused| panic!("{refused}")).warnings;
    let told: Vec<String> = warnings(&route("wbe")).iter().map(ToString::to_string).collect();
    let why = "this file has no [[listener]] called wbe; here the route fits nothing that comes there";
    assert!(told.len() == 1 && told[0].ends_with(&format!("route \"r\" when.listener: {why}")), "{told:?}");
    let name = GOOD.split("[[listener]]").nth(1).and_then(|of| of.split("name = \"").nth(1)?.split('"').next());
    assert_eq!(warnings(&route(name.expect("a listener"))), []);
}

#[test]
fn a_driver_that_cannot_be_is_refused_with_what_it_takes() {
    let driver = |lines: &str| format!("{GOOD}[[driver]]\n{lines}\n");
    for (lines, said) in [
        ("name = \"static\"\ntype = \"exec\"\ncommand = [\"/bin/true\"]", "choose another name"),
        ("name = \"vpn\"\ntype = \"exec\"", "write command = ["),
        ("name = \"vpn\"\ntype = \"exec\"\ncommand = [\"true\"]", "no path from the root"),
        ("name = \"vpn\"\ntype = \"exec\"\ncommand = [\"/bin/true\"]\nimage = \"x\"", "type = \"docker\""),
        ("name = \"vpn\"\ntype = \"vmware\"", "\"exec\""),
    ] {
        let found = faults(of_text(&driver(lines)));
        assert!(found.count() == 1 && found.to_string().contains(said), "{lines}: {found}");
    }
    let loaded = of_text(&driver("name = \"vpn\"\ntype = \"exec\"\ncommand = [\"/bin/true\", \"-v\"]")).unwrap();
    assert_eq!(loaded.settings.peer.drivers.len(), 1);
}

#[cfg(feature = "docker")]
#[test]
fn a_docker_driver_needs_an_image_and_a_port_and_words_in_braces_that_it_knows() {
    let driver = |lines: &str| format!("{GOOD}[[driver]]\nname = \"exits\"\ntype = \"docker\"\n{lines}\n");
    assert_eq!(faults(of_text(&driver(""))).count(), 2);
    let whole = "image = \"vpn:1\"\nport = 8000\n";
    assert!(of_text(&driver(whole)).is_ok());
    for lines in
        ["environment = { A = \"{sever.address}\" }", "labels = { \"evenkeel.node\" = \"x\" }", "networks = [\"host\"]"]
    {
        let found = faults(of_text(&driver(&format!("{whole}{lines}"))));
        assert_eq!(found.count(), 1, "{lines}: {found}");
    }
    let secret = driver(&format!("{whole}environment = {{ TOKEN = \"hunter2\" }}"));
    let shown = format!("{:?}", of_text(&secret).unwrap().values);
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_driver_is_given_is_not_shown_whatever_is_wrong_with_it() {
    let driver = "[[driver]]\nname = \"x\"\ntype = \"exec\"\ncommand = [\"/bin/true\"]\n";
    for line in [
        "envronment = { TOKEN = \"SeCrEt\" }",
        "environment = { TOKEN = SeCrEt }",
        "environment = { TOKEN = \"SeCrEt\", TOKEN = \"SeCrEt\" }",
        "environment = \"SeCrEt\"",
        "[driver.envronment]\nTOKEN = \"SeCrEt\"",
        "environment = { TOKEN = \"SeCrEt\" ",
    ] {
        let found = faults(of_text(&format!("{GOOD}{driver}{line}\n"))).to_string();
        assert!(!found.contains("SeCrEt") && found.contains("line"), "{line}: {found}");
    }
}

#[test]
fn a_driver_that_no_file_is_known_to_have_is_warned_of() {
    let pool = "[[pool]]\nname = \"vpn\"\nfailover = { driver = \"vnp\" }\nscaling = { driver = \"vpn\" }\n";
    let driver = "[[driver]]\nname = \"vpn\"\ntype = \"exec\"\ncommand = [\"/bin/true\"]\n";
    let said = |text: &str| {
        let loaded = of_text(text).unwrap();
        let words: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        words.into_iter().filter(|words| words.contains("[[driver]]")).collect::<Vec<_>>()
    };
    let [of_move] = &said(&format!("{GOOD}{pool}{driver}"))[..] else { panic!() };
    assert!(of_move.contains("pool \"vpn\" failover.driver") && of_move.contains("\"vnp\""), "{of_move}");
    assert!(of_move.contains("nothing is done"), "{of_move}");
    assert_eq!(said(&format!("{GOOD}{pool}")).len(), 2);
    let cluster = "[cluster]\nlisten = \"127.0.0.1:0\"\nseeds = [\"127.0.0.1:7940\"]\n";
    assert_eq!(said(&format!("{GOOD}{pool}{cluster}")), [""; 0], "other peers may have all of them");
    let [of_move] = &said(&format!("{GOOD}{pool}{driver}{cluster}"))[..] else { panic!() };
    assert!(of_move.contains("another peer"), "{of_move}");
}
