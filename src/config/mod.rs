//! The file, the environment and the flags as written, made into the settings of each module and a catalog; all faults at
//! once.
//!
//! [`load`] is all that others call. A key lives on one line of `peer.rs`, `listener.rs` or `pool.rs`, which holds its
//! name, form, bounds, default and meaning; `reader.rs` does with that line whatever is to be done, the reference in
//! `docs/reference/settings.md` included.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

mod fault;
mod file;
mod form;
mod inherited;
mod listener;
mod loaded;
mod origin;
mod peer;
mod pool;
mod reader;
mod reference;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod tree;

pub use fault::{Fault, Faults};
pub use loaded::{Loaded, Setting, Warning};
pub use origin::Origin;
pub use reference::reference;
pub use settings::Settings;
pub use sources::{Environment, Flags, Machine, Sources};

use crate::model::limits::SETTINGS_FILE_BYTES_MAX;
use reader::Reader;
use tree::{Document, Lines};

/// The variable that names the settings file.
const FILE_VARIABLE: &str = "EVENKEEL_CONFIG";

/// Settings from everything that says something of them, or everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let named_by_environment = sources.environment.get(FILE_VARIABLE).map(Path::new);
    let (path, key) = match (sources.file.as_deref(), named_by_environment) {
        (Some(path), _) => (Some(path), "--config"),
        (None, path) => (path, FILE_VARIABLE),
    };
    let Some(path) = path else { return read("no settings file", Ok(None), sources) };
    let shown = path.display().to_string();
    match read_file(path) {
        Ok(text) => read(&shown, Ok(Some(&text)), sources),
        Err(unreadable) => {
            let origin = Origin::File { path: Arc::from(shown.as_str()), line: unreadable.line };
            let mut fault = Fault::new(origin, "", unreadable.wrong);
            fault.hint = unreadable.hint.map(|hint| hint.replace("{key}", key));
            read(&shown, Err(fault), sources)
        }
    }
}

/// [`load`] with the file already at hand: its text, no file at all, or why it could not be read.
fn read(path: &str, text: Result<Option<&str>, Fault>, sources: &Sources) -> Result<Loaded, Faults> {
    let path: Arc<str> = Arc::from(path);
    let mut reader = Reader::new(Arc::clone(&path), &sources.environment, &sources.flags);
    reader.inherited(FILE_VARIABLE);
    let mut document = match text {
        Ok(Some(text)) => Document::parse(&path, text),
        Ok(None) => Document::empty(),
        Err(fault) => {
            reader.fault(fault);
            reader.set_damaged(std::collections::BTreeSet::new());
            Document::empty()
        }
    };
    if !document.faulty_lines.is_empty() {
        reader.faults = std::mem::take(&mut document.faults);
    }
    reader.faults.shape_only = !document.shape_known;
    if !document.faulty_lines.is_empty() {
        reader.set_damaged(std::mem::take(&mut document.faulty_lines));
    }
    // A tree of unknown shape would be blamed for what its user never wrote.
    let root = if document.shape_known { document.root } else { tree::Table::default() };
    let settings = file::read(&mut reader, &root, &sources.machine);
    match settings {
        Some(settings) if reader.faults.count() == 0 => {
            Ok(Loaded { settings, warnings: reader.warnings, values: reader.settings })
        }
        _ => Err(reader.faults.in_reading_order()),
    }
}

/// Why there is no text.
struct Unreadable {
    wrong: String,
    hint: Option<&'static str>,
    line: u32,
}

fn read_file(path: &Path) -> Result<String, Unreadable> {
    let wrong = |wrong: String, hint| Unreadable { wrong, hint, line: 0 };
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            wrong("there is no such file".to_owned(), Some("{key} names the settings file; look for a misspelt path"))
        }
        std::io::ErrorKind::PermissionDenied => {
            wrong("this user may not read it".to_owned(), Some("make it readable for the user that runs evenkeel"))
        }
        std::io::ErrorKind::IsADirectory => wrong("it is a directory".to_owned(), Some("{key} names a file")),
        _ => wrong(format!("it cannot be read: {error}"), None),
    };
    let mut bytes = Vec::new();
    let limit = SETTINGS_FILE_BYTES_MAX as u64 + 1;
    File::open(path).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > SETTINGS_FILE_BYTES_MAX {
        let most = SETTINGS_FILE_BYTES_MAX / (1024 * 1024);
        return Err(wrong(format!("it is larger than {most} MiB, the most a settings file may have"), None));
    }
    String::from_utf8(bytes).map_err(|error| {
        let readable = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..readable]);
        Unreadable {
            wrong: "it is not UTF-8 from here on".to_owned(),
            hint: Some("save it as UTF-8"),
            line: Lines::of(&text).of_offset(readable),
        }
    })
}
