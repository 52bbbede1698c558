//! A document as a tree of values that know their lines, and what is wrong with the shape of a settings file.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{Fault, Faults};
use super::origin::Origin;

/// A value, and where in the file it stands.
#[derive(Debug)]
pub(crate) struct Value {
    pub content: Content,
    pub line: u32,
    /// What stands there, shortened to one short line.
    pub shown: String,
}

impl Value {
    /// A word of the environment or of a flag, which stands on no line.
    pub(crate) fn of_word(word: &str) -> Self {
        Self { content: Content::Word(word.to_owned()), line: 0, shown: shorten(word) }
    }
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Content {
    Text(String),
    /// `None`: more digits than any setting takes.
    Integer(Option<i128>),
    Float(f64),
    Boolean(bool),
    Datetime,
    /// JSON's word for nothing.
    Null,
    List(Vec<Value>),
    Table(Table),
    /// From the environment or a flag, where everything is text and the key says what it is to be.
    Word(String),
}

impl Content {
    /// What it is, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime => "a date or time",
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys with their values, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub entries: Vec<Entry>,
    /// Where it begins.
    pub line: u32,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub line: u32,
    pub value: Value,
    /// It is written `key = value`; else it is a heading, or the first of several keys with dots between them, and what is
    /// shown of its value is the line.
    pub is_assigned: bool,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub root: Table,
    /// What is wrong with its shape.
    pub faults: Faults,
    /// Whether the tree can be trusted to be the one that the user meant, except for the lines of `faults`.
    pub shape_known: bool,
    /// The lines of `faults`.
    pub faulty_lines: BTreeSet<u32>,
}

impl Document {
    /// A file without a word.
    pub(crate) fn empty() -> Self {
        Self { shape_known: true, ..Self::default() }
    }

    /// Reads TOML 1.1. Never fails: what cannot be read is in `faults`.
    pub(crate) fn parse(path: &Arc<str>, text: &str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let lines = Lines::of(text);
        let mut conversion = Conversion { text, lines: &lines, bracketed: Vec::new() };
        let mut root = conversion.table(root.get_ref(), 1);
        root.line = 0;
        let mut document = Self { root, shape_known: true, ..Self::default() };

        let mut errors: Vec<(usize, String)> = errors
            .into_iter()
            .map(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()))
            .collect();
        errors.sort_by_key(|(at, _)| *at);
        conversion.bracketed.sort_by_key(|span| span.start);
        let bracket_at = |at: usize| {
            let next = conversion.bracketed.partition_point(|span| span.start <= at);
            conversion.bracketed[..next].last().filter(|span| at <= span.end)
        };
        let mut brackets_reported = BTreeSet::new();
        for (at, message) in errors {
            let line = lines.of_offset(at);
            let bracket = bracket_at(at);
            document.shape_known &= match bracket {
                Some(span) => lines.of_offset(span.start) == lines.of_offset(span.end),
                None => keeps_shape(&message),
            };
            // What follows the first error of a line or of a bracket is mostly its consequence.
            let is_new = document.faulty_lines.insert(line);
            if !is_new || bracket.is_some_and(|span| !brackets_reported.insert(span.start)) {
                continue;
            }
            let (wrong, hint) = in_words(&message);
            let mut fault = Fault::new(Origin::File { path: Arc::clone(path), line }, "", wrong);
            let there = lines.text_of(text, line).trim();
            let is_secret = SECRET_SECTIONS.iter().any(|section| lines.section_of(text, line) == Some(*section));
            if let Some((key, _)) = there.split_once('=').filter(|_| is_secret) {
                fault = fault.found(format!("{} = (not shown)", shorten(key.trim())));
            } else if !there.is_empty() {
                fault = fault.found(shorten(there));
            }
            fault.hint = hint.map(str::to_owned);
            document.faults.push(fault);
        }
        document
    }
}

/// Whether values after this error still stand where the user put them: it is of one value on one line.
fn keeps_shape(message: &str) -> bool {
    const OF_ONE_VALUE: [&str; 11] = [
        "string values must be quoted",
        "duplicate key",
        "cannot extend",
        "redundant",
        "unexpected leading zero",
        "radix must be lowercase",
        "integers with a radix",
        "`_` may only go",
        "missing value",
        "missing escaped value",
        "invalid basic string, expected `\"`",
    ];
    is_bare(message) || OF_ONE_VALUE.iter().any(|start| message.starts_with(start))
}

/// Whether the parser took a text without quotes for something else.
fn is_bare(message: &str) -> bool {
    [
        "invalid float",
        "invalid integer",
        "invalid boolean",
        "invalid datetime",
        "invalid date",
        "invalid time",
        "string values must be quoted",
    ]
    .iter()
    .any(|start| message.starts_with(start))
}

