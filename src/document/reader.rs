//! One pass over a document that does everything a key needs: takes the strongest of flag, environment and document, checks
//! each of them, notes the origin, and knows afterwards which keys nobody asked for. A key, its default, its bounds and
//! its meaning are therefore one call; the same pass over nothing describes all keys.

mod section;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{Fault, Faults};
use super::origin::Origin;
use super::said::{Setting, Warning};
use super::tree::Table;
use crate::model::limits::SETTINGS_WARNINGS_MAX;

pub(crate) use section::{Override, Section};

/// What stands around a document: what is stronger than its keys, and all that may stand in it.
pub(crate) trait Outside {
    /// The value of a variable of the environment.
    fn variable(&self, name: &str) -> Option<&str>;

    /// The variable of another system that sets the same as this key, weaker than Evenkeel's own.
    fn inherited(&self, section: &str, key: &str) -> Option<&'static str>;

    /// The flag that sets this key, and its value if it was given.
    fn flag(&self, section: &str, key: &str) -> Option<(&'static str, Option<&str>)>;

    /// Every key there is, for hints.
    fn describe(&self) -> Description;
}

/// What a key is, for the reference.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub section: String,
    pub key: &'static str,
    pub allowed: String,
    pub default: String,
    /// Variables of the environment that override it, the strongest first.
    pub variables: Vec<String>,
    pub flag: Option<&'static str>,
    /// The setting beside it that it needs.
    pub only: Option<&'static str>,
    pub doc: &'static str,
}

/// What a section is, for the reference.
#[derive(Clone, Debug)]
pub(crate) struct SectionRow {
    /// As [`Row::section`] has it.
    pub name: String,
    /// As a user writes it.
    pub title: String,
    pub doc: &'static str,
}

/// All that may stand in a document, from a pass over nothing.
#[derive(Debug, Default)]
pub(crate) struct Description {
    pub sections: Vec<SectionRow>,
    pub rows: Vec<Row>,
    /// Keys of a later version, with their sections.
    pub later: Vec<(String, &'static str)>,
}

/// What becomes of a catalog's keys that this version does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unknown<'k> {
    /// Each is a fault: for what a user writes, who misspelt it.
    Refused,
    /// They are no fault, and one warning names them: for what the cluster agreed on, perhaps by a newer peer.
    Kept,
    /// These are kept, all others are faults: for a user's change of what the cluster agreed on.
    KeptOf(&'k BTreeSet<String>),
}

/// The pass.
pub(crate) struct Reader<'a> {
    /// The settings file as the user named it; `None`: the catalog.
    path: Option<Arc<str>>,
    outside: &'a dyn Outside,
    /// Lines whose values were broken already.
    faulty_lines: BTreeSet<u32>,
    /// Something of the file could not be read, so that what is missing may be there.
    damaged: bool,
    /// Every variable that means something.
    variables: BTreeSet<String>,
    /// Variables that a later version has; one that ends in `_` stands for all that begin so.
    variables_later: Vec<String>,
    pub faults: Faults,
    warnings: Vec<Warning>,
    /// Warnings beyond [`SETTINGS_WARNINGS_MAX`].
    warnings_unlisted: usize,
    pub settings: Vec<Setting>,
    /// Files that are named in the document and were read with it.
    pub files: BTreeSet<PathBuf>,
    unknown: Unknown<'a>,
    /// Keys that nobody asked for and that are no fault.
    kept: BTreeSet<String>,
    describing: Option<Description>,
    /// All keys, for hints; made when the first is needed.
    description: Option<Description>,
}

impl<'a> Reader<'a> {
    /// A pass over the settings file.
    pub(crate) fn of_file(path: Arc<str>, outside: &'a dyn Outside) -> Self {
        Self::of(Some(path), outside)
    }

    /// A pass over a catalog.
    pub(crate) fn of_catalog(unknown: Unknown<'a>, outside: &'a dyn Outside) -> Self {
        Self { unknown, ..Self::of(None, outside) }
    }

    fn of(path: Option<Arc<str>>, outside: &'a dyn Outside) -> Self {
        Self {
            path,
            outside,
            faulty_lines: BTreeSet::new(),
            damaged: false,
            variables: BTreeSet::new(),
            variables_later: Vec::new(),
            faults: Faults::default(),
            warnings: Vec::new(),
            warnings_unlisted: 0,
            settings: Vec::new(),
            files: BTreeSet::new(),
            unknown: Unknown::Refused,
            kept: BTreeSet::new(),
            describing: None,
            description: None,
        }
    }

    /// A pass that only describes.
    pub(crate) fn describing(outside: &'a dyn Outside) -> Self {
        Self { describing: Some(Description::default()), ..Self::of(None, outside) }
    }

    pub(crate) fn into_description(self) -> Description {
        self.describing.unwrap_or_default()
    }

    /// What stands on these lines is reported already.
    pub(crate) fn set_damaged(&mut self, faulty_lines: BTreeSet<u32>) {
        self.damaged = true;
        self.faulty_lines = faulty_lines;
    }

