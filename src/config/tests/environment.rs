//! What the environment and flags change.

use super::*;
use crate::model::RegionStrategy;

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let text =
        format!("[peer]\nid = \"of-file\"\nregion = \"of-file\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n{GOOD}");
    let mut sources = sources(&[
        ("EVENKEEL_PEER_ID", "of-environment"),
        ("EVENKEEL_PEER_REGION", "of-environment"),
        ("EVENKEEL_UPSTREAM_IDLE_TIMEOUT", "9s"),
        ("EVENKEEL_PEER_WORKERS", ""),
        ("LOG_LEVEL", "ERROR"),
        ("HOME", "/root"),
    ]);
    sources.flags.id = Some("of-flag".to_owned());
    let loaded = read("evenkeel.toml", Ok(Some(&text)), &sources).unwrap();
    let value = |key: &str| {
        let setting = loaded.values.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key}"));
        (setting.value.as_str(), setting.origin.to_string())
    };
    assert_eq!(value("peer.id"), ("\"of-flag\"", "flag --id".to_owned()));
    assert_eq!(value("peer.region"), ("\"of-environment\"", "environment EVENKEEL_PEER_REGION".to_owned()));
    assert_eq!(value("log.level"), ("\"error\"", "environment LOG_LEVEL".to_owned()));
    assert_eq!(value("log.format"), ("\"json\"", "evenkeel.toml line 6".to_owned()));
    assert_eq!(value("upstream.idle_timeout"), ("\"9s\"", "environment EVENKEEL_UPSTREAM_IDLE_TIMEOUT".to_owned()));
    assert_eq!(value("upstream.age_max"), ("\"1h\"", "default".to_owned()));
    assert_eq!(value("peer.workers"), ("1", "this machine".to_owned()));
    assert_eq!(
        value("pool \"web\" node \"web-1\" address"),
        ("\"127.0.0.1:3000\"", "evenkeel.toml line 18".to_owned())
    );
    assert_eq!(value("pool \"web\" health.interval"), ("\"5s\"", "default".to_owned()));
    assert_eq!(loaded.settings.peer.id.as_str(), "of-flag");
    assert_eq!(loaded.settings.log.level, log::Level::Error);

    // Evenkeel's own name is the stronger one.
    let loaded = with_environment(&text, &[("LOG_LEVEL", "ERROR"), ("EVENKEEL_LOG_LEVEL", "debug")]).unwrap();
    assert_eq!(loaded.settings.log.level, log::Level::Debug);
}

#[test]
fn what_the_environment_overrides_must_be_right_all_the_same() {
    let text = format!("[peer]\nregion = 5\n{GOOD}");
    let environment =
        [("EVENKEEL_PEER_REGION", "eu"), ("EVENKEEL_PEER_WORKERS", "all"), ("EVENKEEL_API_LISTEN", "localhost:80")];
    assert_eq!(
        faults(with_environment(&text, &environment)).to_string(),
        r#"evenkeel.toml line 2: peer.region
    found:   5
    wrong:   it is a whole number, not a text
    allowed: 1 to 63 of a-z, 0-9, and after the first character also . _ -
    hint:    write it in quotes: "5"

environment EVENKEEL_PEER_WORKERS: peer.workers
    found:   all
    wrong:   it is not a whole number
    allowed: a whole number of 1 to 1024

environment EVENKEEL_API_LISTEN: api.listen
    found:   localhost:80
    wrong:   it is not an IP address with a port
    allowed: a loopback address and a port, "127.0.0.1:8080"; port 0 takes a free one
    hint:    write "127.0.0.1:80"

3 faults"#
    );
}