/// What an error of the parser means, and what to do.
fn in_words(message: &str) -> (String, Option<&'static str>) {
    if is_bare(message) {
        return ("it is neither a number nor a text in quotes".to_owned(), Some("put a text in quotes: \"...\""));
    }
    let starts = |start: &str| message.starts_with(start);
    let hint = if starts("duplicate key") {
        "a key or [section] stands once; a list repeats [[name]], with two brackets, for each element"
    } else if starts("invalid basic string, expected `\"`") {
        "a text ends with the quote that it began with, on the same line"
    } else if starts("invalid basic string") || starts("missing escaped value") {
        "a backslash begins an escape such as \\n; write \\\\ for a backslash, or use 'single quotes'"
    } else if starts("unclosed table") || starts("unclosed array table") {
        "a section is written [name], an element of a list [[name]]"
    } else if starts("unclosed array") || message.contains("in array") || message.contains("array elements") {
        "a list is written [\"a\", \"b\"]; look for a missing comma or ]"
    } else if starts("unclosed inline table")
        || starts("missing comma between key-value")
        || message.contains("inline table")
    {
        "a table is written { a = 1, b = 2 }; look for a missing comma or }"
    } else if starts("key with no value") || starts("missing value") {
        "write key = value"
    } else {
        return (message.to_owned(), None);
    };
    (message.to_owned(), Some(hint))
}

/// Where lines begin.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self(
            std::iter::once(0)
                .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
                .collect(),
        )
    }

    pub(crate) fn of_offset(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|&start| start <= at)).unwrap_or(u32::MAX)
    }

    /// The section that a line stands in, as its nearest header calls it.
    fn section_of<'t>(&self, text: &'t str, line: u32) -> Option<&'t str> {
        let mut lines = (1..=line).rev().map(|line| self.text_of(text, line).trim());
        let header = lines.find(|line| line.starts_with('['))?;
        let name = header.trim_start_matches('[').split([']', '.']).next()?;
        Some(name.trim())
    }

    fn text_of<'t>(&self, text: &'t str, line: u32) -> &'t str {
        let index = line.saturating_sub(1) as usize;
        let start = self.0.get(index).copied().unwrap_or(text.len());
        let end = self.0.get(index + 1).copied().unwrap_or(text.len());
        text.get(start..end).unwrap_or_default()
    }
}

/// Sections in which any value may be a secret, also under a name that is misspelt.
pub(super) const SECRET_SECTIONS: [&str; 1] = ["driver"];

/// One short line that shows `text`, whatever stands there.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let mut shown = String::new();
    let mut left = SHOWN_CHARS_MAX;
    let mut chars = text.chars();
    for c in chars.by_ref() {
        if c == '\n' || left == 0 {
            shown.push_str(" ...");
            break;
        }
        left -= 1;
        if c == '\t' {
            shown.push(' ');
        } else if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

struct Conversion<'t> {
    text: &'t str,
    lines: &'t Lines,
    /// Outermost `[...]` and `{...}` that stand as values.
    bracketed: Vec<Range<usize>>,
}

impl Conversion<'_> {
    fn table(&mut self, table: &DeTable<'_>, line: u32) -> Table {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(key, value)| {
                let key_span = key.span();
                let key_line = self.lines.of_offset(key_span.start);
                let span = value.span();
                let inside_brackets = self.bracketed.last().is_some_and(|outer| outer.contains(&span.start));
                if key_span.end <= span.start
                    && !inside_brackets
                    && self.text.get(span.clone()).is_some_and(|text| text.starts_with(['[', '{']))
                {
                    self.bracketed.push(span.clone());
                }
                let is_assigned = key_span.end <= span.start;
                let mut value = self.value(value.get_ref(), span);
                if !is_assigned {
                    value.shown = shorten(self.lines.text_of(self.text, key_line).trim());
                }
                (key_span.start, Entry { key: key.get_ref().to_string(), line: key_line, value, is_assigned })
            })
            .collect();
        entries.sort_by_key(|(at, _)| *at);
        Table { entries: entries.into_iter().map(|(_, entry)| entry).collect(), line }
    }

    fn value(&mut self, value: &DeValue<'_>, span: Range<usize>) -> Value {
        let line = self.lines.of_offset(span.start);
        let content = match value {
            DeValue::String(text) => Content::Text(text.to_string()),
            DeValue::Integer(number) => Content::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
            DeValue::Float(number) => Content::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Content::Boolean(*value),
            DeValue::Datetime(_) => Content::Datetime,
            DeValue::Array(list) => Content::List(self.list(list)),
            DeValue::Table(table) => Content::Table(self.table(table, line)),
        };
        Value { content, line, shown: shorten(self.text.get(span).unwrap_or_default()) }
    }

    fn list(&mut self, list: &DeArray<'_>) -> Vec<Value> {
        list.iter().map(|element| self.value(element.get_ref(), element.span())).collect()
    }
}