    /// Whether what is missing may only not have been read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(crate) fn is_describing(&self) -> bool {
        self.describing.is_some()
    }

    /// This line of the document.
    pub(crate) fn at(&self, line: u32) -> Origin {
        match &self.path {
            Some(path) => Origin::File { path: Arc::clone(path), line },
            None => Origin::Catalog,
        }
    }

    /// Whether it is the settings file, which is TOML; a catalog is JSON.
    pub(crate) fn is_of_file(&self) -> bool {
        self.path.is_some()
    }

    /// Takes note of a key that nobody asked for; false where that is a fault.
    pub(crate) fn keep(&mut self, key: impl FnOnce() -> String) -> bool {
        let key = match self.unknown {
            Unknown::Refused => return false,
            Unknown::Kept => key(),
            Unknown::KeptOf(known) => {
                let key = key();
                if !known.contains(&key) {
                    return false;
                }
                key
            }
        };
        self.kept.insert(key);
        true
    }

    /// Keys that nobody asked for and that are no fault.
    pub(crate) fn kept(&self) -> &BTreeSet<String> {
        &self.kept
    }

    /// A variable of a system that Evenkeel takes over from.
    pub(crate) fn inherited(&mut self, name: &'static str) -> Option<&'a str> {
        self.variables.insert(name.to_owned());
        self.outside.variable(name)
    }

    /// Every variable that means something; whole only after the pass.
    pub(crate) fn known_variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Whether a later version has the section that this variable names.
    pub(crate) fn is_later_variable(&self, name: &str) -> bool {
        let is_meant = |later: &String| name == later || (later.ends_with('_') && name.starts_with(later.as_str()));
        self.variables_later.iter().any(is_meant)
    }

    /// Notes that a file belongs to what is read.
    pub(crate) fn note_file(&mut self, path: &Path) {
        self.files.insert(path.to_owned());
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        if !self.is_broken_already(&fault.origin) && self.describing.is_none() {
            self.faults.push(fault);
        }
    }

    pub(crate) fn warn(&mut self, origin: Origin, key: impl Into<String>, message: impl Into<String>) {
        if self.describing.is_some() || self.is_broken_already(&origin) {
            return;
        }
        if self.warnings.len() < SETTINGS_WARNINGS_MAX {
            self.warnings.push(Warning { origin, key: key.into(), message: message.into() });
        } else {
            self.warnings_unlisted += 1;
        }
    }

    /// All warnings; the last says how many are not listed.
    pub(crate) fn take_warnings(&mut self) -> Vec<Warning> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if !self.kept.is_empty() {
            /// More are only counted.
            const NAMED_MAX: usize = 5;
            let first: Vec<&str> = self.kept.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = self.kept.len() - first.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message =
                format!("this version does not know {}{more}; they are kept and have no effect here", first.join(", "));
            warnings.push(Warning { origin: Origin::Catalog, key: String::new(), message });
        }
        if self.warnings_unlisted > 0 {
            let message = format!("{} more warnings are not listed", self.warnings_unlisted);
            warnings.push(Warning { origin: Origin::Default, key: String::new(), message });
        }
        warnings
    }

    fn is_broken_already(&self, origin: &Origin) -> bool {
        matches!(origin, Origin::File { line, .. } if self.faulty_lines.contains(line))
    }

    /// Names that must be unique and are not; the second is at fault and the first is named. `words`: the key, and what is
    /// wrong.
    pub(crate) fn refuse_twice<'n, N: Hash + Eq + Display + 'n>(
        &mut self,
        names: impl Iterator<Item = (&'n N, Origin)>,
        words: impl Fn(&N) -> (String, String),
    ) {
        let mut seen: HashMap<&N, Origin> = HashMap::new();
        for (name, origin) in names {
            match seen.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(origin);
                }
                Entry::Occupied(first) => {
                    let (key, wrong) = words(name);
                    let fault = Fault::new(origin, key, wrong)
                        .found(format!("\"{name}\""))
                        .hint(format!("the first is at {}; give one of them another name", first.get()));
                    self.fault(fault);
                }
            }
        }
    }

    /// The sections that know a key of this name.
    fn sections_with(&mut self, key: &str) -> Vec<String> {
        let description = self.description.get_or_insert_with(|| self.outside.describe());
        let mut titles: Vec<String> = Vec::new();
        for row in description.rows.iter().filter(|row| row.key == key) {
            let section = description.sections.iter().find(|section| section.name == row.section);
            if let Some(section) = section
                && !titles.contains(&section.title)
            {
                titles.push(section.title.clone());
            }
        }
        titles
    }

    /// The file as a whole.
    pub(crate) fn root<'r, 't, T>(
        &'r mut self,
        root: &'t Table,
        read: impl FnOnce(&mut Section<'_, 't, 'a>) -> T,
    ) -> T {
        let mut section = Section::root(self, root);
        let out = read(&mut section);
        section.finish();
        out
    }
}
