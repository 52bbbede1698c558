//! What an elector has on disk: its ballot, and the bytes of the values that the ballot speaks of, each in a file that is
//! named after its hash.
//!
//! Every call blocks, for as long as the disk takes: none is made on a thread that keeps time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::election::ballot::{BALLOT_FILE_BYTES_MAX, Ballot};
use crate::election::outcomes::Value;
use crate::host::{DurableError, DurableFile};
use crate::model::limits::VALUE_BYTES_MAX;
use crate::model::{MinTimeout, Slot, ValueHash};

const BALLOT: &str = "ballot";
const VALUE: &str = "value-";
/// Values that are kept in memory: the accepted one, the committed one, and one on its way.
const CACHED_MAX: usize = 3;

/// The files of an elector, in a folder that it has for itself.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    ballot: DurableFile,
    cached: Mutex<Vec<(ValueHash, Arc<Value>)>>,
    /// Who may change the ballot and remove values. It is held while that is done.
    life: Mutex<Life>,
    /// Values that were written and that no ballot names yet: [`Store::keep`] leaves them alone. It is held while the file of
    /// a value is written or removed, and taken before `life`.
    pins: Mutex<BTreeMap<ValueHash, Weak<()>>>,
}

/// One life of an elector, from when it looked at its files until the next one does. A write that was begun cannot be called
/// back: of an elector that was killed it may be late, and must not take the place of what its successor has promised.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Life(u64);

/// Keeps a value on disk that no ballot names yet, for as long as any copy of it is there. To drop it costs nothing.
#[derive(Clone, Debug)]
pub struct Pin {
    _alive: Arc<()>,
}

/// What was found at a start.
#[derive(Debug)]
pub struct Found {
    /// The ballot, as far as it can be believed.
    pub ballot: Ballot,
    /// What cannot be read, for people; empty where all is well, and where there is nothing yet.
    pub damage: Vec<String>,
}

impl Store {
    /// The files in this folder.
    pub fn new(folder: PathBuf) -> Self {
        let ballot = DurableFile::new(&folder, BALLOT, BALLOT_FILE_BYTES_MAX);
        Self { folder, ballot, cached: Mutex::default(), life: Mutex::default(), pins: Mutex::default() }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a life: what is there, from here on changed by nobody else. Waits for a write that is under way.
    pub fn begin(&self) -> (Life, Found) {
        let mut newest = lock(&self.life);
        newest.0 += 1;
        let life = *newest;
        drop(newest);
        (life, self.load())
    }

    /// What is there. Whatever cannot be read counts as forgotten, never as not promised.
    pub fn load(&self) -> Found {
        let lost = || Ballot::lost(MinTimeout::default());
        let mut damage = Vec::new();
        let ballot = match self.ballot.read() {
            Ok(None) => lost(),
            Ok(Some(bytes)) => Ballot::decode(&bytes).unwrap_or_else(|error| {
                damage.push(format!("{}: {error}", self.ballot.path().display()));
                lost()
            }),
            Err(error) => {
                damage.push(error.to_string());
                lost()
            }
        };
        let missing: BTreeSet<ValueHash> = ballot
            .values()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|value| match self.read(*value) {
                Ok(_) => false,
                Err(error) => {
                    damage.push(error);
                    true
                }
            })
            .collect();
        if missing.is_empty() {
            return Found { ballot, damage };
        }
        let is_there = |slot: &Slot| !missing.contains(&slot.hash);
        let committed_is_there = ballot.committed.as_ref().is_some_and(is_there);
        Found { ballot: ballot.without_value(committed_is_there), damage }
    }

    /// Writes the ballot. It is on disk when this returns. One of a life that is over is not written.
    pub fn write_ballot(&self, life: Life, ballot: &Ballot) -> Result<(), String> {
        let bytes = ballot.encode().map_err(|error| error.to_string())?;
        let newest = lock(&self.life);
        if *newest != life {
            return Err("an elector that was started later has this ballot".to_owned());
        }
        self.ballot.replace(&bytes).map_err(|error| error.to_string())
    }

