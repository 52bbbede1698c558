//! Files with certificates and keys, as settings name them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::document::{Fault, Section, quoted};
use crate::model::limits::CERTIFICATE_FILE_BYTES_MAX;

/// Permissions of everybody else.
const OTHERS_MAY_READ: u32 = 0o004;

/// Why a file could not be read, and what to do.
#[derive(Debug)]
pub(super) enum Unreadable {
    Missing,
    NotAllowed,
    TooLong,
    Other(std::io::Error),
}

impl Unreadable {
    pub(super) fn why(&self) -> String {
        match self {
            Self::Missing => "there is no such file".to_owned(),
            Self::NotAllowed => "this user may not read it".to_owned(),
            Self::TooLong => format!("it has more than {CERTIFICATE_FILE_BYTES_MAX} bytes"),
            Self::Other(error) => format!("it cannot be read: {error}"),
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotAllowed => Some("make it belong to the user that runs evenkeel, mode 0600"),
            Self::TooLong => Some("is it another file?"),
            Self::Missing | Self::Other(_) => None,
        }
    }
}

/// The bytes of a file, wiped when they are no longer needed.
pub(super) fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Unreadable::Missing,
        std::io::ErrorKind::PermissionDenied => Unreadable::NotAllowed,
        _ => Unreadable::Other(error),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = CERTIFICATE_FILE_BYTES_MAX as u64 + 1;
    File::open(path).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > CERTIFICATE_FILE_BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    Ok(bytes)
}

/// The bytes of the file that `key` names; `None` where it cannot be read, which is reported.
pub(super) fn read(s: &mut Section<'_, '_, '_>, key: &'static str, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    s.reader().note_file(path);
    bytes(path)
        .map_err(|unreadable| {
            let mut fault =
                Fault::new(s.origin_of(key), s.path_of(key), unreadable.why()).found(quoted(&path.display()));
            fault.hint = unreadable.hint().map(str::to_owned);
            s.reader().fault(fault);
        })
        .ok()
}

/// Warns where everybody on this machine may read a private key.
pub(super) fn warn_if_open(s: &mut Section<'_, '_, '_>, key: &'static str, path: &Path) {
    let mode = std::fs::metadata(path).map(|of| of.permissions().mode());
    if mode.is_ok_and(|mode| mode & OTHERS_MAY_READ != 0) {
        let (origin, place) = (s.origin_of(key), s.path_of(key));
        let message = format!("{}: it has a private key, and everybody may read it; chmod 0600", path.display());
        s.reader().warn(origin, place, message);
    }
}
