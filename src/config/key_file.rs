//! The files that say whom a peer takes: a cluster key, or those of an authority. They are read with the settings, so that
//! `evenkeel check` finds what is wrong with them.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::certificate_file::{self, Unreadable};
use crate::link::{AuthorityFiles, KeyRing, TrustSource};

/// The files that settings name.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) key_file: Option<PathBuf>,
    pub(super) authority_file: Option<PathBuf>,
    pub(super) certificate_file: Option<PathBuf>,
    pub(super) certificate_key_file: Option<PathBuf>,
    pub(super) cookie_key_file: Option<PathBuf>,
}

/// What is wrong with one of them.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The key that names it.
    pub(super) key: &'static str,
    pub(super) file: Option<PathBuf>,
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

impl Named {
    /// Those that are named.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let Self { key_file, authority_file, certificate_file, certificate_key_file, cookie_key_file } = self;
        let all = [key_file, authority_file, certificate_file, certificate_key_file, cookie_key_file];
        all.into_iter().flatten().map(PathBuf::as_path)
    }

    /// Reads the keys that sign cookies, where a file of their own is named.
    pub(super) fn read_cookie_keys(&self) -> Result<Option<KeyRing>, Wrong> {
        self.cookie_key_file.as_deref().map(|file| key_ring("cookie_key_file", file)).transpose()
    }

    /// Reads them. `None` where none is named.
    pub(super) fn read(&self) -> Result<Option<TrustSource>, Wrong> {
        let authority = [
            ("authority_file", &self.authority_file),
            ("certificate_file", &self.certificate_file),
            ("certificate_key_file", &self.certificate_key_file),
        ];
        let named = authority.iter().filter(|(_, file)| file.is_some()).count();
        match (&self.key_file, named) {
            (None, 0) => Ok(None),
            (Some(file), 0) => key_ring("key_file", file).map(|ring| Some(TrustSource::Keys(ring))),
            (Some(_), _) => Err(Wrong {
                key: "key_file",
                file: None,
                why: "there is a cluster key and an authority; only one of them can say who is taken".to_owned(),
                hint: Some("leave out key_file, or the three files of the authority".to_owned()),
            }),
            (None, 3) => {
                let [authorities, certificate, key] = authority.map(|(key, file)| read(key, file.as_deref()));
                let files = AuthorityFiles {
                    authorities: authorities?.to_vec(),
                    certificate: certificate?.to_vec(),
                    key: key?,
                };
                Ok(Some(TrustSource::Authority(files)))
            }
            (None, _) => {
                let missing = authority.iter().find(|(_, file)| file.is_none());
                Err(Wrong {
                    key: missing.map_or("authority_file", |(key, _)| key),
                    file: None,
                    why: "it is missing".to_owned(),
                    hint: Some(
                        "an authority takes three files: authority_file, certificate_file, certificate_key_file"
                            .to_owned(),
                    ),
                })
            }
        }
    }
}

fn key_ring(key: &'static str, file: &Path) -> Result<KeyRing, Wrong> {
    let bytes = read(key, Some(file))?;
    let wrong = |why: String| Wrong {
        key,
        file: Some(file.to_owned()),
        why,
        hint: Some("`evenkeel keygen FILE` writes a file as it is wanted here".to_owned()),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not a text".to_owned()))?;
    KeyRing::parse(text).map_err(|error| wrong(error.to_string()))
}

/// The bytes of a file, wiped when they are no longer needed.
fn read(key: &'static str, file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    let path = file.unwrap_or(Path::new(""));
    certificate_file::bytes(path).map_err(|unreadable| {
        let hint = match unreadable {
            Unreadable::Missing => Some("make a cluster key with `evenkeel keygen FILE`, and copy it to every peer"),
            _ => unreadable.hint(),
        };
        Wrong { key, file: Some(path.to_owned()), why: unreadable.why(), hint: hint.map(str::to_owned) }
    })
}