    /// Writes the bytes of a value. They are on disk when this returns, and stay while the pin is held.
    pub fn write(&self, hash: ValueHash, bytes: &[u8]) -> Result<Pin, String> {
        let value = Arc::new(Value::decode(bytes, hash).map_err(|error| error.to_string())?);
        let mut pins = lock(&self.pins);
        let file = self.file(hash);
        let is_there = matches!(file.read(), Ok(Some(known)) if known == bytes);
        if !is_there {
            file.replace(bytes).map_err(|error| error.to_string())?;
        }
        let known = pins.get(&hash).and_then(Weak::upgrade);
        let alive = known.unwrap_or_default();
        pins.insert(hash, Arc::downgrade(&alive));
        drop(pins);
        self.cache(hash, &value);
        Ok(Pin { _alive: alive })
    }

    /// A value that is on disk; why it cannot be read, where it cannot.
    pub fn read(&self, hash: ValueHash) -> Result<Arc<Value>, String> {
        let cached = lock(&self.cached);
        if let Some((_, value)) = cached.iter().find(|(known, _)| *known == hash) {
            return Ok(Arc::clone(value));
        }
        drop(cached);
        let file = self.file(hash);
        let bytes = self.bytes(hash).map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("{}: it is not there", file.path().display()))?;
        let value = Value::decode(&bytes, hash).map_err(|error| format!("{}: {error}", file.path().display()))?;
        let value = Arc::new(value);
        self.cache(hash, &value);
        Ok(value)
    }

    /// The bytes of a value, as another peer is sent them; it looks at the hash itself.
    pub fn bytes(&self, hash: ValueHash) -> Result<Option<Vec<u8>>, DurableError> {
        self.file(hash).read()
    }

    /// Removes every value but these and those that are pinned. One that cannot be removed is tried again the next time. In a
    /// life that is over nothing is removed.
    pub fn keep(&self, life: Life, values: &BTreeSet<ValueHash>) {
        lock(&self.cached).retain(|(hash, _)| values.contains(hash));
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(hash) = name.to_str().and_then(|name| name.strip_prefix(VALUE)) else { continue };
            let Ok(hash) = hash.parse() else { continue };
            if values.contains(&hash) {
                continue;
            }
            let mut pins = lock(&self.pins);
            pins.retain(|_, pin| pin.strong_count() > 0);
            let newest = lock(&self.life);
            if *newest != life {
                return;
            }
            if !pins.contains_key(&hash) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn file(&self, hash: ValueHash) -> DurableFile {
        DurableFile::new(&self.folder, &format!("{VALUE}{hash}"), VALUE_BYTES_MAX)
    }

    fn cache(&self, hash: ValueHash, value: &Arc<Value>) {
        let mut cached = lock(&self.cached);
        cached.retain(|(known, _)| *known != hash);
        if cached.len() == CACHED_MAX {
            cached.remove(0);
        }
        cached.push((hash, Arc::clone(value)));
    }
}

