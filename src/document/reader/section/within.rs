//! Tables and lists of tables within a section: each is a section of its own, and so read as one.

use super::super::super::fault::Fault;
use super::super::super::tree::{Content, Table, Value};
use super::super::{Reader, SectionRow};
use super::{Section, Shape};

impl<'t, 'a> Section<'_, 't, 'a> {
    /// A `[section]`.
    pub(crate) fn section<T>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_, 't, 'a>) -> T,
    ) -> T {
        self.nested(key, Shape::Plain, doc, read)
    }

    /// A table that is the value of one key: `health = { ... }`.
    pub(crate) fn table<T>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_, 't, 'a>) -> T,
    ) -> T {
        self.nested(key, self.shape, doc, read)
    }

    fn nested<T>(
        &mut self,
        key: &'static str,
        shape: Shape,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_, 't, 'a>) -> T,
    ) -> T {
        self.asked.push(key);
        let title = self.title_of(key);
        if let Some(description) = &mut self.reader.describing {
            description.sections.push(SectionRow { name: title.clone(), title: format!("[{title}]"), doc });
        }
        let mut table = None;
        let mut line = self.line;
        if let Some(entry) = self.table.and_then(|table| table.get(key)) {
            line = entry.line;
            if let Content::Table(found) = &entry.value.content {
                table = Some(found);
            } else {
                let form = if shape == Shape::Plain { format!("[{key}]") } else { format!("{key} = {{ ... }}") };
                self.wrong_kind(key, &entry.value, entry.line, "a table", &form);
            }
        }
        let place = format!("{}{key}.", self.place);
        let mut section = Section {
            reader: self.reader,
            table,
            title,
            place,
            shape,
            line,
            asked: Vec::new(),
            later: Vec::new(),
            only: None,
        };
        let out = read(&mut section);
        section.finish();
        out
    }

    /// A `[[list]]`: what `read` makes of each element.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        read: impl FnMut(&mut Section<'_, 't, 'a>) -> T,
    ) -> Vec<T> {
        self.elements(key, Shape::Element, doc, read)
    }

    /// A `[[list]]` whose only element may also stand there without the list.
    pub(crate) fn list_or_one<T>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        read: impl FnMut(&mut Section<'_, 't, 'a>) -> T,
    ) -> Vec<T> {
        let is_one = self
            .table
            .and_then(|table| table.get(key))
            .is_some_and(|entry| matches!(entry.value.content, Content::Table(_)));
        if is_one {
            vec![self.nested(key, Shape::Element, doc, read)]
        } else {
            self.elements(key, Shape::Element, doc, read)
        }
    }

    /// A `[[list]]` that may be so long that the list of settings has of its elements only what was set.
    pub(crate) fn long_list<T>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        read: impl FnMut(&mut Section<'_, 't, 'a>) -> T,
    ) -> Vec<T> {
        self.elements(key, Shape::OneOfMany, doc, read)
    }

    /// A table that is the value of one key, or a list of tables: `header = { ... }`, `header = [{ ... }, { ... }]`.
    pub(crate) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        max: usize,
        doc: &'static str,
        mut read: impl FnMut(&mut Section<'_, 't, 'a>) -> T,
    ) -> Vec<T> {
        let entry = self.table.and_then(|table| table.get(key));
        if self.reader.describing.is_some()
            || entry.is_some_and(|entry| matches!(entry.value.content, Content::Table(_)))
        {
            return vec![self.table(key, doc, read)];
        }
        self.asked.push(key);
        let Some(entry) = entry else { return Vec::new() };
        let form = format!("{key} = {{ ... }}");
        let Content::List(list) = &entry.value.content else {
            self.wrong_kind(key, &entry.value, entry.line, "a table or a list of them", &form);
            return Vec::new();
        };
        if list.is_empty() || list.len() > max {
            let fault =
                Fault::new(self.reader.at(entry.line), self.path_of(key), format!("it has {} elements", list.len()))
                    .allowed(format!("a table, or a list of 1 to {max} of them"));
            self.reader.fault(fault);
            return Vec::new();
        }
        let mut out = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let Content::Table(table) = &value.content else {
                self.wrong_kind(key, value, value.line, "a table", &form);
                continue;
            };
            let mut section = Section {
                table: Some(table),
                title: self.title_of(key),
                place: format!("{}{key} {} ", self.place, index + 1),
                shape: self.shape,
                line: value.line,
                reader: self.reader,
                asked: Vec::new(),
                later: Vec::new(),
                only: None,
            };
            out.push(read(&mut section));
            section.finish();
        }
        out
    }

    /// A table that may be left out.
    pub(crate) fn optional_table<T>(
        &mut self,
        key: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_, 't, 'a>) -> T,
    ) -> Option<T> {
        if let (Some((false, words)), true) = (self.only, self.is_set(key)) {
            let wrong = format!("it has an effect only with {words}");
            let fault = Fault::new(self.origin_of(key), self.path_of(key), wrong).hint("remove it");
            self.reader.fault(fault);
        } else if self.is_describing() || self.is_set(key) {
            return Some(self.table(key, doc, read));
        }
        self.asked.push(key);
        None
    }

    fn elements<T>(
        &mut self,
        key: &'static str,
        shape: Shape,
        doc: &'static str,
        mut read: impl FnMut(&mut Section<'_, 't, 'a>) -> T,
    ) -> Vec<T> {
        self.asked.push(key);
        let title = self.title_of(key);
        let mut element = |reader: &mut Reader<'a>, table: Option<&'t Table>, place: String, line: u32| {
            let title = title.clone();
            let mut section =
                Section { reader, table, title, place, shape, line, asked: Vec::new(), later: Vec::new(), only: None };
            let out = read(&mut section);
            section.finish();
            out
        };
        if let Some(description) = &mut self.reader.describing {
            description.sections.push(SectionRow { name: title.clone(), title: format!("[[{title}]]"), doc });
            return vec![element(self.reader, None, String::new(), 0)];
        }
        let Some(entry) = self.table.and_then(|table| table.get(key)) else { return Vec::new() };
        let heading = format!("[[{title}]]");
        let Content::List(list) = &entry.value.content else {
            self.wrong_kind(key, &entry.value, entry.line, "a list", &heading);
            return Vec::new();
        };
        let mut out = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            if let Content::Table(table) = &value.content {
                let place = format!("{}{key} {} ", self.place, index + 1);
                out.push(element(self.reader, Some(table), place, value.line));
            } else {
                self.wrong_kind(key, value, value.line, "a table", &heading);
            }
        }
        out
    }

    fn wrong_kind(&mut self, key: &str, value: &Value, line: u32, wanted: &str, form: &str) {
        let fault = Fault::new(
            self.reader.at(line),
            self.path_of(key),
            format!("it is {}, not {wanted}", value.content.name()),
        )
        .found(value.shown.clone())
        .hint(if self.reader.is_of_file() {
            format!("write {form}")
        } else if form.starts_with("[[") {
            format!("write \"{key}\": [{{ ... }}]")
        } else {
            format!("write \"{key}\": {{ ... }}")
        });
        self.reader.fault(fault);
    }
}
