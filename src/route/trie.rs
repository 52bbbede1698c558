//! Texts by their beginnings: one walk along a path, or along a host from its end, finds everything that stands on its way.

use std::collections::BTreeMap;
use std::ops::Range;

/// Radix trees over bytes, one beside the other, so that those of many hosts lie close together. What stands in them are numbers:
/// places of routes in the order in which these are looked at, or trees.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Box<[Node]>,
    /// Of each node the first byte of its label: to go on is to look through those of the children, which lie side by side.
    firsts: Box<[u8]>,
    /// The bytes between a node and the one above it, of all nodes.
    labels: Box<[u8]>,
    /// What stands at all nodes, of each in order.
    places: Box<[u32]>,
}

/// A tree of a [`Forest`], as its first node is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tree(pub(super) u32);

#[derive(Debug)]
struct Node {
    label: Range<u32>,
    /// Where its first child stands; the others follow, by their first bytes.
    children: Range<u32>,
    /// What stands at all texts that begin so.
    beginning: Range<u32>,
    /// What stands at the text that ends here.
    whole: Range<u32>,
}

/// What is put into a tree.
#[derive(Debug, Default)]
pub(super) struct Texts(BTreeMap<Box<[u8]>, Standing>);

#[derive(Debug, Default)]
struct Standing {
    beginning: Vec<u32>,
    whole: Vec<u32>,
}

impl Texts {
    /// It stands at every text that begins so.
    pub(super) fn beginning(&mut self, prefix: &[u8], place: u32) {
        put(&mut self.0.entry(prefix.into()).or_default().beginning, place);
    }

    /// It stands at this text.
    pub(super) fn whole(&mut self, text: &[u8], place: u32) {
        put(&mut self.0.entry(text.into()).or_default().whole, place);
    }
}

/// Places come in order, so the last one is the only one that can be there already.
fn put(places: &mut Vec<u32>, place: u32) {
    if places.last() != Some(&place) {
        places.push(place);
    }
}

/// A text, and what stands there.
type Key = (Box<[u8]>, Standing);

/// A [`Forest`] that grows.
#[derive(Default)]
pub(super) struct Grown {
    nodes: Vec<Node>,
    firsts: Vec<u8>,
    labels: Vec<u8>,
    places: Vec<u32>,
}

impl Grown {
    /// Adds the tree of these texts.
    pub(super) fn plant(&mut self, texts: Texts) -> Tree {
        let keys: Vec<Key> = texts.0.into_iter().collect();
        let root = self.nodes.len();
        // It stands for the empty text, whether anything does there or not.
        self.add_node(0..0, 0);
        self.fill(root, &keys, 0);
        Tree(index(root))
    }

    /// The forest that has grown.
    pub(super) fn forest(self) -> Forest {
        let Self { nodes, firsts, labels, places } = self;
        Forest { nodes: nodes.into(), firsts: firsts.into(), labels: labels.into(), places: places.into() }
    }

    fn add_node(&mut self, label: Range<u32>, first: u8) {
        self.nodes.push(Node { label, children: 0..0, beginning: 0..0, whole: 0..0 });
        self.firsts.push(first);
    }