#[test]
fn a_peer_that_is_given_only_regional_endpoints_runs() {
    let endpoints = ("REGIONAL_ENDPOINTS", "us-east:https://us.example.com, eu-west:https://eu.example.com");
    let loaded = of_environment(&[endpoints]).unwrap();
    assert_eq!(loaded.warnings, []);
    let peer = loaded.settings.peer;
    let [listener] = &peer.proxy.listeners[..] else { panic!("one listener") };
    assert_eq!((listener.name.as_str(), listener.address.to_string()), ("regions", "127.0.0.1:8000".to_owned()));
    assert!(matches!(listener.protocol, Protocol::Http(_)));
    let [pool] = peer.catalog.pools() else { panic!("one pool") };
    assert_eq!((pool.name.as_str(), pool.host_sent), ("regions", HostSent::Node));
    let nodes: Vec<(String, String, String)> = pool
        .nodes
        .iter()
        .map(|node| {
            (
                node.id.to_string(),
                node.region.as_ref().map(ToString::to_string).unwrap_or_default(),
                node.address.to_string(),
            )
        })
        .collect();
    assert_eq!(
        nodes,
        [
            ("us-east-1".into(), "us-east".into(), "https://us.example.com:443".into()),
            ("eu-west-1".into(), "eu-west".into(), "https://eu.example.com:443".into()),
        ]
    );

    let strategies = |environment: &[(&str, &str)]| {
        let settings = of_environment(environment).unwrap().settings;
        let pool = &settings.peer.catalog.pools()[0];
        (pool.strategy, pool.region_strategy)
    };
    assert_eq!(strategies(&[endpoints]), (Strategy::HealthScore, RegionStrategy::Nearest));
    assert_eq!(
        strategies(&[endpoints, ("LOAD_BALANCER_STRATEGY", "random"), ("LOAD_BALANCING_STRATEGY", "least_latency")]),
        (Strategy::Random, RegionStrategy::LeastLatency)
    );

    // Beside a file it is one pool more; the file's listeners are all there are.
    let loaded = with_environment(GOOD, &[endpoints]).unwrap();
    assert_eq!(loaded.settings.peer.catalog.pools().len(), 2);
    assert_eq!(loaded.settings.peer.proxy.listeners.len(), 1);
    let led = GOOD.replace("pool = \"web\"", "pool = \"regions\"");
    assert_eq!(with_environment(&led, &[endpoints]).unwrap().settings.peer.proxy.listeners[0].pool.as_str(), "regions");
}

#[test]
fn wrong_regional_endpoints_are_told_one_by_one() {
    let environment = [(
        "REGIONAL_ENDPOINTS",
        "https://us.example.com,us-east,US:https://us.example.com,eu:ftp://eu,as:https://a.example/x,ok:https://o.example,ok:1.2.3.4:5",
    )];
    let found = faults(of_environment(&environment));
    let said: Vec<(&str, &str)> =
        found.faults.iter().map(|fault| (fault.found.as_deref().unwrap_or(""), fault.wrong.as_str())).collect();
    assert_eq!(
        said,
        [
            ("https://us.example.com", "it does not say the region"),
            ("us-east", "a colon after the region is missing"),
            (
                "US:https://us.example.com",
                "the region: 'U' is not allowed in a name; use a-z, 0-9, and after the first character also . _ -"
            ),
            ("eu:ftp://eu", "the address: scheme \"ftp\" is not known; use host:port, http://host or https://host"),
            ("as:https://a.example/x", "the address: an address ends after the port; \"/x\" cannot follow"),
            ("ok:1.2.3.4:5", "its region stands there twice"),
        ]
    );
    for (wrong, hint) in [
        ("us=https://us.example.com", "write us:https://us.example.com"),
        ("us-east = 10.0.0.7:80", "write us-east:10.0.0.7:80"),
        ("us-east", "write us-east:https://us-east.example.com"),
    ] {
        let found = faults(of_environment(&[("REGIONAL_ENDPOINTS", wrong)]));
        assert_eq!(found.faults[0].hint.as_deref(), Some(hint), "{found}");
        let written = hint.trim_start_matches("write ");
        assert!(of_environment(&[("REGIONAL_ENDPOINTS", written)]).is_ok(), "what is hinted at is right: {written}");
    }
    let file = GOOD.replace("\"web\"", "\"regions\"");
    let found = faults(with_environment(&file, &[("REGIONAL_ENDPOINTS", "us:us.example:80")]));
    assert_eq!(found.faults[0].wrong, "pool regions stands there twice");
    let file = GOOD.replace("web-1", "us-1");
    let found = faults(with_environment(&file, &[("REGIONAL_ENDPOINTS", "us:us.example:80")]));
    assert_eq!(found.faults[0].wrong, "node us-1 stands there twice; a node id is unique in the cluster");
    assert!(of_environment(&[("REGIONAL_ENDPOINTS", ",")]).is_err());
}

