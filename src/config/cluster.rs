//! `[cluster]`: with whom this peer shares what it knows.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::fault::Fault;
use super::form::{Choice, ListOf, Words, Wrong, quoted};
use super::key_file;
use super::peer::{ADDRESS, name};
use super::reader::Section;
use crate::gossip::Seed;
use crate::link::{KeyRing, TrustSource};
use crate::model::limits::SEEDS_MAX;
use crate::model::{ClusterName, Preset};
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

const FILE: Words<PathBuf> = Words::of(
    "the path of a file",
    |text| if text.is_empty() { Err(Wrong::new("it is empty")) } else { Ok(PathBuf::from(text)) },
    |path| quoted(&path.display()),
);

fn seed(text: &str) -> Result<Seed, Wrong> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match Advertised::new(address) {
            Some(_) => Ok(Seed::Address(address)),
            None => Err(Wrong::new(format!("nobody can dial {address}"))),
        };
    }
    let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
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
            s.later(&["electors", "expect"]);
            let is_said = listen.is_some()
                || advertise.is_some()
                || !seeds.is_empty()
                || key_file.is_some()
                || authority_file.is_some();
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
            let files = key_file::Named { key_file, authority_file, certificate_file, certificate_key_file };
            let trust = trust(s, &name, listen, &files)?;
            let advertise = advertise.or_else(|| Advertised::new(listen).filter(|_| listen.port() != 0));
            if advertise.is_none() && listen.ip().is_unspecified() {
                let fault = Fault::new(s.origin(), s.path_of("advertise"), "others cannot dial all addresses")
                    .hint(format!("write advertise = \"10.0.0.1:{}\" with the address that they reach", listen.port()));
                s.reader().fault(fault);
                return None;
            }
            Some(ClusterSettings { name, listen, advertise, seeds, preset, trust })
        },
    )
}

/// Whom this peer takes. Without any file: on loopback whoever is on this machine, elsewhere nobody.
fn trust(
    s: &mut Section<'_, '_, '_>,
    name: &ClusterName,
    listen: SocketAddr,
    files: &key_file::Named,
) -> Option<TrustSource> {
    match files.read() {
        Ok(Some(trust)) => Some(trust),
        Ok(None) if listen.ip().to_canonical().is_loopback() => Some(TrustSource::Keys(KeyRing::of_loopback(name))),
        Ok(None) => {
            let fault =
                Fault::new(s.origin_of("listen"), s.path_of("listen"), "peers beyond this machine need a cluster key")
                    .found(quoted(&listen))
                    .hint(
                        "make one with `evenkeel keygen cluster.key`, give every peer the same file, and name it with \
                     key_file = \"/etc/evenkeel/cluster.key\"",
                    );
            s.reader().fault(fault);
            None
        }
        Err(wrong) => {
            let mut fault = Fault::new(s.origin_of(wrong.key), s.path_of(wrong.key), wrong.why);
            if let Some(found) = wrong.file {
                fault = fault.found(quoted(&found.display()));
            }
            fault.hint = wrong.hint;
            s.reader().fault(fault);
            None
        }
    }
}
