//! `evenkeel keygen`: a new cluster key, into a file that only its owner reads.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::args::Keygen;
use super::outcome::Failure;
use crate::link::ClusterKey;

/// Read and write for the owner, nothing for anybody else.
const MODE: u32 = 0o600;

pub(super) fn keygen(args: &Keygen) -> Result<(), Failure> {
    let key = ClusterKey::generate().ok_or_else(|| {
        Failure::new("the system gave no random numbers", "try again; a machine that has just booted may have none yet")
    })?;
    let Some(file) = &args.file else {
        return Ok(writeln!(io::stdout().lock(), "{}", *key.to_text())?);
    };
    write(file, &key).map_err(|error| cannot(file, &error))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} holds a new cluster key, fingerprint {}", file.display(), key.fingerprint())?;
    writeln!(out, "Copy it to every peer, and name it there: [cluster] key_file = \"...\" or --key-file")?;
    Ok(())
}

/// A key that is there already is never written over: a cluster may live by it.
fn write(file: &Path, key: &ClusterKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(file)?;
    file.write_all(key.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn cannot(file: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "choose another name, or remove it if no peer uses it; to change a cluster's key add a line to its file, see \
             docs/operating"
        }
        io::ErrorKind::NotFound => "make the folder first",
        io::ErrorKind::PermissionDenied => "choose a folder that this user may write to",
        _ => "nothing was written",
    };
    Failure::new(format_args!("{} cannot be written: {error}", file.display()), hint)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::link::KeyRing;

    #[test]
    fn a_key_file_is_read_by_its_owner_alone_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.key");
        keygen(&Keygen { file: Some(file.clone()) }).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        KeyRing::parse(&text).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);

        let Err(Failure::Failed { what, hint }) = keygen(&Keygen { file: Some(file.clone()) }) else {
            panic!("it was written over")
        };
        assert!(what.contains("cannot be written") && hint.contains("choose another name"), "{what}: {hint}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}
