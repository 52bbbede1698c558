//! The catalog part of a file alone, for whoever sends it to a peer: the rest of the file may be of another machine.

use std::path::Path;
use std::sync::Arc;

use super::{Fault, Faults, Origin, file, read_file};
use crate::catalog::Object;
use crate::catalog::rules::PARTS;
use crate::document::{Document, nearest};

/// The catalog part of this file as a document. Its sections have to be those of a settings file: one that is misspelt would
/// be a pool less. What is in them is for the peer to judge, which may be of a later version.
pub fn catalog_of(path: &Path) -> Result<Object, Faults> {
    let shown: Arc<str> = Arc::from(path.display().to_string().as_str());
    let mut faults = Faults::default();
    let text = match read_file(path) {
        Ok(text) => text,
        Err(unreadable) => {
            let origin = Origin::File { path: shown, line: unreadable.line };
            let mut fault = Fault::new(origin, "", unreadable.wrong);
            fault.hint = unreadable.hint;
            faults.push(fault);
            return Err(faults);
        }
    };
    let document = Document::parse(&shown, &text);
    if document.faults.count() > 0 {
        return Err(document.faults);
    }
    let description = file::describe();
    let sections = description.sections.iter().map(|section| section.name.split('.').next().unwrap_or_default());
    let later = description.later.iter().filter(|(section, _)| section.is_empty()).map(|(_, key)| *key);
    let known: Vec<&str> = sections.chain(later).collect();
    for entry in document.root.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let origin = Origin::File { path: Arc::clone(&shown), line: entry.line };
        let mut fault = Fault::new(origin, entry.key.clone(), "there is no such section");
        if let Some(meant) = nearest(&entry.key, known.iter().copied()) {
            fault = fault.hint(format!("did you mean {meant}?"));
        }
        faults.push(fault);
    }
    let desired = document.root.to_json(&PARTS);
    if desired.is_empty() && faults.count() == 0 {
        let origin = Origin::File { path: shown, line: 0 };
        let fault = Fault::new(origin, "", "it has no catalog part")
            .hint("the catalog is [[pool]], [[region]], [[server]], [[route]] and [failover]; write at least one pool");
        faults.push(fault);
    }
    if faults.count() > 0 { Err(faults) } else { Ok(desired) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Object, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evenkeel.toml");
        std::fs::write(&path, text).unwrap();
        catalog_of(&path).map_err(|faults| faults.to_string())
    }

    #[test]
    fn only_the_catalog_counts_and_the_rest_may_be_of_another_machine() {
        let text =
            "[cluster]\nlisten = \"10.0.0.1:7940\"\nkey_file = \"/nowhere\"\n[[pool]]\nname = \"web\"\nretries = 3";
        let desired = of(text).unwrap();
        assert_eq!(serde_json::Value::Object(desired), serde_json::json!({"pool": [{"name": "web", "retries": 3}]}));
    }

    #[test]
    fn a_misspelt_section_is_no_pool_less() {
        let said = of("[[pol]]\nname = \"web\"").unwrap_err();
        assert!(said.contains("line 1: pol") && said.contains("did you mean pool?"), "{said}");
        let said = of("[peer]\nid = \"ams-1\"").unwrap_err();
        assert!(said.contains("no catalog part"), "{said}");
        let said = of("[[pool]]\nname = web").unwrap_err();
        assert!(said.contains("line 2"), "{said}");
    }
}
