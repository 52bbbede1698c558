//! What changed in the view since it was last looked at, a line each.

use std::collections::HashMap;

use crate::model::{NodeId, Verdict};

/// The verdicts that were told last.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<NodeId, Verdict>);

impl Changes {
    /// A line for the node, where its verdict is another than last time. `why` is what its last check found. A node that is
    /// seen for the first time was unknown before.
    pub(super) fn look_at(&mut self, id: &NodeId, verdict: Verdict, why: &str) -> Option<String> {
        let before = self.0.insert(id.clone(), verdict).unwrap_or_default();
        let line = format!("{id}  {} -> {}  {why}", before.name(), verdict.name());
        (before != verdict).then(|| line.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_verdict_is_told_once() {
        let (mut changes, node) = (Changes::default(), "web-1".parse().unwrap());
        let mut told = Vec::new();
        for (verdict, why) in [
            (Verdict::Unknown, ""),
            (Verdict::Up, "ok 200"),
            (Verdict::Up, "ok 200"),
            (Verdict::Down, "connect: refused"),
            (Verdict::Unknown, ""),
        ] {
            told.extend(changes.look_at(&node, verdict, why));
        }
        let expected =
            ["web-1  unknown -> up  ok 200", "web-1  up -> down  connect: refused", "web-1  down -> unknown"];
        assert_eq!(told, expected);
    }
}
