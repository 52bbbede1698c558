//! Stories of elections, each a text file: commands, a line of dashes, what then happened. Times are from the story's start.
//!
//! `ELECTION_TRANSCRIPTS=write cargo test transcripts` writes what happens now into the files; then read the difference.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::election::event::{Change, Event, Output};
use crate::election::world::{World, id};
use crate::model::{Electors, Newness, PeerId, Revision, Term};
use crate::wire::{ElectionMessage, Round, Word};

fn ids(words: &[&str]) -> Vec<PeerId> {
    words.iter().map(|word| id(word)).collect()
}

fn perform(world: &mut World, line: &str) {
    let leader = world.leader();
    let words = line.split_whitespace();
    let words: Vec<&str> = words.map(|word| if word == "leader" { leader.as_deref().unwrap() } else { word }).collect();
    match *words.as_slice() {
        ["peers", ref peers @ .., "first", first] => {
            let named = Electors::new(first.split(',').map(id)).unwrap();
            ids(peers).into_iter().for_each(|peer| world.add(peer, Some(named.clone())));
        }
        ["peers", ref peers @ ..] => ids(peers).into_iter().for_each(|peer| world.add(peer, None)),
        ["start", ref peers @ ..] => ids(peers).iter().for_each(|peer| world.begin(peer)),
        ["crash", ref peers @ ..] => ids(peers).iter().for_each(|peer| world.crash(peer)),
        ["wipe", ref peers @ ..] => ids(peers).iter().for_each(|peer| world.wipe(peer)),
        ["damage", ref peers @ ..] => ids(peers).iter().for_each(|peer| world.damage(peer)),
        ["stop", peer] => {
            world.do_to(&id(peer), Event::Stop);
            world.run(Duration::from_millis(5));
            world.crash(&id(peer));
        }
        ["cut", ref sides @ ..] => {
            let at = sides.iter().position(|word| *word == "|").unwrap();
            world.cut(&ids(&sides[..at]), &ids(&sides[at + 1..]));
        }
        ["heal"] => world.heal(),
        ["advance", time] => {
            let ms: u64 = time.strip_suffix("ms").unwrap().parse().unwrap();
            let end = world.clock + Duration::from_millis(ms);
            // A millisecond at a time, so that what happens is told with its time.
            while world.clock < end {
                let told = world.told.len();
                world.run(Duration::from_millis(1).min(end - world.clock));
                let at = world.clock.as_millis();
                world.told[told..].iter_mut().for_each(|line| *line = format!("{at:>5} ms  {line}"));
            }
        }
        ["write", peer, value] => world.write(&id(peer), value),
        ["electors", at, "add", peer] => world.do_to(&id(at), Event::Change(Change::Add(id(peer)))),
        ["electors", at, "remove", peer] => world.do_to(&id(at), Event::Change(Change::Remove(id(peer)))),
        ["forget", at, peer] => {
            world.forgot = true;
            world.do_to(&id(at), Event::Forget(id(peer)));
        }
        ["ask", from, to, "term", term, "new", stamp, revision] => ask(world, from, to, [term, stamp, revision]),
        ["show"] => {
            let lines = world.show();
            world.told.extend(lines);
        }
        _ => panic!("{line:?} is no command"),
    }
}

/// Asks for a vote, past all links, and tells the answer.
fn ask(world: &mut World, from: &str, to: &str, [term, stamp, revision]: [&str; 3]) {
    let number = |text: &str| text.parse::<u64>().unwrap();
    let now = world.now(&id(to));
    let peer = world.peers.get_mut(&id(to)).unwrap();
    let machine = peer.machine.as_mut().unwrap();
    let term = Term::new(number(term)).unwrap();
    let newest =
        Newness { stamp: Term::new(number(stamp)).unwrap(), revision: Revision::new(number(revision)).unwrap() };
    let word = Word::Ask { life: 0, round: Round::Vote, asked: term, newest };
    let message = ElectionMessage { cluster: None, electors: None, term, word };
    machine.handle(Event::Received { from: id(from), message }, now, &mut world.dice);
    while let Some(output) = machine.poll_output() {
        let line = match output {
            Output::Send { message: ElectionMessage { word: Word::Answer { verdict, .. }, .. }, .. } => {
                format!("{to} answers {from}, who asks for its vote in term {term}: {verdict:?}")
            }
            other => format!("{to}: {other:?}"),
        };
        world.told.push(line);
    }
}

/// What the story of a file is, with everything that happens written under each group of commands.
fn tell(text: &str) -> String {
    let mut world = World::new(1);
    let mut story = String::new();
    for part in text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()) {
        let commands = part.split("\n----").next().unwrap_or_default();
        writeln!(story, "{commands}").unwrap();
        let lines = commands.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<&str> = lines.flat_map(|line| line.split(';')).map(str::trim).collect();
        if !lines.is_empty() {
            lines.into_iter().for_each(|line| perform(&mut world, line));
            story.push_str("----\n");
            world.told.drain(..).for_each(|line| writeln!(story, "{line}").unwrap());
        }
        story.push('\n');
    }
    story.truncate(story.trim_end().len());
    story.push('\n');
    story
}

#[test]
fn transcripts_are_told_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/election/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5);
    #[expect(clippy::disallowed_methods, reason = "how a test is told to write what it finds")]
    let writes = std::env::var("ELECTION_TRANSCRIPTS").is_ok_and(|word| word == "write");
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let told = tell(&written);
        if writes {
            std::fs::write(&file, told).unwrap();
        } else {
            assert_eq!(told, written, "{}", file.display());
        }
    }
}
