//! Documents that people write: a tree of values that know where they stand, the forms that values are written in, and one
//! pass that reads every key, checks it, and tells everything that is wrong at once.
//!
//! The settings file and the catalog are such documents. What is in them is the business of whoever reads them: a key, its
//! form, its bounds, its default and its meaning are one call on a [`Section`].

mod fault;
mod form;
mod json;
mod origin;
mod reader;
mod said;
mod texts;
mod tree;

pub use fault::{Fault, Faults};
pub use origin::Origin;
pub use said::{Setting, Warning};

use std::time::Duration;

/// A duration as documents have it, `30s`, of `least` to `most`; why not, where it is none.
pub(crate) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    Span(least, most).parse(text).map_err(|wrong| match wrong.hint {
        Some(hint) => format!("{}; {hint}", wrong.why),
        None => wrong.why,
    })
}

pub(crate) use fault::nearest;
pub(crate) use form::{
    Choice, Form, ListOf, NOT_AVAILABLE, Number, OneOrMore, Span, WholeOf, Words, Wrong, YesNo, name, parsed, quoted,
    whole,
};
pub use reader::Unknown;
pub(crate) use reader::{Description, Outside, Override, Reader, Row, Section};
pub(crate) use texts::Texts;
pub(crate) use tree::{Content, Document, Lines, Table, shorten};
