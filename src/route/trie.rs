//! Texts by their beginnings: one walk along a path, or along a host from its end, finds everything that stands on its way.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Radix trees over bytes, one beside the other, so that what one walk reads lies close together. What stands in them are numbers:
/// places of routes in the order in which these are looked at, or trees.
#[derive(Debug, Default)]
pub(super) struct Forest {
    /// Level by level, so that the children of one node lie side by side. Behind those of a tree stands one more, for its end.
    nodes: Box<[Node]>,
    /// Of each node the first byte of its label: to go on is to look through those of the children. Behind all are eight more.
    firsts: Box<[u8]>,
    /// The bytes between a node and the one above it, of all nodes.
    labels: Box<[u8]>,
    /// What stands at all nodes, of each in order.
    places: Box<[u32]>,
}

/// A tree of a [`Forest`], as its first node is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tree(pub(super) u32);

/// Where that which a node has begins; it ends where that of the next one begins.
#[derive(Clone, Copy, Debug)]
struct Node {
    label: u32,
    children: u32,
    /// What stands at all texts that begin so.
    beginning: u32,
    /// What stands at the text that ends here, behind that.
    whole: u32,
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
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

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

/// A node to come: the texts below it, which are sorted, and its label, which all of them have there.
struct Bud<'k> {
    keys: &'k [Key],
    label: Range<usize>,
}

impl Grown {
    /// Adds the tree of these texts.
    pub(super) fn plant(&mut self, texts: Texts) -> Tree {
        let keys: Vec<Key> = texts.0.into_iter().collect();
        let root = self.nodes.len();
        let mut children = root + 1;
        // The root stands for the empty text, whether anything does there or not.
        let mut buds = VecDeque::from([Bud { keys: &keys, label: 0..0 }]);
        while let Some(Bud { mut keys, label }) = buds.pop_front() {
            let depth = label.end;
            let bytes = keys.first().map_or(&[][..], |(text, _)| &text[label]);
            let beginning = self.places.len();
            let mut whole = beginning;
            self.firsts.push(bytes.first().copied().unwrap_or_default());
            let label = self.labels.len();
            self.labels.extend_from_slice(bytes);
            if let Some(((text, standing), rest)) = keys.split_first()
                && text.len() == depth
            {
                self.places.extend_from_slice(&standing.beginning);
                whole = self.places.len();
                self.places.extend_from_slice(&standing.whole);
                keys = rest;
            }
            self.nodes.push(Node {
                label: index(label),
                children: index(children),
                beginning: index(beginning),
                whole: index(whole),
            });
            for group in keys.chunk_by(|(a, _), (b, _)| a[depth] == b[depth]) {
                buds.push_back(Bud { keys: group, label: depth..shared_bytes(group, depth) });
                children += 1;
            }
        }
        let places = index(self.places.len());
        let label = index(self.labels.len());
        self.nodes.push(Node { label, children: index(children), beginning: places, whole: places });
        self.firsts.push(0);
        Tree(index(root))
    }

    /// The forest that has grown.
    pub(super) fn forest(self) -> Forest {
        let Self { nodes, mut firsts, labels, places } = self;
        firsts.extend([0; 8]);
        Forest { nodes: nodes.into(), firsts: firsts.into(), labels: labels.into(), places: places.into() }
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// How many bytes all of these, which are sorted, begin with; at least `from`.
fn shared_bytes(keys: &[Key], from: usize) -> usize {
    let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else { return from };
    from + first[from..].iter().zip(&last[from..]).take_while(|(a, b)| a == b).count()
}

/// What stands where a walk is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met<'t> {
    /// At all texts that begin so.
    pub(super) beginning: &'t [u32],
    /// At the text that ends here.
    pub(super) whole: &'t [u32],
}

impl Forest {
    /// Calls `found` with what stands on the way along `text` in one tree, that of each place in order.
    pub(super) fn walk<'t>(&'t self, tree: Tree, text: &[u8], found: &mut impl FnMut(&'t [u32])) {
        let mut walk = self.begin(tree);
        if walk.on(text, &mut |met| found(met.beginning)) {
            found(walk.whole());
        }
    }

    /// At the root of a tree.
    pub(super) fn begin(&self, tree: Tree) -> Walk<'_> {
        Walk { forest: self, at: tree.0 as usize, is_new: true, label: &[] }
    }

    fn met(&self, at: usize) -> Met<'_> {
        let (node, next) = (self.nodes[at], self.nodes[at + 1]);
        let of = |from, to| of(&self.places, from, to);
        Met { beginning: of(node.beginning, node.whole), whole: of(node.whole, next.beginning) }
    }
}

