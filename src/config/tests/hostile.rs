//! Files that are large, or meant to hurt.

use proptest::prelude::*;

use super::*;

#[test]
fn ten_thousand_nodes_are_read_and_one_more_is_refused() {
    let file = |nodes: usize| {
        let nodes: String =
            (0..nodes).map(|n| format!("[[pool.node]]\nid = \"n-{n}\"\naddress = \"10.0.0.1:{}\"\n", n + 1)).collect();
        format!("[[pool]]\nname = \"web\"\n{nodes}")
    };
    assert_eq!(of_text(&file(10_000)).unwrap().settings.peer.catalog.nodes().count(), 10_000);
    let found = faults(of_text(&file(10_001)));
    assert_eq!(found.faults[0].wrong, "10001 nodes are more than the 10000 allowed");
}

#[test]
fn a_file_of_nothing_but_faults_is_refused_in_bounded_words() {
    let unknown: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
    let found = faults(of_text(&format!("[peer]\n{unknown}")));
    assert_eq!(found.count(), 50_001, "and nothing to do");
    let found = faults(of_text(&format!("[[pool]]\nname = \"{}\"\n", "x y".repeat(1_000_000))));
    assert!(found.to_string().len() < 2_000, "{}", found.to_string().len());
    let broken: String = (0..20_000).map(|n| format!("k{n} = [1 2]\n")).collect();
    assert_eq!(faults(of_text(&broken)).count(), 20_000);
    let one = |n| {
        format!("[[listener]]\nname = \"l{n}\"\nlisten = \"[::1]:0\"\npool = \"p{n}\"\n[[pool]]\nname = \"q{n}\"\n")
    };
    let crowd: String = (0..10_000).map(one).collect();
    let wrongs: Vec<String> = faults(of_text(&crowd)).faults.into_iter().map(|fault| fault.wrong).collect();
    assert_eq!(wrongs, ["10000 listeners are more than the 256 allowed", "10000 pools are more than the 1024 allowed"]);
    let found = faults(of_text(&"[[".repeat(100_000)));
    assert!(found.to_string().len() < 2_000);
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(of_text(&deep).is_err());
}

const ESCAPE: char = '\u{1b}';

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in "\\PC*") {
        let _ = of_text(&text);
    }

    #[test]
    fn no_text_of_our_own_words_panics_the_reader(
        words in proptest::collection::vec(
            prop_oneof![
                Just("[peer]\n"), Just("[[pool]]\n"), Just("[[pool.node]]\n"), Just("[pool]\n"), Just("[[listener]]\n"),
                Just("[api]\n"), Just("name"), Just("id"), Just("address"), Just("health"), Just("listen"), Just("pool"),
                Just("workers"), Just(" = "), Just("."), Just("\n"), Just("{"), Just("}"), Just("["), Just("]"), Just(","),
                Just("\""), Just("\"\"\""), Just("'"), Just("\"web\""), Just("\"127.0.0.1:80\""), Just("5"), Just("-1"),
                Just("1e3"), Just("1979-05-27"), Just("true"), Just("\"5s\""), Just("# \u{1b}[31m"), Just("\r\n"), Just("\u{feff}"), Just("ü"),
            ],
            0..60,
        )
    ) {
        let text: String = words.concat();
        if let Err(found) = of_text(&text) {
            prop_assert!(found.faults.count() > 0);
            prop_assert!(!found.to_string().contains(ESCAPE), "a terminal would obey it");
        }
    }

    #[test]
    fn no_variable_panics_the_reader(name in "(EVENKEEL_[A-Z_]{0,20}|REGIONAL_ENDPOINTS|HEALTH_CHECK_INTERVAL|LOG_LEVEL)", value in "\\PC*") {
        let _ = of_environment(&[(&name, &value)]);
    }
}
