//! What changed since it was last looked at, a line each, with the peers that see it so.

use std::collections::BTreeMap;

use crate::model::PeerId;

/// How each peer saw each thing last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    seen: BTreeMap<(PeerId, String), &'static str>,
    lines: BTreeMap<(String, String), Vec<PeerId>>,
}

impl Changes {
    /// `peer` sees `what` as `now`, because of `why`. Something that is seen for the first time was `unknown` before.
    pub(super) fn look_at(&mut self, peer: &PeerId, what: &str, now: &'static str, why: &str) {
        let before = self.seen.insert((peer.clone(), what.to_owned()), now).unwrap_or("unknown");
        if before != now {
            let line = (format!("{what}  {before} -> {now}"), why.to_owned());
            self.lines.entry(line).or_default().push(peer.clone());
        }
    }

    /// A peer has ended: whatever it sees when it is started again is new.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.seen.retain(|(of, _), _| of != peer);
    }

    /// The lines since they were taken last.
    pub(super) fn take(&mut self) -> Vec<String> {
        let line = |((what, why), peers): ((String, String), Vec<PeerId>)| {
            let peers: Vec<&str> = peers.iter().map(PeerId::as_str).collect();
            format!("{what}  at {}  {why}", peers.join(", ")).trim_end().to_owned()
        };
        std::mem::take(&mut self.lines).into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_with_all_who_see_it() {
        let (a, b): (PeerId, PeerId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut changes = Changes::default();
        for peer in [&a, &b] {
            changes.look_at(peer, "web-1", "up", "ok 200");
            changes.look_at(peer, "web-1", "up", "ok 200");
        }
        assert_eq!(changes.take(), ["web-1  unknown -> up  at a, b  ok 200"]);
        changes.look_at(&b, "web-1", "down", "connect: refused");
        assert_eq!(changes.take(), ["web-1  up -> down  at b  connect: refused"]);
        assert!(changes.take().is_empty());
        changes.forget(&b);
        changes.look_at(&b, "web-1", "unknown", "");
        assert!(changes.take().is_empty());
    }
}
