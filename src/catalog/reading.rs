//! What a committed value means to this peer: the catalog that it serves by, and what the next write is made from.

use std::sync::Arc;

use super::applied::{Applied, Behind, Source};
use super::body::Body;
use super::json::{Etag, Object};
use super::write::WriteRefused;
use crate::election::{Committed, Value};
use crate::model::Slot;

/// The newest committed value.
#[derive(Clone)]
pub(super) struct Newest {
    pub(super) slot: Slot,
    pub(super) value: Arc<Value>,
    /// What it says; why that cannot be read.
    pub(super) said: Result<Said, Arc<str>>,
}

/// What a committed value says.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) body: Arc<Body>,
    /// The ETag of what users want.
    pub(super) etag: Etag,
}

/// A committed value that was read.
pub(super) struct Read {
    pub(super) said: Said,
    pub(super) applied: Applied,
    /// Users want in it what the file says that was asked about.
    pub(super) is_of_file: bool,
}

/// What a committed value means. Blocks.
pub(super) fn read(slot: &Slot, value: &Value, file: Option<&Object>) -> Result<Read, String> {
    let body = Arc::new(Body::parse(&value.body).map_err(|error| error.to_string())?);
    let etag = body.etag();
    let source = Source::Committed { revision: slot.revision, etag, body: Arc::clone(&body) };
    let applied = match body.meaning() {
        Ok(meaning) => {
            let (catalog, warnings) = (Arc::new(meaning.catalog), meaning.warnings.into());
            Applied { source, catalog, warnings, behind: None }
        }
        Err(faults) => {
            let behind = Some(Behind { revision: slot.revision, why: faults.to_string() });
            Applied { source, catalog: Arc::default(), warnings: Arc::default(), behind }
        }
    };
    let is_of_file = file.is_some_and(|file| Etag::of(file) == etag);
    Ok(Read { said: Said { body, etag }, applied, is_of_file })
}

impl Newest {
    pub(super) fn said(&self) -> Result<Said, WriteRefused> {
        self.said.clone().map_err(|why| WriteRefused::Unavailable {
            message: format!("the catalog was written by a later version and cannot be changed here: {why}"),
        })
    }
}

/// The catalog of a peer at its start that goes by its file, with what operators did before over it. Blocks.
pub fn of_file(committed: &Committed, desired: &Arc<Object>) -> Result<Applied, String> {
    let body = Body::parse(&committed.value.body).map_err(|error| error.to_string())?;
    let body = Body { desired: (**desired).clone(), ..body };
    let meaning = body.meaning().map_err(|faults| faults.to_string())?;
    let source = Source::File { desired: Arc::clone(desired) };
    Ok(Applied { source, catalog: Arc::new(meaning.catalog), warnings: meaning.warnings.into(), behind: None })
}

/// The catalog of a peer at its start, from what is committed on its disk. Blocks.
pub fn at_start(committed: &Committed) -> Result<Applied, String> {
    let Read { applied, .. } = read(&committed.slot, &committed.value, None)?;
    match applied.behind {
        None => Ok(applied),
        Some(behind) => Err(behind.why),
    }
}
