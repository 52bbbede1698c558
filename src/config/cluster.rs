//! `[cluster]`: with whom this peer shares what it knows.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;

use super::key_file;
use super::path::FILE;
use super::peer::ADDRESS;
use crate::document::{Choice, Content, Fault, Form, ListOf, Section, Words, Wrong, name, quoted, whole};
use crate::election::Founders;
use crate::gossip::Seed;
use crate::link::{KeyRing, Protocols, TrustSource};
use crate::model::limits::{ELECTORS_MAX, SEEDS_MAX};
use crate::model::{ClusterName, Electors, PeerId, Preset};
use crate::peer::ClusterSettings;
use crate::wire::Advertised;

/// The port that peers listen on where nothing else is said.
const PORT: u16 = 7_940;

const PRESET: Choice<Preset> = Choice::of(&[("local", Preset::Local), ("lan", Preset::Lan), ("wan", Preset::Wan)]);

const ADVERTISED: Words<Advertised> = Words::of(
    "an IP address and a port that other peers can dial, \"10.0.0.1:7940\"",
    |text| {
        let address: SocketAddr =
            text.parse().map_err(|_| Wrong::new("it is not an IP address with a port").hint(with_port(text)))?;
        Advertised::new(address)
            .ok_or_else(|| Wrong::new("nobody can dial it; name one address of this machine, and its port"))
    },
    |address| quoted(&address.get()),
);

const SEED: Words<Seed> =
    Words::of("an address or a host name, and a port: \"10.0.0.1:7940\", \"peers.internal:7940\"", seed, |seed| {
        match seed {
            Seed::Address(address) => quoted(address),
            Seed::Name(name, port) => format!("\"{name}:{port}\""),
        }
    });

/// Peers that vote.
struct ElectorList;

impl ElectorList {
    const IDS: ListOf<Words<PeerId>> = ListOf(name::<PeerId>(), ELECTORS_MAX);
}

impl Form for ElectorList {
    type Out = Electors;

    fn allowed(&self) -> String {
        format!("a list of 1 to {ELECTORS_MAX} ids of peers: [\"ams-1\", \"fra-1\", \"waw-1\"]")
    }

    fn read(&self, content: &Content) -> Result<Electors, Wrong> {
        Electors::new(Self::IDS.read(content)?).map_err(|error| Wrong::new(error.to_string()))
    }

    fn show(&self, electors: &Electors) -> String {
        Self::IDS.show(&electors.iter().cloned().collect())
    }
}

fn seed(text: &str) -> Result<Seed, Wrong> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match Advertised::new(address) {
            Some(_) => Ok(Seed::Address(address)),
            None => Err(Wrong::new(format!("nobody can dial {address}"))),
        };
    }
    // The colons of an address of version 6 begin no port.
    let (name, port) = match text.parse::<IpAddr>() {
        Ok(_) => (text, ""),
        Err(_) => text.rsplit_once(':').unwrap_or((text, "")),
    };
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port > 0) else {
        return Err(Wrong::new(format!("{text:?} has no port")).hint(with_port(text)));
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let plain = name.strip_suffix('.').unwrap_or(name);
    if plain.len() > 253 || !plain.split('.').all(is_label) {
        return Err(Wrong::new(format!("{name:?} is neither an address nor a host name")));
    }
    Ok(Seed::Name(name.to_owned(), port))
}

fn with_port(text: &str) -> String {
    let host = if text.contains(':') && !text.starts_with('[') { format!("[{text}]") } else { text.to_owned() };
    format!("write \"{host}:{PORT}\"")
}

