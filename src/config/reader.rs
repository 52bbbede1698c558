//! One pass over the settings that does everything a key needs: takes the strongest of flag, environment and file, checks
//! each of them, notes the origin, and knows afterwards which keys nobody asked for. A key, its default, its bounds and
//! its meaning are therefore one call; the same pass over nothing describes all settings.

mod section;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fault::{Fault, Faults};
use super::loaded::{Setting, Warning};
use super::origin::Origin;
use super::sources::{Environment, Flags};
use super::tree::Table;
use crate::model::limits::SETTINGS_WARNINGS_MAX;

pub(super) use section::Section;

/// What a key is, for the reference.
#[derive(Clone, Debug)]
pub(super) struct Row {
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
pub(super) struct SectionRow {
    /// As [`Row::section`] has it.
    pub name: String,
    /// As a user writes it.
    pub title: String,
    pub doc: &'static str,
}

/// Everything that the settings know, from a pass over nothing.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub sections: Vec<SectionRow>,
    pub rows: Vec<Row>,
    /// Keys of a later version, with their sections.
    pub later: Vec<(String, &'static str)>,
}

/// The pass.
pub(super) struct Reader<'a> {
    path: Arc<str>,
    environment: &'a Environment,
    flags: &'a Flags,
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
    describing: Option<Description>,
    /// All settings, for hints; made when the first is needed.
    description: Option<Description>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: Arc<str>, environment: &'a Environment, flags: &'a Flags) -> Self {
        Self {
            path,
            environment,
            flags,
            faulty_lines: BTreeSet::new(),
            damaged: false,
            variables: BTreeSet::new(),
            variables_later: Vec::new(),
            faults: Faults::default(),
            warnings: Vec::new(),
            warnings_unlisted: 0,
            settings: Vec::new(),
            describing: None,
            description: None,
        }
    }

    /// A pass that only describes.
    pub(super) fn describing(environment: &'a Environment, flags: &'a Flags) -> Self {
        Self { describing: Some(Description::default()), ..Self::new(Arc::from(""), environment, flags) }
    }

    pub(super) fn into_description(self) -> Description {
        self.describing.unwrap_or_default()
    }

    /// What stands on these lines is reported already.
    pub(super) fn set_damaged(&mut self, faulty_lines: BTreeSet<u32>) {
        self.damaged = true;
        self.faulty_lines = faulty_lines;
    }

    /// Whether what is missing may only not have been read.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(super) fn is_describing(&self) -> bool {
        self.describing.is_some()
    }

    pub(super) fn in_file(&self, line: u32) -> Origin {
        Origin::File { path: Arc::clone(&self.path), line }
    }

    /// A variable of a system that Evenkeel takes over from.
    pub(super) fn inherited(&mut self, name: &'static str) -> Option<&'a str> {
        self.variables.insert(name.to_owned());
        self.environment.get(name)
    }

    pub(super) fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// Every variable that means something; whole only after the pass.
    pub(super) fn known_variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Whether a later version has the section that this variable names.
    pub(super) fn is_later_variable(&self, name: &str) -> bool {
        let is_meant = |later: &String| name == later || (later.ends_with('_') && name.starts_with(later.as_str()));
        self.variables_later.iter().any(is_meant)
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if !self.is_broken_already(&fault.origin) && self.describing.is_none() {
            self.faults.push(fault);
        }
    }

    pub(super) fn warn(&mut self, origin: Origin, key: impl Into<String>, message: impl Into<String>) {
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
    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if self.warnings_unlisted > 0 {
            let message = format!("{} more warnings are not listed", self.warnings_unlisted);
            warnings.push(Warning { origin: Origin::Default, key: String::new(), message });
        }
        warnings
    }

    fn is_broken_already(&self, origin: &Origin) -> bool {
        matches!(origin, Origin::File { line, .. } if self.faulty_lines.contains(line))
    }

    /// The sections that know a key of this name.
    fn sections_with(&mut self, key: &str) -> Vec<String> {
        let description = self.description.get_or_insert_with(super::file::describe);
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
    pub(super) fn root<'r, 't, T>(
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