/// A walk along a text of which the parts come one after the other.
pub(super) struct Walk<'t> {
    forest: &'t Forest,
    at: usize,
    /// Whether nobody was told what stands where it is.
    is_new: bool,
    /// What is left to meet on the way to where it is.
    label: &'t [u8],
}

impl<'t> Walk<'t> {
    /// Goes on along `text` and calls `met` with what stands on the way; `false`: that way ends before the text does.
    pub(super) fn on(&mut self, text: &[u8], met: &mut impl FnMut(Met<'t>)) -> bool {
        let forest = self.forest;
        let mut text = text;
        loop {
            if text.len() < self.label.len() {
                let (part, left) = self.label.split_at(text.len());
                self.label = left;
                return part == text;
            }
            let (read, rest) = text.split_at(self.label.len());
            if !is_same(self.label, read) {
                return false;
            }
            (self.label, text) = (&[], rest);
            if std::mem::take(&mut self.is_new) {
                met(forest.met(self.at));
            }
            let Some((&byte, behind)) = text.split_first() else { return true };
            let (node, next) = (forest.nodes[self.at], forest.nodes[self.at + 1]);
            let Some(child) = position(&forest.firsts, node.children, next.children, byte) else { return false };
            (self.at, self.is_new, text) = (child, true, behind);
            // Its first byte is the one that led here.
            self.label = of(&forest.labels, forest.nodes[child].label + 1, forest.nodes[child + 1].label);
        }
    }

    /// What stands at the text that was walked along.
    pub(super) fn whole(&self) -> &'t [u32] {
        if self.label.is_empty() { self.forest.met(self.at).whole } else { &[] }
    }
}

/// Most labels are a few bytes, for which `memcmp` takes longer than looking at them.
fn is_same(label: &[u8], read: &[u8]) -> bool {
    if label.len() > 16 { label == read } else { label.iter().zip(read).all(|(a, b)| a == b) }
}

/// Where `byte` stands among those from `from` to `to`, all of which differ. Which of them it is makes no branch that a processor
/// would guess wrong: it looks at eight at a time.
fn position(firsts: &[u8], from: u32, to: u32, byte: u8) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (mut at, to) = (from as usize, to as usize);
    while at < to {
        let eight = u64::from_le_bytes(*firsts[at..].first_chunk()?);
        let others = eight ^ (ONES * u64::from(byte));
        let zeros = others.wrapping_sub(ONES) & !others & TOPS;
        let found = at + zeros.trailing_zeros() as usize / 8;
        if zeros != 0 {
            return (found < to).then_some(found);
        }
        at += 8;
    }
    None
}

fn of<T>(all: &[T], from: u32, to: u32) -> &[T] {
    &all[from as usize..to as usize]
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
        grown.forest().walk(tree, path.as_bytes(), &mut |places| all.extend_from_slice(places));
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

    #[test]
    fn a_byte_is_found_among_those_of_one_node_only() {
        let firsts = [b"acegikmoqs", &b"bd"[..], &[0; 8]].concat();
        for (byte, place) in
            [(b'a', Some(0)), (b'o', Some(7)), (b'q', Some(8)), (b's', Some(9)), (b'b', None), (0, None)]
        {
            assert_eq!(position(&firsts, 0, 10, byte), place, "{byte}");
        }
        assert_eq!(position(&firsts, 10, 12, b'd'), Some(11));
        assert_eq!(position(&firsts, 10, 12, b'a'), None);
        assert_eq!(position(&firsts, 12, 12, 0), None);
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

        #[test]
        fn a_text_in_parts_is_met_as_in_one(
            prefixes in proptest::collection::vec("[ab]{0,6}", 0..40),
            parts in proptest::collection::vec("[ab]{0,3}", 1..5),
        ) {
            let mut texts = Texts::default();
            for (place, prefix) in (0u32..).zip(&prefixes) {
                texts.beginning(prefix.as_bytes(), place);
                texts.whole(prefix.as_bytes(), place + 1_000);
            }
            let mut grown = Grown::default();
            let tree = grown.plant(texts);
            let forest = grown.forest();
            let (mut at_once, mut in_parts) = (Vec::new(), Vec::new());
            forest.walk(tree, parts.concat().as_bytes(), &mut |places| at_once.extend_from_slice(places));
            let mut walk = forest.begin(tree);
            let mut met = |met: Met<'_>| in_parts.extend_from_slice(met.beginning);
            if parts.iter().all(|part| walk.on(part.as_bytes(), &mut met)) {
                in_parts.extend_from_slice(walk.whole());
            }
            proptest::prop_assert_eq!(at_once, in_parts);
        }
    }
}