/// `[cluster]`; `None` where it is left out, or wrong.
pub(super) fn cluster(s: &mut Section<'_, '_, '_>) -> Option<ClusterSettings> {
    let is_written = s.is_set("cluster");
    s.section(
        "cluster",
        "The peers that share what they know. Left out: a cluster of one, and no port for peers is opened.",
        |s| {
            let name = s.key(
                "name",
                &name::<ClusterName>(),
                "evenkeel".parse().expect("`evenkeel` is a legal name"),
                "Its name. Peers of another name are refused.",
            );
            let listen = s.optional(
                "listen",
                &ADDRESS,
                "required with any other key",
                "The UDP address at which other peers reach this one. An address that is not loopback needs `key_file` or \
                 the files of an authority.",
            );
            let advertise = s.optional(
                "advertise",
                &ADVERTISED,
                "`listen`",
                "Where others dial it. Needed where `listen` is all addresses, or behind a translation of addresses.",
            );
            let seeds = s.key(
                "seeds",
                &ListOf(SEED, SEEDS_MAX),
                Vec::new(),
                "Whom it asks first. The same list at every peer is right: an own address in it does no harm. With commas \
                 in the environment and in a flag.",
            );
            let preset = s.key(
                "preset",
                &PRESET,
                Preset::default(),
                "How far apart peers are: one machine, one network, across regions. Sets every timer of link, gossip and \
                 election.",
            );
            let key_file = s.optional(
                "key_file",
                &FILE,
                "none",
                "The file with the cluster key, as `evenkeel keygen` writes it. Whoever has the key is trusted as the \
                 cluster is. Several keys, one a line: the first issues, all are trusted.",
            );
            let authority_file = s.optional(
                "authority_file",
                &FILE,
                "none",
                "Instead of a key: certificates of an authority of your own, PEM. With `certificate_file` and \
                 `certificate_key_file`.",
            );
            let certificate_file = s.optional(
                "certificate_file",
                &FILE,
                "none",
                "This peer's certificate and those between it and the authority, PEM. It names `<id>.peer.evenkeel` and \
                 `<cluster>.cluster.evenkeel`.",
            );
            let certificate_key_file = s.optional("certificate_key_file", &FILE, "none", "Its private key, PEM.");
            let cookie_key_file = s.optional(
                "cookie_key_file",
                &FILE,
                "the cluster key; beside an authority each peer has a key of its own",
                "The file with the key that signs cookies of sticky sessions, as `evenkeel keygen` writes it. Beside an authority of your \
                 own it is needed for any peer to believe what another one set; the same at every peer.",
            );
            let electors = s.optional(
                "electors",
                &ElectorList,
                "the peers at the seeds",
                "Who votes first in a new cluster. Needed where a seed's name leads to several peers. The same at every peer; \
                 of no effect once the cluster has a catalog.",
            );
            let expect: Option<NonZeroU8> = s.optional(
                "expect",
                &whole(1, ELECTORS_MAX as u64),
                "the peers at the seeds",
                "Instead of `electors`: all peers vote first that are known once they are so many. The same at every peer.",
            );
            let is_said = listen.is_some()
                || advertise.is_some()
                || !seeds.is_empty()
                || key_file.is_some()
                || authority_file.is_some()
                || electors.is_some()
                || expect.is_some();
            if s.reader().is_describing() || !(is_written || is_said) {
                return None;
            }
            let Some(listen) = listen else {
                // One that was refused is told already.
                if !s.is_set("listen") && !s.reader().is_damaged() {
                    let fault = Fault::new(s.origin(), s.path_of("listen"), "it is missing")
                        .hint(format!("write listen = \"10.0.0.1:{PORT}\" with this machine's address"));
                    s.reader().fault(fault);
                }
                return None;
            };
            let founders = founders(s, electors, expect)?;
            let files =
                key_file::Named { key_file, authority_file, certificate_file, certificate_key_file, cookie_key_file };
            files.paths().for_each(|path| s.reader().note_file(path));
            let reached = [("listen", Some(listen)), ("advertise", advertise.map(Advertised::get))];
            let trust = trust(s, &name, reached, &files)?;
            let cookie_keys = match files.read_cookie_keys() {
                Ok(keys) => keys,
                Err(wrong) => {
                    refuse(s, wrong);
                    return None;
                }
            };
            let advertise = advertise.or_else(|| Advertised::new(listen).filter(|_| listen.port() != 0));
            if advertise.is_none() && listen.ip().is_unspecified() {
                let fault = Fault::new(s.origin(), s.path_of("advertise"), "others cannot dial all addresses")
                    .hint(format!("write advertise = \"10.0.0.1:{}\" with the address that they reach", listen.port()));
                s.reader().fault(fault);
                return None;
            }
            Some(ClusterSettings { name, listen, advertise, seeds, preset, trust, cookie_keys, protocols: Protocols::OWN, founders })
        },
    )
}