/// What is behind these locks is whole between two statements, so a panic of another thread leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::ballot::{Vote, samples};
    use crate::wire::Memory;

    fn value(body: &[u8]) -> (ValueHash, Vec<u8>) {
        let bytes = Value { body: body.to_vec(), ..Value::default() }.encode().unwrap();
        (ValueHash::of(&bytes), bytes)
    }

    /// A folder with a ballot that has accepted one value and committed another.
    fn filled() -> (tempfile::TempDir, Ballot) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let mut ballot = samples::full();
        for (slot, body) in [(&mut ballot.accepted, b"new"), (&mut ballot.committed, b"old")] {
            let (hash, bytes) = value(body);
            store.write(hash, &bytes).unwrap();
            slot.as_mut().unwrap().hash = hash;
        }
        let (life, _) = store.begin();
        store.write_ballot(life, &ballot).unwrap();
        (folder, ballot)
    }

    fn load(folder: &Path) -> Found {
        Store::new(folder.to_path_buf()).load()
    }

    #[test]
    fn what_was_written_is_found_at_the_next_start() {
        let (folder, ballot) = filled();
        let found = load(folder.path());
        assert_eq!((found.ballot, found.damage), (ballot.clone(), Vec::new()));
        let store = Store::new(folder.path().to_path_buf());
        assert_eq!(store.read(ballot.committed.unwrap().hash).unwrap().body, b"old");
    }

    #[test]
    fn a_new_peer_has_forgotten_and_nothing_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let found = load(folder.path());
        assert_eq!((found.ballot.memory, found.damage.len()), (Memory::Lost, 0));
    }

    #[test]
    fn a_ballot_that_is_cut_off_flipped_or_empty_is_forgotten_and_told_with_its_file() {
        let (folder, _) = filled();
        let path = folder.path().join(BALLOT);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bytes in [&whole[..whole.len() - 1], &flipped, b"", b"ekballo9 and more"] {
            fs::write(&path, bytes).unwrap();
            let found = load(folder.path());
            assert_eq!(found.ballot, Ballot::lost(MinTimeout::default()));
            assert!(found.damage.len() == 1 && found.damage[0].contains(BALLOT), "{:?}", found.damage);
        }
    }

    #[test]
    fn an_accepted_value_that_is_damaged_voids_the_promises_and_keeps_what_is_committed() {
        let (folder, ballot) = filled();
        let path = folder.path().join(format!("{VALUE}{}", ballot.accepted.as_ref().unwrap().hash));
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        for damage in [Some(bytes), None] {
            match damage {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let found = load(folder.path());
            assert_eq!((found.ballot.memory, found.ballot.accepted), (Memory::Lost, None));
            assert_eq!((found.ballot.committed, found.ballot.term), (ballot.committed.clone(), ballot.term));
            assert_eq!(found.damage.len(), 1);
        }
    }

    #[test]
    fn only_values_that_are_named_are_kept_and_nothing_else_in_the_folder_is_touched() {
        let (folder, ballot) = filled();
        fs::write(folder.path().join("value-of-mine"), "").unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let committed = ballot.committed.unwrap().hash;
        let (fresh, bytes) = value(b"fresh");
        let (life, _) = store.begin();
        let pin = store.write(fresh, &bytes).unwrap();
        let again = store.write(fresh, &bytes).unwrap();
        store.keep(life, &[committed].into());
        assert!(store.read(committed).is_ok());
        assert!(store.read(fresh).is_ok(), "nobody names it yet");
        drop(pin);
        store.keep(life, &[committed].into());
        assert!(store.bytes(fresh).unwrap().is_some(), "it was written twice");
        drop(again);
        store.keep(life, &[committed].into());
        let error = store.read(ballot.accepted.unwrap().hash).unwrap_err();
        assert!(error.contains("it is not there"), "{error}");
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [BALLOT.to_owned(), format!("{VALUE}{committed}"), "value-of-mine".to_owned()]);
    }

    #[test]
    fn what_an_elector_began_before_it_was_killed_changes_nothing_for_its_successor() {
        let (folder, ballot) = filled();
        let store = Store::new(folder.path().to_path_buf());
        let (before, _) = store.begin();
        let (now, _) = store.begin();
        let voted = Ballot { term: ballot.term.next().unwrap(), ..ballot.clone() };
        store.write_ballot(now, &voted).unwrap();
        let late = Ballot { vote: Vote::Open, ..voted.clone() };
        assert!(store.write_ballot(before, &late).unwrap_err().contains("started later"));
        store.keep(before, &BTreeSet::new());
        let found = load(folder.path());
        assert_eq!((found.ballot, found.damage), (voted, Vec::new()), "its vote and its values are there");
    }

    #[test]
    fn bytes_of_another_hash_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let (hash, mut bytes) = value(b"body");
        bytes.push(0);
        assert!(store.write(hash, &bytes).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