#[test]
fn variables_of_other_systems_set_all_pools() {
    let text = format!("{GOOD}[[pool]]\nname = \"b\"\nstrategy = \"random\"\nhealth = {{ type = \"none\" }}\n");
    for (interval, seconds) in [("30", 30), ("45s", 45), ("2m", 120)] {
        let environment = [("HEALTH_CHECK_INTERVAL", interval), ("LOAD_BALANCER_STRATEGY", "p2c")];
        let loaded = with_environment(&text, &environment).unwrap();
        let pools = loaded.settings.peer.catalog.pools().to_vec();
        assert_eq!(pools[0].check.interval.as_secs(), seconds);
        assert!(pools.iter().all(|pool| pool.strategy == Strategy::PowerOfTwo));
        assert!(
            !loaded.values.iter().any(|setting| setting.key == "pool \"b\" health.interval"),
            "it has no effect there"
        );
    }
    for (name, value) in [
        ("HEALTH_CHECK_INTERVAL", "often"),
        ("HEALTH_CHECK_INTERVAL", "0"),
        ("LOAD_BALANCER_STRATEGY", "best"),
        ("LOAD_BALANCING_STRATEGY", "random"),
        ("LOG_LEVEL", "loud"),
        ("FAILOVER_ENABLED", "often"),
        ("FAILOVER_THRESHOLD", "0"),
        ("LOAD_BALANCER_ENABLED", "false"),
        ("LOAD_BALANCER_ENABLED", "1"),
        ("MAX_NODES_PER_COUNTRY", "0"),
        ("AUTO_SCALE_ENABLED", "2"),
        ("SCALE_UP_THRESHOLD", "NaN"),
        ("SCALE_DOWN_THRESHOLD", "-1"),
    ] {
        let found = faults(with_environment(&text, &[(name, value)]));
        assert_eq!(found.count(), 1, "{found}");
        assert!(found.to_string().starts_with(&format!("environment {name}")), "{found}");
    }
    let loaded = with_environment(&text, &[("SCALE_UP_THRESHOLD", "50")]).unwrap();
    let said = loaded.warnings.iter().find(|warning| warning.key == "SCALE_UP_THRESHOLD").expect("a word about it");
    assert!(said.message.contains("no pool is scaled"), "{}", said.message);
    let loaded = with_environment(&text, &[("EVENKEEL_FAILOVER_ERRORS_PERCENT", "2.5")]).unwrap();
    assert!((loaded.settings.peer.catalog.shift_policy().errors_percent - 2.5).abs() < f64::EPSILON);
    let loaded = with_environment(&text, &[("LOAD_BALANCING_STRATEGY", "weighted")]).unwrap();
    assert_eq!(loaded.settings.peer.catalog.pools()[0].region_strategy, RegionStrategy::Weighted);
}

#[test]
fn an_unknown_variable_of_ours_is_refused_and_other_peoples_are_left_alone() {
    let found = faults(with_environment(GOOD, &[("EVENKEEL_LOG_LEVLE", "info"), ("EVENKEEL_POOL_WEB", "x")]));
    assert_eq!(
        found.to_string(),
        r#"environment EVENKEEL_LOG_LEVLE
    found:   info
    wrong:   there is no such setting
    hint:    did you mean EVENKEEL_LOG_LEVEL?

environment EVENKEEL_POOL_WEB
    found:   x
    wrong:   there is no such setting
    hint:    listeners, pools, regions, servers and routes are lists, which only the file can hold

2 faults"#
    );
    let others = [
        ("EVENKEEL_API", "10.0.0.1:8080"),
        ("EVENKEEL_SOAK", "1"),
        ("EVENKEEL_TEST_WRITE", "1"),
        ("EVENKEEL_SERVICE_HOST", "10.0.0.1"),
        ("EVENKEEL_SERVICE_PORT", "80"),
        ("EVENKEEL_SERVICE_PORT_HTTP", "80"),
        ("EVENKEEL_PORT", "tcp://10.0.0.1:80"),
        ("EVENKEEL_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("EVENKEEL_API_SERVICE_HOST", "10.0.0.1"),
        ("FAILOVER_ENABLED", ""),
        ("PATH", "/bin"),
    ];
    assert!(with_environment(GOOD, &others).is_ok());
}

#[test]
fn nothing_at_all_is_told_what_the_least_file_is() {
    let found = faults(load(&Sources::default()));
    let said = found.to_string();
    assert!(said.starts_with("no settings file\n    wrong:   there is neither a listener nor a pool"), "{said}");
    // The least file, as it is told, is a file that works.
    let told: String = said
        .lines()
        .skip_while(|line| !line.contains("[[listener]]"))
        .take_while(|line| !line.contains("REGIONAL_ENDPOINTS"))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    assert_eq!(of_text(&told).unwrap().settings.peer.catalog.nodes().count(), 1);
}