/// Who votes first. `None` where two answers are given.
fn founders(s: &mut Section<'_, '_, '_>, electors: Option<Electors>, expect: Option<NonZeroU8>) -> Option<Founders> {
    match (electors, expect) {
        (None, None) => Some(Founders::Seeds),
        (None, Some(expect)) => Some(Founders::Expect(expect)),
        (Some(electors), None) => {
            if let Some(warning) = electors.warning() {
                let (origin, path) = (s.origin_of("electors"), s.path_of("electors"));
                s.reader().warn(origin, path, warning.to_string());
            }
            Some(Founders::Named(electors))
        }
        (Some(_), Some(expect)) => {
            let wrong = "electors says who votes first, and so does this";
            let fault = Fault::new(s.origin_of("expect"), s.path_of("expect"), wrong)
                .found(expect.to_string())
                .hint("remove expect, or electors");
            s.reader().fault(fault);
            None
        }
    }
}

/// Whom this peer takes. Without any file: on loopback whoever is on this machine, elsewhere nobody.
fn trust(
    s: &mut Section<'_, '_, '_>,
    name: &ClusterName,
    reached: [(&str, Option<SocketAddr>); 2],
    files: &key_file::Named,
) -> Option<TrustSource> {
    match files.read() {
        Ok(Some(trust)) => Some(trust),
        Ok(None) => {
            let is_beyond = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
            let beyond = reached.iter().find_map(|(key, address)| Some((*key, address.filter(is_beyond)?)));
            let Some((key, address)) = beyond else { return Some(TrustSource::Keys(KeyRing::of_loopback(name))) };
            let fault = Fault::new(s.origin_of(key), s.path_of(key), "peers beyond this machine need a cluster key")
                .found(quoted(&address))
                .hint(
                    "make one with `evenkeel keygen cluster.key`, give every peer the same file, and name it with \
                     key_file = \"/etc/evenkeel/cluster.key\"",
                );
            s.reader().fault(fault);
            None
        }
        Err(wrong) => {
            refuse(s, wrong);
            None
        }
    }
}

