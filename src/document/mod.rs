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
mod tree;

pub use fault::{Fault, Faults};
pub use origin::Origin;
pub use said::{Setting, Warning};

pub(crate) use fault::nearest;
pub(crate) use form::{
    Choice, Form, ListOf, NOT_AVAILABLE, Number, OneOrMore, Span, WholeOf, Words, Wrong, YesNo, name, parsed, quoted,
    whole,
};
pub(crate) use reader::{Description, Outside, Override, Reader, Row, Section};
pub(crate) use tree::{Content, Document, Lines, Table, shorten};
