//! Every decoder that reads bytes of strangers, under one name each, for the fuzz targets in `fuzz/` and for a test that
//! feeds them without a fuzzer. Not in the product: it is compiled for tests and under `--cfg fuzzing` only.
//!
//! A target asserts more than that nothing panics where more can be said: what was read is written again as the same thing.

use crate::{catalog, config, driver, election, gossip, link, proxy, wire};

/// A decoder under test.
pub struct Target {
    /// What `fuzz/fuzz_targets` calls it.
    pub name: &'static str,
    /// Reads anything, and panics where it should not have been read so.
    pub run: fn(&[u8]),
    /// Bytes that are what the decoder expects.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 17] = [
    Target { name: "hello", run: wire::fuzzing::hello, samples: wire::fuzzing::hellos },
    Target { name: "hello_answer", run: wire::fuzzing::hello_answer, samples: wire::fuzzing::hello_answers },
    Target { name: "hint", run: wire::fuzzing::hint, samples: wire::fuzzing::hints },
    Target { name: "query", run: wire::fuzzing::query, samples: wire::fuzzing::queries },
    Target { name: "query_answer", run: wire::fuzzing::query_answer, samples: wire::fuzzing::query_answers },
    Target { name: "election", run: wire::fuzzing::election, samples: wire::fuzzing::elections },
    Target { name: "ballot", run: election::fuzzing::ballot, samples: election::fuzzing::ballots },
    Target { name: "fence", run: driver::fuzzing::fence, samples: driver::fuzzing::fences },
    Target { name: "order", run: driver::fuzzing::order, samples: driver::fuzzing::orders },
    Target { name: "gossip_page", run: gossip::fuzzing::page, samples: gossip::fuzzing::pages },
    Target { name: "gossip_load", run: gossip::fuzzing::load, samples: gossip::fuzzing::loads },
    Target { name: "gossip_message", run: gossip::fuzzing::message, samples: gossip::fuzzing::messages },
    Target { name: "key_file", run: key_file, samples: key_files },
    Target { name: "h1_head", run: proxy::fuzzing::head, samples: proxy::fuzzing::heads },
    Target { name: "chunked", run: proxy::fuzzing::chunked, samples: proxy::fuzzing::chunked_bodies },
    Target { name: "settings", run: config::fuzzing::settings, samples: config::fuzzing::files },
    Target { name: "catalog", run: catalog::rules::fuzzing::catalog, samples: catalog::rules::fuzzing::catalogs },
];

/// Runs the target of this name.
///
/// # Panics
///
/// Where there is none, and where the decoder did wrong.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("fuzz/fuzz_targets names what stands in TARGETS").run)(bytes);
}

fn key_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(ring) = link::KeyRing::parse(text) else { return };
    let again: String = ring.trusted().map(|key| format!("{}\n", key.to_text().as_str())).collect();
    assert_eq!(link::KeyRing::parse(&again).as_ref(), Ok(&ring), "what was read is written and read again");
}

fn key_files() -> Vec<Vec<u8>> {
    let key = |letter: char| format!("evenkeel-key-1:{}A", letter.to_string().repeat(42));
    vec![key('A').into_bytes(), format!("# two\n{}\n\n{}\n", key('B'), key('C')).into_bytes()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::host::Dice;

    const ROUNDS: usize = 2_000;
    const NOISE_BYTES_MAX: usize = 600;

    fn noise(dice: &mut Dice) -> Vec<u8> {
        let length = dice.below(NOISE_BYTES_MAX);
        (0..length).map(|_| (dice.bits() & 0xff) as u8).collect()
    }

    fn bend(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=dice.below(6) {
            if bytes.is_empty() {
                return noise(dice);
            }
            let at = dice.below(bytes.len());
            match dice.below(5) {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xfd, 0xff][dice.below(5)],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, (dice.bits() & 0xff) as u8),
                _ => {
                    let copied = bytes[at..].to_vec();
                    bytes.extend(copied);
                }
            }
        }
        bytes
    }

    #[test]
    fn every_decoder_takes_noise_and_bent_messages_without_a_panic() {
        for target in &TARGETS {
            let samples = (target.samples)();
            samples.iter().for_each(|sample| (target.run)(sample));
            let mut dice = Dice::from_seed(7);
            for _ in 0..ROUNDS {
                (target.run)(&noise(&mut dice));
                let sample = samples[dice.below(samples.len())].clone();
                (target.run)(&bend(&mut dice, sample));
            }
        }
    }

    #[test]
    fn every_decoder_has_a_target_for_the_fuzzer_and_the_other_way_round() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let found: BTreeSet<String> =
            files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        let known: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        assert_eq!(found, known);
    }
}