/// Tells what is wrong with a file.
fn refuse(s: &mut Section<'_, '_, '_>, wrong: key_file::Wrong) {
    let mut fault = Fault::new(s.origin_of(wrong.key), s.path_of(wrong.key), wrong.why);
    if let Some(found) = wrong.file {
        fault = fault.found(quoted(&found.display()));
    }
    fault.hint = wrong.hint;
    s.reader().fault(fault);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Flags, Loaded, Refused, Sources, read};
    use crate::link::ClusterKey;

    /// Something to do beside the cluster.
    const POOL: &str = "[[pool]]\nname = \"web\"\nnode = [{ id = \"web-1\", address = \"127.0.0.1:3000\" }]\n";

    fn of(cluster: &str, sources: &Sources) -> Result<Loaded, Refused> {
        read("evenkeel.toml", Ok(Some(&format!("{POOL}{cluster}"))), sources)
    }

    fn settings(cluster: &str, sources: &Sources) -> ClusterSettings {
        let loaded = of(cluster, sources).unwrap_or_else(|refused| panic!("{refused}"));
        loaded.settings.peer.cluster.expect("a cluster")
    }

    /// The faults, the first without the name of the file.
    fn faults(cluster: &str) -> String {
        let faults = of(cluster, &Sources::default()).expect_err("it is wrong").faults.to_string();
        faults.trim_start_matches("evenkeel.toml ").to_owned()
    }

    fn key_file(folder: &Path, name: &str, keys: &[&ClusterKey]) -> String {
        let path = folder.join(name);
        let text: String = keys.iter().map(|key| format!("{}\n", key.to_text().trim_end())).collect();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    #[test]
    fn without_the_section_there_is_no_cluster_and_loopback_needs_no_key() {
        assert_eq!(of("", &Sources::default()).unwrap().settings.peer.cluster, None);
        let cluster = settings("[cluster]\nlisten = \"127.0.0.1:0\"", &Sources::default());
        assert_eq!((cluster.name.as_str(), cluster.preset, cluster.advertise), ("evenkeel", Preset::default(), None));
        assert_eq!(cluster.trust, TrustSource::Keys(KeyRing::of_loopback(&cluster.name)));
        let fixed = settings("[cluster]\nlisten = \"[::1]:7940\"", &Sources::default());
        assert_eq!(fixed.advertise.map(Advertised::get), Some("[::1]:7940".parse().unwrap()));
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let file = key_file(folder.path(), "cluster.key", &[&first, &second]);
        let text = format!(
            "[cluster]\nname = \"prod\"\nlisten = \"0.0.0.0:7940\"\nadvertise = \"10.0.0.1:7940\"\npreset = \"wan\"\n\
             seeds = [\"10.0.0.1:7940\", \"[fd00::1]:7940\", \"peers.internal:7941\"]\nkey_file = {file:?}"
        );
        let cluster = settings(&text, &Sources::default());
        assert_eq!((cluster.name.as_str(), cluster.preset), ("prod", Preset::Wan));
        assert_eq!(cluster.listen, "0.0.0.0:7940".parse().unwrap());
        assert_eq!(cluster.advertise.map(Advertised::get), Some("10.0.0.1:7940".parse().unwrap()));
        let seeds = [
            Seed::Address("10.0.0.1:7940".parse().unwrap()),
            Seed::Address("[fd00::1]:7940".parse().unwrap()),
            Seed::Name("peers.internal".into(), 7_941),
        ];
        assert_eq!(cluster.seeds, seeds);
        let TrustSource::Keys(ring) = &cluster.trust else { panic!("keys") };
        assert_eq!(ring.issuing().fingerprint(), first.fingerprint(), "the first issues");
        assert_eq!(ring.trusted().count(), 2);
    }

    #[test]
    fn wrong_clusters_are_told_what_to_do() {
        for (text, said) in [
            (
                "[cluster]\nlisten = \"10.0.0.1:7940\"",
                r#"line 5: cluster.listen
    found:   "10.0.0.1:7940"
    wrong:   peers beyond this machine need a cluster key
    hint:    make one with `evenkeel keygen cluster.key`, give every peer the same file, and name it with key_file = "/etc/evenkeel/cluster.key"

1 fault"#,
            ),
            (
                "[cluster]\nname = \"prod\"",
                r#"line 4: cluster.listen
    wrong:   it is missing
    hint:    write listen = "10.0.0.1:7940" with this machine's address

1 fault"#,
            ),
            (
                "[cluster]\nlisten = \"127.0.0.1:0\"\nadvertise = \"0.0.0.0:7940\"",
                r#"line 6: cluster.advertise
    found:   "0.0.0.0:7940"
    wrong:   nobody can dial it; name one address of this machine, and its port
    allowed: an IP address and a port that other peers can dial, "10.0.0.1:7940"

1 fault"#,
            ),
            (
                "[cluster]\nlisten = \"127.0.0.1:0\"\nadvertise = \"10.0.0.1\"",
                r#"line 6: cluster.advertise
    found:   "10.0.0.1"
    wrong:   it is not an IP address with a port
    allowed: an IP address and a port that other peers can dial, "10.0.0.1:7940"
    hint:    write "10.0.0.1:7940"

1 fault"#,
            ),
        ] {
            assert_eq!(faults(text), said, "{text}");
        }
    }

    #[test]
    fn wrong_seeds_are_refused_with_what_is_wrong_with_them() {
        for (seed, why, hint) in [
            ("10.0.0.1", "has no port", Some("write \"10.0.0.1:7940\"")),
            ("fd00::1", "has no port", Some("write \"[fd00::1]:7940\"")),
            ("peers.internal", "has no port", Some("write \"peers.internal:7940\"")),
            ("peers.internal:0", "has no port", None),
            ("peers.internal:99999", "has no port", None),
            ("0.0.0.0:7940", "nobody can dial", None),
            ("10.0.0.1:0", "nobody can dial", None),
            ("pe ers:7940", "neither an address nor a host name", None),
            ("a..b:7940", "neither an address nor a host name", None),
            ("http://a:7940", "neither an address nor a host name", None),
        ] {
            let text = format!("[cluster]\nlisten = \"127.0.0.1:0\"\nseeds = [\"a:1\", \"{seed}\"]");
            let refused = of(&text, &Sources::default()).expect_err(seed);
            let fault = &refused.faults.faults[0];
            assert_eq!((refused.faults.count(), fault.key.as_str()), (1, "cluster.seeds"), "{refused}");
            assert!(fault.wrong.contains(why), "{refused}");
            if let Some(hint) = hint {
                assert!(fault.hint.as_deref().is_some_and(|said| said.contains(hint)), "{refused}");
            }
        }
    }

    #[test]
    fn a_peer_that_others_reach_beyond_this_machine_needs_a_key_wherever_it_listens() {
        let said = faults("[cluster]\nlisten = \"127.0.0.1:7940\"\nadvertise = \"10.0.0.1:7940\"");
        assert!(said.contains("cluster.advertise") && said.contains("need a cluster key"), "{said}");
    }

    #[test]
    fn all_addresses_are_listened_at_only_with_one_that_others_dial() {
        let folder = tempfile::tempdir().unwrap();
        let file = key_file(folder.path(), "cluster.key", &[&ClusterKey::generate().unwrap()]);
        let said = faults(&format!("[cluster]\nlisten = \"0.0.0.0:7945\"\nkey_file = {file:?}"));
        assert!(said.contains("cluster.advertise") && said.contains("others cannot dial all addresses"), "{said}");
        assert!(said.contains("write advertise = \"10.0.0.1:7945\""), "{said}");
    }

    #[test]
    fn wrong_files_are_told_with_the_key_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("garbage"), "no key").unwrap();
        std::fs::write(at("bytes"), [0xff, 0xfe]).unwrap();
        std::fs::write(at("empty"), "").unwrap();
        let key = key_file(folder.path(), "cluster.key", &[&ClusterKey::generate().unwrap()]);
        for (lines, key, why, hint) in [
            (format!("key_file = {:?}", at("missing")), "key_file", "there is no such file", "keygen"),
            (format!("key_file = {:?}", at("garbage")), "key_file", "", "keygen"),
            (format!("key_file = {:?}", at("empty")), "key_file", "", "keygen"),
            (format!("key_file = {:?}", at("bytes")), "key_file", "it is not a text", "keygen"),
            (format!("key_file = {key:?}\nauthority_file = {key:?}"), "key_file", "only one of them", "leave out"),
            (format!("authority_file = {key:?}"), "certificate_file", "it is missing", "three files"),
        ] {
            let text = format!("[cluster]\nlisten = \"127.0.0.1:0\"\n{lines}");
            let refused = of(&text, &Sources::default()).expect_err(&text);
            let fault = &refused.faults.faults[0];
            assert_eq!((refused.faults.count(), fault.key.clone()), (1, format!("cluster.{key}")), "{refused}");
            assert!(fault.wrong.contains(why), "{refused}");
            assert!(fault.hint.as_deref().is_some_and(|said| said.contains(hint)), "{refused}");
        }
    }

    #[test]
    fn who_votes_first_is_named_or_counted_or_told_by_the_seeds() {
        let with =
            |lines: &str| settings(&format!("[cluster]\nlisten = \"127.0.0.1:0\"\n{lines}"), &Sources::default());
        let ids = |names: &[&str]| Electors::new(names.iter().map(|name| name.parse().unwrap())).unwrap();
        assert_eq!(with("").founders, Founders::Seeds);
        assert_eq!(with("electors = [\"b\", \"a\", \"c\"]").founders, Founders::Named(ids(&["a", "b", "c"])));
        assert_eq!(with("expect = 3").founders, Founders::Expect(NonZeroU8::new(3).unwrap()));
        let environment = [("EVENKEEL_CLUSTER_LISTEN", "127.0.0.1:0"), ("EVENKEEL_CLUSTER_ELECTORS", "a, b,c")];
        let sources = Sources { environment: environment.into_iter().collect(), ..Sources::default() };
        assert_eq!(settings("", &sources).founders, Founders::Named(ids(&["a", "b", "c"])));

        let loaded = of("[cluster]\nlisten = \"127.0.0.1:0\"\nelectors = [\"a\", \"b\"]", &Sources::default()).unwrap();
        assert!(loaded.warnings.iter().any(|of| of.message.starts_with("two electors")), "{:?}", loaded.warnings);
        for (lines, key, wrong) in [
            ("electors = []", "electors", "at least one elector"),
            ("electors = [\"a\", \"a\"]", "electors", "elector a stands there twice"),
            ("electors = [\"A\"]", "electors", "not allowed in a name"),
            ("expect = 0", "expect", "less than 1"),
            ("expect = 32", "expect", "more than 31"),
            ("electors = [\"a\"]\nexpect = 1", "expect", "electors says who votes first"),
        ] {
            let refused =
                of(&format!("[cluster]\nlisten = \"127.0.0.1:0\"\n{lines}"), &Sources::default()).expect_err(lines);
            let fault = &refused.faults.faults[0];
            assert_eq!((refused.faults.count(), fault.key.clone()), (1, format!("cluster.{key}")), "{refused}");
            assert!(fault.wrong.contains(wrong), "{refused}");
        }
    }

    #[test]
    fn only_a_peer_that_is_alone_follows_its_file_unless_it_is_told_to() {
        let follows = |text: &str, variables: &[(&str, &str)]| {
            let sources = Sources { environment: variables.iter().copied().collect(), ..Sources::default() };
            of(text, &sources).unwrap_or_else(|refused| panic!("{refused}")).settings.peer.follow_file
        };
        let cluster = "[cluster]\nlisten = \"127.0.0.1:0\"\n";
        assert!(follows("", &[]) && !follows(cluster, &[]));
        assert!(!follows("", &[("EVENKEEL_CLUSTER_LISTEN", "127.0.0.1:0")]));
        assert!(follows(cluster, &[("EVENKEEL_CATALOG_FOLLOW_FILE", "true")]));
        assert!(!follows("[catalog]\nfollow_file = false\n", &[]));
    }

    #[test]
    fn no_secret_of_a_key_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let key = ClusterKey::generate().unwrap();
        let text = key.to_text().trim_end().to_owned();
        let broken = folder.path().join("cluster.key");
        // One character short.
        std::fs::write(&broken, &text[..text.len() - 1]).unwrap();
        let said =
            faults(&format!("[cluster]\nlisten = \"127.0.0.1:0\"\nkey_file = {:?}", broken.display().to_string()));
        let (_, secret) = text.split_once(':').expect("a key says its form");
        assert!(!said.contains(&secret[..8]), "{said}");
    }

    #[test]
    fn flags_and_environment_make_a_cluster_without_a_section() {
        let folder = tempfile::tempdir().unwrap();
        let file = key_file(folder.path(), "cluster.key", &[&ClusterKey::generate().unwrap()]);
        let flags = Flags {
            cluster_listen: Some("10.0.0.1:7940".into()),
            seeds: Some("10.0.0.1:7940, peers.internal:7940".into()),
            key_file: Some(file),
            ..Flags::default()
        };
        let environment = [("EVENKEEL_CLUSTER_SEEDS", "10.0.0.9:1"), ("EVENKEEL_CLUSTER_NAME", "prod")];
        let sources = Sources { flags, environment: environment.into_iter().collect(), ..Sources::default() };
        let cluster = settings("", &sources);
        assert_eq!((cluster.name.as_str(), cluster.listen.to_string()), ("prod", "10.0.0.1:7940".to_owned()));
        let seeds = [Seed::Address("10.0.0.1:7940".parse().unwrap()), Seed::Name("peers.internal".into(), 7_940)];
        assert_eq!(cluster.seeds, seeds, "flags are stronger");

        let environment = [("EVENKEEL_CLUSTER_SEEDS", "10.0.0.9:1,a.b:2"), ("EVENKEEL_CLUSTER_LISTEN", "127.0.0.1:0")];
        let sources = Sources { environment: environment.into_iter().collect(), ..Sources::default() };
        assert_eq!(settings("", &sources).seeds.len(), 2);
        let alone = [("EVENKEEL_CLUSTER_SEEDS", "10.0.0.9:1")];
        let sources = Sources { environment: alone.into_iter().collect(), ..Sources::default() };
        let refused = of("", &sources).expect_err("where does it listen?").to_string();
        assert!(refused.contains("cluster.listen") && refused.contains("it is missing"), "{refused}");
    }
}
