//! Paths by their beginnings: one walk along a path finds every route that stands on its way.

use std::collections::BTreeMap;
use std::ops::Range;

/// Routes by path, as a radix tree over bytes. A route is its place in the order in which routes are looked at.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Box<[Node]>,
    /// The bytes between a node and the one above it, of all nodes.
    labels: Box<[u8]>,
    /// The routes of all nodes, of each in order.
    places: Box<[u32]>,
}

#[derive(Debug)]
struct Node {
    label: Range<u32>,
    /// Where its first child stands; the others follow, by their first bytes.
    children: Range<u32>,
    /// Routes of all paths that begin so.
    beginning: Range<u32>,
    /// Routes of the path that ends here.
    whole: Range<u32>,
}

/// What is put into a [`Trie`].
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<Box<[u8]>, Routes>);

#[derive(Debug, Default)]
struct Routes {
    beginning: Vec<u32>,
    whole: Vec<u32>,
}

impl Paths {
    /// A route of every path that begins so.
    pub(super) fn beginning(&mut self, prefix: &[u8], place: u32) {
        put(&mut self.0.entry(prefix.into()).or_default().beginning, place);
    }

    /// A route of this path.
    pub(super) fn whole(&mut self, path: &[u8], place: u32) {
        put(&mut self.0.entry(path.into()).or_default().whole, place);
    }

    /// The tree of them.
    pub(super) fn tree(self) -> Trie {
        let keys: Vec<Key> = self.0.into_iter().collect();
        let mut grown = Grown::default();
        // The root stands for the empty path, whether a route has it or not.
        grown.nodes.push(Node { label: 0..0, children: 0..0, beginning: 0..0, whole: 0..0 });
        grown.fill(0, &keys, 0);
        Trie { nodes: grown.nodes.into(), labels: grown.labels.into(), places: grown.places.into() }
    }
}

/// Routes come in order, so the last one is the only one that can be there already.
fn put(places: &mut Vec<u32>, place: u32) {
    if places.last() != Some(&place) {
        places.push(place);
    }
}

/// A path, and the routes that stand there.
type Key = (Box<[u8]>, Routes);

#[derive(Default)]
struct Grown {
    nodes: Vec<Node>,
    labels: Vec<u8>,
    places: Vec<u32>,
}

impl Grown {
    /// Fills node `at`, above which `depth` bytes stand, with `keys`, which are sorted and all begin with those bytes. As deep as
    /// paths branch, which is as deep as they are long at most.
    fn fill(&mut self, at: usize, keys: &[Key], depth: usize) {
        let mut keys = keys;
        if let Some(((key, routes), rest)) = keys.split_first()
            && key.len() == depth
        {
            self.nodes[at].beginning = add(&mut self.places, &routes.beginning);
            self.nodes[at].whole = add(&mut self.places, &routes.whole);
            keys = rest;
        }
        let groups: Vec<&[Key]> = keys.chunk_by(|a, b| a.0[depth] == b.0[depth]).collect();
        let first = self.nodes.len();
        for group in &groups {
            let shared = shared_bytes(group, depth);
            let label = add(&mut self.labels, &group[0].0[depth..shared]);
            self.nodes.push(Node { label, children: 0..0, beginning: 0..0, whole: 0..0 });
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

impl Trie {
    /// Calls `found` with the routes on the way along `path`, those of each place in order.
    pub(super) fn walk<'t>(&'t self, path: &[u8], mut found: impl FnMut(&'t [u32])) {
        let mut node = &self.nodes[0];
        let mut rest = path;
        loop {
            let mut tell = |places: &Range<u32>| {
                if !places.is_empty() {
                    found(of(&self.places, places));
                }
            };
            tell(&node.beginning);
            let Some(&byte) = rest.first() else { return tell(&node.whole) };
            let children = of(&self.nodes, &node.children);
            let first_byte = |child: &Node| self.labels[child.label.start as usize];
            let next = if children.len() <= 8 {
                children.iter().find(|child| first_byte(child) == byte)
            } else {
                children.binary_search_by_key(&byte, first_byte).ok().map(|at| &children[at])
            };
            let Some(next) = next else { return };
            let Some(behind) = rest.strip_prefix(of(&self.labels, &next.label)) else { return };
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

    fn found(trie: &Trie, path: &str) -> Vec<u32> {
        let mut all = Vec::new();
        trie.walk(path.as_bytes(), |places| all.extend_from_slice(places));
        all
    }

    #[test]
    fn one_walk_finds_all_that_a_path_begins_with_and_what_it_is() {
        let mut paths = Paths::default();
        paths.beginning(b"/", 0);
        paths.whole(b"/health", 1);
        paths.beginning(b"/api/", 2);
        paths.beginning(b"/api/v2/", 3);
        paths.beginning(b"/ap", 4);
        paths.whole(b"/api/v2/x", 5);
        let trie = paths.tree();
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
            assert_eq!(found(&trie, path), places, "{path}");
        }
        assert!(found(&Paths::default().tree(), "/").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn a_walk_finds_what_looking_at_each_finds(
            prefixes in proptest::collection::vec("/[ab]{0,4}", 0..40),
            wholes in proptest::collection::vec("/[ab]{0,4}", 0..40),
            path in "/[abc]{0,6}",
        ) {
            let mut paths = Paths::default();
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
            let mut walked = found(&paths.tree(), &path);
            walked.sort_unstable();
            proptest::prop_assert_eq!(walked, expected);
        }
    }
}
