//! Caps of a listener and of the process.

use super::*;

fn capped(peer: &str, listener: &str) -> String {
    format!("peer = {{ {peer} }}\n{}", GOOD.replacen("pool = \"web\"\n", &format!("pool = \"web\"\n{listener}\n"), 1))
}

#[test]
fn caps_reach_the_data_plane_and_are_none_where_none_is_set() {
    let proxy = of_text(&capped("max_connections = 9", "max_connections_per_client = 7")).unwrap().settings.peer.proxy;
    assert_eq!(proxy.connections_max.map(std::num::NonZeroU32::get), Some(9));
    assert_eq!(proxy.listeners[0].connections_per_client_max.map(std::num::NonZeroU32::get), Some(7));
    let proxy = of_text(GOOD).unwrap().settings.peer.proxy;
    assert_eq!((proxy.connections_max, proxy.listeners[0].connections_per_client_max), (None, None));
}

#[test]
fn a_cap_is_a_whole_number_of_one_to_a_million() {
    for (value, wrong) in [("0", "less than 1"), ("1_000_001", "more than 1000000"), ("\"9\"", "not a whole number")] {
        for (text, key) in [
            (capped(&format!("max_connections = {value}"), ""), "peer.max_connections"),
            (
                capped("", &format!("max_connections_per_client = {value}")),
                "listener \"web\" max_connections_per_client",
            ),
        ] {
            let found = faults(of_text(&text));
            assert_eq!((found.count(), found.faults[0].key.as_str()), (1, key), "{found}");
            assert!(found.faults[0].wrong.contains(wrong), "{found}");
            assert!(found.to_string().contains("a whole number of 1 to 1000000"), "{found}");
        }
    }
}
