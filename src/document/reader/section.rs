//! One section of a document: its keys, each read by one call that says all there is to say of it.

use super::super::fault::{Fault, nearest};
use super::super::form::{Form, NOT_AVAILABLE};
use super::super::origin::Origin;
use super::super::said::Setting;
use super::super::tree::{Content, SECRET_SECTIONS, Table, shorten};
use super::{Reader, Row};

mod within;

/// Sections that a hint names as having a key.
const PLACES_TOLD_MAX: usize = 3;

/// What a section is to the environment and to the list of settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// The document.
    Root,
    /// A `[section]`, whose keys the environment can set.
    Plain,
    /// An element of a `[[list]]`.
    Element,
    /// One of many: as an element, and silent keys are not listed, because there may be ten thousand of them.
    OneOfMany,
}

/// A part of the document that is being read.
pub(crate) struct Section<'r, 't, 'a> {
    reader: &'r mut Reader<'a>,
    table: Option<&'t Table>,
    /// As the reference calls it: `upstream`, `pool.node`.
    title: String,
    /// What stands before a key of it: `upstream.`, `pool "web" `.
    place: String,
    shape: Shape,
    line: u32,
    asked: Vec<&'static str>,
    /// Keys that a later version has.
    later: Vec<&'static str>,
    /// Keys being read have an effect only then.
    only: Option<(bool, &'static str)>,
}

/// A variable that sets a key in all sections of their kind, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Override<T> {
    pub variable: &'static str,
    pub value: Option<T>,
}

