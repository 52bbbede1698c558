//! The verdict: what the votes of many observers say together. Every peer computes it by this one function from what it
//! heard, and no leader is asked.

use std::time::Duration;

use crate::model::{Health, Verdict};

/// How long the last verdict holds when nobody votes any more. A peer that lost sight of all others for a moment should
/// not forget what they said; one that lost it for longer goes by what it sees itself.
pub const HOLD: Duration = Duration::from_secs(30);

/// Nodes that a peer must observe before it can be doubtful.
const DOUBTFUL_NODES_MIN: usize = 3;

/// The fresh vote of an observer that is not doubtful.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Vote {
    /// What it says.
    pub health: Health,
    /// Whether it ever had a good answer from this address.
    pub reached_before: bool,
}

/// The last verdict that rested on votes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    /// What it was.
    pub verdict: Verdict,
    /// How long there have been no votes.
    pub silent: Duration,
}

/// The lower median of the votes, up < degraded < down, so that a tie favours the node; hence one vote of down among two
/// or more never takes a node down. A vote of down counts only from a peer that has reached the address before, unless
/// none has: a peer that never could may be cut off from it.
///
/// Without votes the last verdict holds for [`HOLD`], then `local` alone counts, what this peer's own traffic and probes
/// say.
pub fn verdict(votes: &[Vote], held: Option<Held>, local: Option<Health>) -> Verdict {
    let reached = votes.iter().any(|vote| vote.reached_before);
    let counts = |vote: &&Vote| vote.health != Health::Down || vote.reached_before || !reached;
    let (mut all, mut up, mut degraded) = (0, 0, 0);
    for vote in votes.iter().filter(counts) {
        all += 1;
        up += usize::from(vote.health == Health::Up);
        degraded += usize::from(vote.health == Health::Degraded);
    }
    if all > 0 {
        let median = (all - 1) / 2;
        return if median < up {
            Verdict::Up
        } else if median < up + degraded {
            Verdict::Degraded
        } else {
            Verdict::Down
        };
    }
    match held {
        Some(held) if held.silent < HOLD => held.verdict,
        _ => local.map_or(Verdict::Unknown, Verdict::from),
    }
}

/// How the votes of each peer stand to those of the others, over many nodes. Tallies of parts add up to that of the whole,
/// so that a vote that changes costs a look at its own pool.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally(Vec<Record>);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Record {
    observed: usize,
    contradicted: usize,
}

impl Tally {
    /// Counts the votes on one node: each peer, which is a small number, with what it says.
    pub fn count(&mut self, votes: &[(usize, Health)]) {
        for (peer, contradicted) in contradicted(votes) {
            let record = self.record(peer);
            record.observed += 1;
            record.contradicted += contradicted;
        }
    }

    /// Takes back what was counted of one node.
    pub fn take_back(&mut self, votes: &[(usize, Health)]) {
        for (peer, contradicted) in contradicted(votes) {
            let record = self.record(peer);
            record.observed -= 1;
            record.contradicted -= contradicted;
        }
        while self.0.pop_if(|last| *last == Record::default()).is_some() {}
    }

    /// Adds that of another part.
    pub fn add(&mut self, part: &Self) {
        for (peer, theirs) in part.0.iter().enumerate() {
            let record = self.record(peer);
            record.observed += theirs.observed;
            record.contradicted += theirs.contradicted;
        }
    }

    /// The peers whose votes are not to count because they disagree with everybody: of at least three nodes that one
    /// observes, more than half are down by its vote while a majority of the others' votes on them says up. If that were
    /// more than half of the peers, nobody is doubtful: then the nodes are the likelier fault.
    pub fn doubtful(&self) -> Vec<usize> {
        let stands_alone =
            |record: &Record| record.observed >= DOUBTFUL_NODES_MIN && record.contradicted * 2 > record.observed;
        let peers = self.0.iter().filter(|record| record.observed > 0).count();
        let records = self.0.iter().enumerate();
        let doubtful: Vec<usize> = records.filter(|(_, record)| stands_alone(record)).map(|(peer, _)| peer).collect();
        if doubtful.len() * 2 > peers { Vec::new() } else { doubtful }
    }

    fn record(&mut self, peer: usize) -> &mut Record {
        if peer >= self.0.len() {
            self.0.resize(peer + 1, Record::default());
        }
        &mut self.0[peer]
    }
}

