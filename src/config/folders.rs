//! `[[files]]`: folders of this machine whose files routes may serve.

use std::path::PathBuf;
use std::sync::Arc;

use super::path::FOLDER_FROM_ROOT;
use crate::document::{Fault, Section, name};
use crate::model::FolderName;
use crate::model::limits::FOLDERS_MAX;
use crate::proxy::Folder;

pub(super) fn folders(s: &mut Section<'_, '_, '_>) -> Arc<[Folder]> {
    let read = s.list(
        "files",
        "A folder of this peer's machine: routes that say `files = { folder = \"<name>\" }` serve what is in it.",
        |s| {
            let name: Option<FolderName> = s.required("name", &name(), "Its name, unique in the peer. Routes name it.");
            if let Some(name) = &name {
                s.called("files", name, "");
            }
            let root: Option<PathBuf> = s.required(
            "root",
            &FOLDER_FROM_ROOT,
            "Where it is. Links that lead out of it are not followed, and names that begin with a dot are not served.",
        );
            if let Some(root) = root.as_ref().filter(|root| !root.is_dir()) {
                let (origin, path) = (s.origin_of("root"), s.path_of("root"));
                s.reader().warn(
                    origin,
                    path,
                    format!("{}: there is no such folder; its files are answered with 404", root.display()),
                );
            }
            let named = name.clone().map(|name| (name, s.origin_of("name")));
            (named, name.zip(root).map(|(name, root)| Folder { name, root }))
        },
    );
    let names = read.iter().filter_map(|(name, _)| name.as_ref()).map(|(name, origin)| (name, origin.clone()));
    let words = |name: &_| (format!("files \"{name}\" name"), format!("files {name} stand there twice"));
    s.reader().refuse_twice(names, words);
    if read.len() > FOLDERS_MAX {
        let wrong = format!("{} are more than the {FOLDERS_MAX} allowed", read.len());
        let fault = Fault::new(s.origin_of("files"), "files", wrong);
        s.reader().fault(fault);
    }
    read.into_iter().filter_map(|(_, folder)| folder).collect()
}