/// The same with its origin.
type Stronger<T> = (&'static str, Option<(T, Origin)>);

impl<'r, 't, 'a> Section<'r, 't, 'a> {
    /// The document as a whole.
    pub(crate) fn root(reader: &'r mut Reader<'a>, root: &'t Table) -> Self {
        Self {
            reader,
            table: Some(root),
            title: String::new(),
            place: String::new(),
            shape: Shape::Root,
            line: 0,
            asked: Vec::new(),
            later: Vec::new(),
            only: None,
        }
    }
}

impl<'t, 'a> Section<'_, 't, 'a> {
    pub(crate) fn reader(&mut self) -> &mut Reader<'a> {
        self.reader
    }

    /// Where this section begins.
    pub(crate) fn origin(&self) -> Origin {
        self.reader.at(self.line)
    }

    /// The full name of a key.
    pub(crate) fn path_of(&self, key: &str) -> String {
        format!("{}{key}", self.place)
    }

    /// The section itself, as faults name it.
    pub(crate) fn name(&self) -> &str {
        self.place.trim_end_matches([' ', '.'])
    }

    /// Keys of this section are from now on named after `name`.
    pub(crate) fn called(&mut self, kind: &str, name: &impl std::fmt::Display, above: &str) {
        self.place = format!("{above}{kind} \"{name}\" ");
    }

    /// Where a key was set in the file; the section itself where it was not.
    pub(crate) fn origin_of(&self, key: &str) -> Origin {
        self.reader.at(self.table.and_then(|table| table.get(key)).map_or(self.line, |entry| entry.line))
    }

    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// A key with a default.
    pub(crate) fn key<F: Form>(&mut self, key: &'static str, form: &F, default: F::Out, doc: &'static str) -> F::Out {
        self.key_under(key, form, default, doc, None)
    }

    /// A key with a default on which others depend: `None` where it is set and refused, so that they are not blamed.
    pub(crate) fn key_unless_refused<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: F::Out,
        doc: &'static str,
    ) -> Option<F::Out> {
        self.describe(key, form, form.show(&default), doc, None);
        match self.read(key, form) {
            Read::Refused => None,
            read => Some(self.settle(key, form, read, (default, Origin::Default))),
        }
    }

    /// A key whose default the machine knows.
    pub(crate) fn key_of_machine<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: F::Out,
        default_in_words: &'static str,
        doc: &'static str,
    ) -> F::Out {
        self.key_in_words(key, form, (default, Origin::Machine), default_in_words, doc)
    }

    /// A key whose default follows from other keys.
    pub(crate) fn key_that_follows<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: F::Out,
        default_in_words: &'static str,
        doc: &'static str,
    ) -> F::Out {
        self.key_in_words(key, form, (default, Origin::Default), default_in_words, doc)
    }

    fn key_in_words<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: (F::Out, Origin),
        default_in_words: &'static str,
        doc: &'static str,
    ) -> F::Out {
        self.describe(key, form, default_in_words.to_owned(), doc, None);
        let read = self.read(key, form);
        self.settle(key, form, read, default)
    }

    /// A key that something stronger than the file may set for all sections of its kind.
    pub(crate) fn key_overridden<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: F::Out,
        doc: &'static str,
        over: Option<&Override<F::Out>>,
    ) -> F::Out
    where
        F::Out: Clone,
    {
        let stronger = over.map(|over| {
            let origin = || Origin::Environment { name: over.variable.to_owned() };
            (over.variable, over.value.clone().map(|value| (value, origin())))
        });
        self.key_under(key, form, default, doc, stronger)
    }

    /// A key without which the section is nothing.
    pub(crate) fn required<F: Form>(&mut self, key: &'static str, form: &F, doc: &'static str) -> Option<F::Out> {
        self.describe(key, form, "required".to_owned(), doc, None);
        match self.read(key, form) {
            Read::Silent => {
                if !self.reader.damaged {
                    let fault = Fault::new(self.origin(), self.path_of(key), "it is missing").allowed(form.allowed());
                    self.reader.fault(fault);
                }
                None
            }
            read => self.settle_optional(key, form, read),
        }
    }

    /// A key that may be silent; `default` says in words what that means.
    pub(crate) fn optional<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
        doc: &'static str,
    ) -> Option<F::Out> {
        self.describe(key, form, default.to_owned(), doc, None);
        let read = self.read(key, form);
        self.settle_optional(key, form, read)
    }

    /// Keys that need the setting `words` beside them, which does or does not `hold`.
    pub(crate) fn only<T>(&mut self, hold: bool, words: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.only.replace((hold, words));
        let out = read(self);
        self.only = before;
        out
    }

    /// Keys that a later version has.
    pub(crate) fn later(&mut self, keys: &'static [&'static str]) {
        for key in keys {
            self.later.push(key);
            if self.shape == Shape::Plain {
                self.reader.variables_later.push(variable(&self.title, key));
            } else if self.shape == Shape::Root {
                self.reader.variables_later.push(format!("EVENKEEL_{}_", key.to_ascii_uppercase()));
            }
            if let Some(description) = &mut self.reader.describing {
                description.later.push((self.title.clone(), key));
            }
            if let Some(entry) = self.table.and_then(|table| table.get(key)) {
                let path = self.path_of(key);
                if self.reader.keep(|| path.clone()) {
                    continue;
                }
                let fault = Fault::new(self.reader.at(entry.line), path, NOT_AVAILABLE)
                    .hint("remove it; nothing here acts on it yet");
                self.reader.fault(fault);
            }
        }
    }

    /// Whether no key of it is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_none_or(|table| table.entries.is_empty())
    }

    /// Whether the keys are being listed, and nothing is read.
    pub(crate) fn is_describing(&self) -> bool {
        self.reader.describing.is_some()
    }

    fn key_under<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: F::Out,
        doc: &'static str,
        over: Option<Stronger<F::Out>>,
    ) -> F::Out {
        self.describe(key, form, form.show(&default), doc, over.as_ref().map(|(name, _)| *name));
        let mut read = self.read(key, form);
        // A key that has no effect here is not given one from outside either.
        let has_effect = self.only.is_none_or(|(hold, _)| hold);
        if let Some((_, Some((value, origin)))) = over
            && has_effect
        {
            read = Read::Value(value, origin);
        }
        self.settle(key, form, read, (default, Origin::Default))
    }

    fn describe<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: String,
        doc: &'static str,
        over: Option<&'static str>,
    ) {
        self.asked.push(key);
        let Some(description) = &mut self.reader.describing else { return };
        let mut variables = Vec::new();
        if self.shape == Shape::Plain {
            variables.push(variable(&self.title, key));
        }
        variables.extend(self.reader.outside.inherited(&self.title, key).map(str::to_owned));
        variables.extend(over.map(str::to_owned));
        description.rows.push(Row {
            section: self.title.clone(),
            key,
            allowed: form.allowed(),
            default,
            variables,
            flag: self.reader.outside.flag(&self.title, key).map(|(name, _)| name),
            only: self.only.map(|(_, words)| words),
            doc,
        });
    }

    /// Reads every place where the key is set, from the weakest to the strongest; each is checked, the last counts.
    fn read<F: Form>(&mut self, key: &'static str, form: &F) -> Read<F::Out> {
        let mut read = Read::Silent;
        if let Some(entry) = self.table.and_then(|table| table.get(key)) {
            let origin = self.reader.at(entry.line);
            if let Some((false, words)) = self.only {
                let found = if form.is_secret() { NOT_SHOWN } else { &entry.value.shown };
                let fault = Fault::new(origin, self.path_of(key), format!("it has an effect only with {words}"))
                    .found(format!("{key} = {found}"))
                    .hint("remove it");
                self.reader.fault(fault);
            } else {
                read = self.take(key, form, &entry.value.content, &entry.value.shown, origin);
            }
        }
        if self.shape != Shape::Plain {
            return read;
        }
        let outside = self.reader.outside;
        let named = [outside.inherited(&self.title, key).map(str::to_owned), Some(variable(&self.title, key))];
        for name in named.into_iter().flatten() {
            if let Some(text) = outside.variable(&name) {
                let content = Content::Word(text.to_owned());
                let stronger =
                    self.take(key, form, &content, &shorten(text), Origin::Environment { name: name.clone() });
                read = stronger;
            }
            self.reader.variables.insert(name);
        }
        if let Some((name, Some(text))) = outside.flag(&self.title, key) {
            read = self.take(key, form, &Content::Word(text.to_owned()), &shorten(text), Origin::Flag { name });
        }
        read
    }

    fn take<F: Form>(&mut self, key: &str, form: &F, content: &Content, shown: &str, origin: Origin) -> Read<F::Out> {
        match form.read(content) {
            Ok(value) => Read::Value(value, origin),
            Err(wrong) => {
                let found = if form.is_secret() { NOT_SHOWN } else { shown };
                let mut fault =
                    Fault::new(origin, self.path_of(key), clip(wrong.why)).found(found).allowed(form.allowed());
                fault.hint = wrong.hint;
                self.reader.fault(fault);
                Read::Refused
            }
        }
    }

    fn settle<F: Form>(&mut self, key: &str, form: &F, read: Read<F::Out>, default: (F::Out, Origin)) -> F::Out {
        let (value, origin) = match read {
            Read::Value(value, origin) => (value, origin),
            Read::Silent | Read::Refused => default,
        };
        let is_default = matches!(origin, Origin::Default);
        let has_effect = self.only.is_none_or(|(hold, _)| hold);
        if has_effect && !(is_default && self.shape == Shape::OneOfMany) {
            self.note(key, form.show(&value), origin);
        }
        value
    }

    fn settle_optional<F: Form>(&mut self, key: &str, form: &F, read: Read<F::Out>) -> Option<F::Out> {
        let Read::Value(value, origin) = read else { return None };
        self.note(key, form.show(&value), origin);
        Some(value)
    }

    /// Notes what a key is and where that comes from.
    fn note(&mut self, key: &str, value: String, origin: Origin) {
        if self.reader.describing.is_none() {
            let key = self.path_of(key);
            self.reader.settings.push(Setting { key, value, origin });
        }
    }

    /// The title of a section of this one.
    fn title_of(&self, key: &str) -> String {
        if self.title.is_empty() { key.to_owned() } else { format!("{}.{key}", self.title) }
    }

    /// Refuses the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let Some(table) = self.table else { return };
        for entry in &table.entries {
            if self.asked.iter().chain(&self.later).any(|known| *known == entry.key) {
                continue;
            }
            if self.reader.keep(|| format!("{}{}", self.place, shorten(&entry.key))) {
                continue;
            }
            let mut known = self.asked.clone();
            known.sort_unstable();
            let mut fault = Fault::new(
                self.reader.at(entry.line),
                format!("{}{}", self.place, shorten(&entry.key)),
                if self.shape == Shape::Root { "there is no such section" } else { "there is no such key" },
            )
            .found(if self.shape == Shape::Root {
                shorten(&entry.key)
            } else if SECRET_SECTIONS.contains(&self.title.as_str()) {
                format!("{} = {NOT_SHOWN}", shorten(&entry.key))
            } else if entry.is_assigned {
                format!("{} = {}", shorten(&entry.key), entry.value.shown)
            } else {
                entry.value.shown.clone()
            })
            .allowed(known.join(", "));
            // The same word elsewhere is a better guess than another word here.
            let elsewhere = self.reader.sections_with(&entry.key);
            if !elsewhere.is_empty() {
                let told = elsewhere.len().min(PLACES_TOLD_MAX);
                let more = elsewhere.len() - told;
                let more = if more > 0 { format!(" and of {more} more") } else { String::new() };
                fault = fault.hint(format!("{} is a key of {}{more}", entry.key, elsewhere[..told].join(" and of ")));
            } else if let Some(meant) = nearest(&entry.key, known) {
                fault = fault.hint(format!("did you mean {meant}?"));
            } else if let Some(meant) = nearest(&entry.key, self.later.iter().copied()) {
                fault = fault.hint(format!("{meant} is {NOT_AVAILABLE}"));
            }
            self.reader.fault(fault);
        }
    }
}

/// What stands in place of a value that may be a secret.
const NOT_SHOWN: &str = "(not shown)";

/// What came of reading a key.
enum Read<T> {
    /// It is set nowhere.
    Silent,
    /// Where it is set it is wrong, which was reported.
    Refused,
    /// This.
    Value(T, Origin),
}

/// Refusals repeat what stands there, which may be as long as the file.
fn clip(mut text: String) -> String {
    const SHOWN_BYTES_MAX: usize = 400;
    if text.len() > SHOWN_BYTES_MAX {
        let end = (0..=SHOWN_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// The variable that sets a key of a plain section.
fn variable(section: &str, key: &str) -> String {
    format!("EVENKEEL_{}_{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}