/// Each peer with 1 where the others contradict its vote of down, else 0.
fn contradicted(votes: &[(usize, Health)]) -> impl Iterator<Item = (usize, usize)> {
    let up = votes.iter().filter(|(_, health)| *health == Health::Up).count();
    // A vote of down is no vote of up, so all votes of up are others'.
    let others_say_up = up * 2 > votes.len().saturating_sub(1);
    votes.iter().map(move |&(peer, health)| (peer, usize::from(health == Health::Down && others_say_up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `U`, `G`, `D`: up, degraded, down from a peer that reached the node before; in lower case from one that never did.
    fn votes(text: &str) -> Vec<Vote> {
        text.chars()
            .map(|c| Vote {
                health: match c.to_ascii_uppercase() {
                    'U' => Health::Up,
                    'G' => Health::Degraded,
                    _ => Health::Down,
                },
                reached_before: c.is_ascii_uppercase(),
            })
            .collect()
    }

    #[test]
    fn votes_give_a_verdict_by_table() {
        for (text, expected) in [
            ("U", Verdict::Up),
            ("G", Verdict::Degraded),
            ("D", Verdict::Down),
            // The first vote of one observer on an address it never reached.
            ("d", Verdict::Down),
            // Ties favour the node, and one of two does not take it down.
            ("UD", Verdict::Up),
            ("GD", Verdict::Degraded),
            ("UG", Verdict::Up),
            ("DD", Verdict::Down),
            ("UDD", Verdict::Down),
            ("UUD", Verdict::Up),
            ("UGD", Verdict::Degraded),
            ("UUDD", Verdict::Up),
            // Those who never reached it do not outvote one who did.
            ("Udd", Verdict::Up),
            ("Gddd", Verdict::Degraded),
            ("Dd", Verdict::Down),
            ("dd", Verdict::Down),
        ] {
            assert_eq!(verdict(&votes(text), None, None), expected, "{text}");
        }
    }

    #[test]
    fn down_takes_more_than_half_of_the_votes_and_two_of_them_where_there_are_two() {
        for peers in 1..=7_usize {
            for downs in 0..=peers {
                let text: String = (0..peers).map(|i| if i < downs { 'D' } else { 'U' }).collect();
                let expected = if downs * 2 > peers && downs >= peers.min(2) { Verdict::Down } else { Verdict::Up };
                assert_eq!(verdict(&votes(&text), None, None), expected, "{text}");
            }
        }
    }

    #[test]
    fn without_votes_the_last_verdict_holds_for_a_while_and_then_local_evidence_alone() {
        let held = |seconds| Some(Held { verdict: Verdict::Up, silent: Duration::from_secs(seconds) });
        for (held, local, expected) in [
            (None, None, Verdict::Unknown),
            (held(0), Some(Health::Down), Verdict::Up),
            (held(29), None, Verdict::Up),
            (held(30), None, Verdict::Unknown),
            (held(30), Some(Health::Down), Verdict::Down),
        ] {
            assert_eq!(verdict(&[], held, local), expected, "{held:?} {local:?}");
        }
    }

    /// One line a peer, one letter a node; `-`: no vote.
    fn doubtful_of(peers: &[&str]) -> Vec<usize> {
        let mut whole = Tally::default();
        for node in 0..peers[0].len() {
            let votes = peers.iter().map(|line| line.as_bytes()[node] as char).enumerate();
            let votes: Vec<(usize, Health)> =
                votes.filter(|(_, c)| *c != '-').map(|(peer, c)| (peer, votes_of(c))).collect();
            // As if every node were in a pool of its own.
            let mut part = Tally::default();
            part.count(&votes);
            whole.add(&part);
        }
        whole.doubtful()
    }

    fn votes_of(c: char) -> Health {
        votes(&c.to_string())[0].health
    }

    #[test]
    fn a_peer_that_disagrees_with_everybody_is_doubtful() {
        for (peers, expected) in [
            (&["UUUU", "UUUU", "DDDU"][..], &[2][..]),
            // Half of its nodes are not more than half.
            (&["UUUU", "UUUU", "DDUU"], &[]),
            // Two nodes are too few to judge by.
            (&["UU", "UU", "DD"], &[]),
            // The nodes really are down.
            (&["DDDD", "DDDD", "DDDD"], &[]),
            (&["UUUU", "DDDD", "DDDD"], &[]),
            // Of two who disagree one is doubtful; that is half of the peers and not more.
            (&["UUU", "DDD"], &[1]),
            // Nobody else sees these nodes.
            (&["DDD---", "---UUU"], &[]),
            (&["DDD"], &[]),
        ] {
            assert_eq!(doubtful_of(peers), expected, "{peers:?}");
        }
    }

    #[test]
    fn if_more_than_half_of_the_peers_were_doubtful_none_is() {
        // Each of the first three is alone in calling three of its five nodes down.
        assert_eq!(doubtful_of(&["DDDUU----", "UUUUUUUUU", "UUUUUUUUU", "UUUUUUUUU"]), [0]);
        assert!(doubtful_of(&["DDDUU----", "---DDDUU-", "UU----DDD", "UUUUUUUUU"]).is_empty());
    }

    #[test]
    fn a_peer_that_reaches_nothing_becomes_doubtful_and_takes_nobody_with_it() {
        for peers in 2..=7 {
            let mut lines = vec!["UUUUUUUU"; peers];
            lines[peers - 1] = "DDDDDDDD";
            assert_eq!(doubtful_of(&lines), [peers - 1], "{peers} peers");
        }
    }
}
