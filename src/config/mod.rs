//! The file, the environment and the flags as written, made into the settings of each module and a catalog; all faults at
//! once.
//!
//! [`load`] is all that others call. A key lives on one line of `peer.rs`, `cluster.rs` or `listener.rs`, or of
//! `catalog/rules/`, which holds its name, form, bounds, default and meaning; `document/` does with that line whatever is to be done, the reference in
//! `docs/reference/settings.md` included.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

mod access_log;
mod addresses;
mod catalog_part;
mod certificate_file;
mod cluster;
mod compression;
mod desired;
mod driver;
mod error_pages;
mod file;
mod folders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod geoip;
mod inherited;
mod key_file;
mod listener;
mod loaded;
mod path;
mod peer;
mod reference;
mod settings;
mod sources;
mod state_folder;
#[cfg(test)]
mod tests;
mod tls;

pub use crate::document::{Fault, Faults, Origin, Setting, Warning};
pub use catalog_part::catalog_of;
pub use loaded::{Loaded, Refused};
pub use reference::reference;
pub use settings::Settings;
pub use sources::{Environment, Flags, Machine, Sources};
pub use state_folder::StateFolder;

use crate::document::{Document, Lines, Reader, Table, nearest, shorten};
use crate::model::limits::SETTINGS_FILE_BYTES_MAX;

/// The variable that names the settings file.
const FILE_VARIABLE: &str = "EVENKEEL_CONFIG";

/// Who runs this process, as the environment says.
pub fn user_name() -> Option<String> {
    let environment = Environment::of_process();
    environment.get("LOGNAME").or_else(|| environment.get("USER")).map(str::to_owned)
}

/// Settings from everything that says something of them, or everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Loaded, Refused> {
    let Some(path) = sources.file() else {
        return read("no settings file", Ok(None), sources);
    };
    let shown = path.display().to_string();
    match read_file(path) {
        Ok(text) => read(&shown, Ok(Some(&text)), sources),
        Err(unreadable) => {
            let origin = Origin::File { path: Arc::from(shown.as_str()), line: unreadable.line };
            let mut fault = Fault::new(origin, "", unreadable.wrong);
            let named = if sources.file.is_none() { format!("{FILE_VARIABLE} names it; ") } else { String::new() };
            fault.hint = unreadable.hint.map(|hint| format!("{named}{hint}"));
            read(&shown, Err(fault), sources)
        }
    }
}

/// [`load`] with the file already at hand: its text, no file at all, or why it could not be read.
fn read(path: &str, text: Result<Option<&str>, Fault>, sources: &Sources) -> Result<Loaded, Refused> {
    let path: Arc<str> = Arc::from(path);
    let mut reader = Reader::of_file(Arc::clone(&path), sources);
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
    let root = if document.shape_known { document.root } else { Table::default() };
    let settings = file::read(&mut reader, &root, sources);
    let warnings = reader.take_warnings();
    match settings {
        Some(settings) if reader.faults.count() == 0 => {
            Ok(Loaded { settings, warnings, values: reader.settings, files: reader.files })
        }
        _ => Err(Refused { faults: reader.faults.in_reading_order(), warnings, files: reader.files }),
    }
}

/// Why there is no text.
struct Unreadable {
    wrong: String,
    hint: Option<String>,
    line: u32,
}

fn read_file(path: &Path) -> Result<String, Unreadable> {
    let wrong = |wrong: String, hint: Option<&str>| Unreadable { wrong, hint: hint.map(str::to_owned), line: 0 };
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("there is no such file".to_owned(), Some(&missing_hint(path))),
        std::io::ErrorKind::PermissionDenied => {
            wrong("this user may not read it".to_owned(), Some("make it readable for the user that runs evenkeel"))
        }
        std::io::ErrorKind::IsADirectory => wrong("it is a directory".to_owned(), Some("name the file in it")),
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
            hint: Some("save it as UTF-8".to_owned()),
            line: Lines::of(&text).of_offset(readable),
        }
    })
}

/// What to do about a file that is not there: the one beside it that was likely meant, or how to begin.
fn missing_hint(path: &Path) -> String {
    /// More names of a folder are not compared.
    const NAMES_MAX: usize = 1_000;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("there is no folder {} either, or it may not be read", shorten(&folder.display().to_string()));
    };
    let mut names: Vec<String> =
        entries.take(NAMES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match nearest(wanted, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {}?", shorten(&path.with_file_name(meant).display().to_string())),
        None => format!("look for a misspelt path, or begin one; {}", file::LEAST_FILE),
    }
}