    /// Fills node `at`, above which `depth` bytes stand, with `keys`, which are sorted and all begin with those bytes. As deep as
    /// texts branch, which is as deep as they are long at most.
    fn fill(&mut self, at: usize, keys: &[Key], depth: usize) {
        let mut keys = keys;
        if let Some(((key, standing), rest)) = keys.split_first()
            && key.len() == depth
        {
            self.nodes[at].beginning = add(&mut self.places, &standing.beginning);
            self.nodes[at].whole = add(&mut self.places, &standing.whole);
            keys = rest;
        }
        let groups: Vec<&[Key]> = keys.chunk_by(|a, b| a.0[depth] == b.0[depth]).collect();
        let first = self.nodes.len();
        for group in &groups {
            let shared = shared_bytes(group, depth);
            let label = add(&mut self.labels, &group[0].0[depth..shared]);
            self.add_node(label, group[0].0[depth]);
        }
        self.nodes[at].children = index(first)..index(self.nodes.len());
        for (number, group) in groups.into_iter().enumerate() {
            let shared = shared_bytes(group, depth);
            self.fill(first + number, group, shared);
        }
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn add<T: Copy>(all: &mut Vec<T>, more: &[T]) -> Range<u32> {
    let from = index(all.len());
    all.extend_from_slice(more);
    from..index(all.len())
}

/// How many bytes all of these, which are sorted, begin with; at least `from`.
fn shared_bytes(keys: &[Key], from: usize) -> usize {
    let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else { return from };
    from + first[from..].iter().zip(&last[from..]).take_while(|(a, b)| a == b).count()
}

impl Forest {
    /// Calls `found` with what stands on the way along `text` in one tree, that of each place in order.
    pub(super) fn walk<'t>(&'t self, tree: Tree, text: &[u8], mut found: impl FnMut(&'t [u32])) {
        let mut node = &self.nodes[tree.0 as usize];
        let mut rest = text;
        loop {
            let mut tell = |places: &Range<u32>| {
                if !places.is_empty() {
                    found(of(&self.places, places));
                }
            };
            tell(&node.beginning);
            let Some(&byte) = rest.first() else { return tell(&node.whole) };
            let Some(child) = of(&self.firsts, &node.children).iter().position(|&first| first == byte) else { return };
            let next = &self.nodes[node.children.start as usize + child];
            let label = &next.label;
            // Its first byte is the one that led here.
            let Some(behind) = rest[1..].strip_prefix(of(&self.labels, &(label.start + 1..label.end))) else { return };
            (node, rest) = (next, behind);
        }
    }
}

fn of<'a, T>(all: &'a [T], range: &Range<u32>) -> &'a [T] {
    &all[range.start as usize..range.end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a walk along `path` finds in the tree of these texts, which stands beside another one.
    fn found(texts: Texts, path: &str) -> Vec<u32> {
        let mut other = Texts::default();
        other.beginning(b"", 7_000);
        other.beginning(b"/a", 7_001);
        let mut grown = Grown::default();
        grown.plant(other);
        let tree = grown.plant(texts);
        let mut all = Vec::new();
        grown.forest().walk(tree, path.as_bytes(), |places| all.extend_from_slice(places));
        all
    }

    #[test]
    fn one_walk_finds_all_that_a_path_begins_with_and_what_it_is() {
        let paths = || {
            let mut paths = Texts::default();
            paths.beginning(b"/", 0);
            paths.whole(b"/health", 1);
            paths.beginning(b"/api/", 2);
            paths.beginning(b"/api/v2/", 3);
            paths.beginning(b"/ap", 4);
            paths.whole(b"/api/v2/x", 5);
            paths
        };
        for (path, places) in [
            ("/", &[0][..]),
            ("/health", &[0, 1]),
            ("/healthy", &[0]),
            ("/heal", &[0]),
            ("/ap", &[0, 4]),
            ("/api", &[0, 4]),
            ("/api/", &[0, 4, 2]),
            ("/api/v2/x", &[0, 4, 2, 3, 5]),
            ("/api/v2/x/y", &[0, 4, 2, 3]),
            ("", &[]),
            ("*", &[]),
        ] {
            assert_eq!(found(paths(), path), places, "{path}");
        }
        assert!(found(Texts::default(), "/").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn a_walk_finds_what_looking_at_each_finds(
            prefixes in proptest::collection::vec("/[ab]{0,4}", 0..40),
            wholes in proptest::collection::vec("/[ab]{0,4}", 0..40),
            path in "/[abc]{0,6}",
        ) {
            let mut paths = Texts::default();
            let mut expected = Vec::new();
            for (place, prefix) in (0u32..).zip(&prefixes) {
                paths.beginning(prefix.as_bytes(), place);
                if path.starts_with(prefix) {
                    expected.push(place);
                }
            }
            for (place, whole) in (1_000u32..).zip(&wholes) {
                paths.whole(whole.as_bytes(), place);
                if path == *whole {
                    expected.push(place);
                }
            }
            let mut walked = found(paths, &path);
            walked.sort_unstable();
            proptest::prop_assert_eq!(walked, expected);
        }
    }
}
