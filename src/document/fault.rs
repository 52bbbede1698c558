//! What is wrong with a document, in words that say what to do; and the nearest known word to a misspelt one.

use std::fmt;

use serde::Serialize;

use super::origin::Origin;
use crate::model::limits::SETTINGS_FAULTS_MAX;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// Where it stands.
    pub origin: Origin,
    /// The whole key: `upstream.idle_timeout`, `pool "web" node "web-1" weight`. Empty where there is none.
    pub key: String,
    /// What stands there, shortened.
    pub found: Option<String>,
    /// Why that is wrong.
    pub wrong: String,
    /// What may stand there.
    pub allowed: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(origin: Origin, key: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self { origin, key: key.into(), found: None, wrong: wrong.into(), allowed: None, hint: None }
    }

    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub(crate) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        // A flag or a variable that is the key says so once.
        if !self.key.is_empty() && !matches!(&self.origin, Origin::Environment { name } if *name == self.key) {
            write!(f, ": {}", self.key)?;
        }
        let lines = [
            ("found:  ", self.found.as_deref()),
            ("wrong:  ", Some(self.wrong.as_str())),
            ("allowed:", self.allowed.as_deref()),
            ("hint:   ", self.hint.as_deref()),
        ];
        for (label, text) in lines {
            if let Some(text) = text {
                write!(f, "\n    {label} {text}")?;
            }
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of the file; then the environment and the flags.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Faults {
    /// At most [`SETTINGS_FAULTS_MAX`].
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub unlisted: usize,
    /// The file's shape is broken, so that nothing but its shape was checked.
    pub shape_only: bool,
}

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.faults.len() < SETTINGS_FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.unlisted += 1;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.faults.len() + self.unlisted
    }

    pub(crate) fn in_reading_order(mut self) -> Self {
        self.faults.sort_by_key(|fault| match &fault.origin {
            Origin::File { line, .. } => (0, *line),
            Origin::Default | Origin::Machine | Origin::Catalog => (1, 0),
            Origin::Environment { .. } => (2, 0),
            Origin::Flag { .. } => (3, 0),
        });
        self
    }
}

/// One fault a block, then how many there are.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            write!(f, "{fault}\n\n")?;
        }
        if self.unlisted > 0 {
            write!(f, "{} more are not listed.\n\n", self.unlisted)?;
        }
        match self.count() {
            1 => f.write_str("1 fault")?,
            count => write!(f, "{count} faults")?,
        }
        if self.shape_only {
            f.write_str("; the file is checked further once its shape is mended")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The one of `known` that `word` most likely means: a letter or two missing, added, changed or swapped.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// No word that users write is longer; a longer one is not compared, which bounds the work.
    const COMPARED_BYTES_MAX: usize = 64;
    if word.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (distance(&word, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Edits between two words: letters added, dropped, changed, or two neighbours swapped (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let changed = last[j] + usize::from(a[i] != b[j]);
            let mut best = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant_and_a_strange_one_finds_none() {
        let known = ["weight", "address", "region", "id"];
        for (word, meant) in [
            ("weigth", Some("weight")),
            ("wight", Some("weight")),
            ("adress", Some("address")),
            ("Region", Some("region")),
            ("ip", Some("id")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn more_faults_than_anybody_reads_are_counted() {
        let mut faults = Faults::default();
        for _ in 0..SETTINGS_FAULTS_MAX + 7 {
            faults.push(Fault::new(Origin::Default, "a", "b"));
        }
        assert_eq!((faults.faults.len(), faults.unlisted), (SETTINGS_FAULTS_MAX, 7));
        assert!(faults.to_string().ends_with("7 more are not listed.\n\n1007 faults"));
    }
}
