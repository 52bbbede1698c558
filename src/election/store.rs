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
/// A ballot that could not be read: the last one of them.
const DAMAGED: &str = "ballot.damaged";
const VALUE: &str = "value-";
/// Values that are kept in memory: the accepted one, the committed one, and one on its way.
const CACHED_MAX: usize = 3;

/// The files of an elector, in a folder that it has for itself.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    ballot: DurableFile,
    /// Why nothing is written, if nothing is.
    sealed: Option<Arc<str>>,
    cached: Mutex<Vec<(ValueHash, Arc<Value>)>>,
    /// Who may change the ballot and remove values. It is held while that is done.
    owner: Mutex<Owner>,
    /// Values that were written and that no ballot names yet: [`Store::keep`] leaves them alone. It is held while the file of
    /// a value is written or removed, and taken before `owner`.
    pins: Mutex<BTreeMap<ValueHash, Weak<()>>>,
}

#[derive(Debug, Default)]
struct Owner {
    life: Life,
    /// Values that were there when it began and found damage: they may be all that is left of a cluster.
    spared: BTreeSet<ValueHash>,
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
    /// Where a ballot is that could not be read, if there is no other.
    pub put_aside: Option<PathBuf>,
}

impl Store {
    /// The files in this folder.
    pub fn new(folder: PathBuf) -> Self {
        let ballot = DurableFile::new(&folder, BALLOT, BALLOT_FILE_BYTES_MAX);
        Self { folder, ballot, sealed: None, cached: Mutex::default(), owner: Mutex::default(), pins: Mutex::default() }
    }

    /// The same, read and never written: nobody knows that no other process has the folder.
    pub fn sealed(self, why: &str) -> Self {
        Self { sealed: Some(Arc::from(why)), ..self }
    }

    fn may_write(&self) -> Result<(), String> {
        match &self.sealed {
            None => Ok(()),
            Some(why) => Err(format!("the data folder could not be locked when this peer started ({why}): restart it")),
        }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a life: what is there, from here on changed by nobody else. Waits for a write that is under way.
    ///
    /// A ballot that cannot be read is put aside, and where anything is damaged no value is removed that is there now: an
    /// elector alone begins a new cluster then, and of the one before these bytes are all that is left.
    pub fn begin(&self) -> (Life, Found) {
        let mut owner = lock(&self.owner);
        owner.life.0 += 1;
        let mut found = self.load();
        let aside = self.folder.join(DAMAGED);
        if self.sealed.is_none()
            && self.read_ballot().is_err()
            && let Err(error) = fs::rename(self.ballot.path(), &aside)
        {
            found.damage.push(format!("{}: cannot be put aside: {error}", self.ballot.path().display()));
        }
        // It may have been put aside by an elector that ended before it had written another.
        found.put_aside = (!self.ballot.path().exists() && aside.exists()).then_some(aside);
        if let (true, Some(aside)) = (found.damage.is_empty(), &found.put_aside) {
            found.damage.push(format!("{}: it was put aside, and none was written since", aside.display()));
        }
        owner.spared =
            if found.damage.is_empty() { BTreeSet::new() } else { self.values().map(|(hash, _)| hash).collect() };
        (owner.life, found)
    }

    /// What is there. Whatever cannot be read counts as forgotten, never as not promised.
    pub fn load(&self) -> Found {
        let mut damage = Vec::new();
        let ballot = self.read_ballot().unwrap_or_else(|error| {
            damage.push(error);
            None
        });
        let ballot = ballot.unwrap_or_else(|| Ballot::lost(MinTimeout::default()));
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
            return Found { ballot, damage, put_aside: None };
        }
        let is_there = |slot: &Slot| !missing.contains(&slot.hash);
        let committed_is_there = ballot.committed.as_ref().is_some_and(is_there);
        Found { ballot: ballot.without_value(committed_is_there), damage, put_aside: None }
    }

    fn read_ballot(&self) -> Result<Option<Ballot>, String> {
        let Some(bytes) = self.ballot.read().map_err(|error| error.to_string())? else { return Ok(None) };
        let ballot = Ballot::decode(&bytes);
        ballot.map(Some).map_err(|error| format!("{}: {error}", self.ballot.path().display()))
    }

    /// Writes the ballot. It is on disk when this returns. One of a life that is over is not written.
    pub fn write_ballot(&self, life: Life, ballot: &Ballot) -> Result<(), String> {
        self.may_write()?;
        let bytes = ballot.encode().map_err(|error| error.to_string())?;
        // Held until it is there.
        let owner = lock(&self.owner);
        if owner.life != life {
            return Err("an elector that was started later has this ballot".to_owned());
        }
        self.ballot.replace(&bytes).map_err(|error| error.to_string())
    }

    /// Writes the bytes of a value. They are on disk when this returns, and stay while the pin is held.
    pub fn write(&self, hash: ValueHash, bytes: &[u8]) -> Result<Pin, String> {
        self.may_write()?;
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
        for (hash, path) in self.values().filter(|(hash, _)| !values.contains(hash)) {
            let mut pins = lock(&self.pins);
            pins.retain(|_, pin| pin.strong_count() > 0);
            let owner = lock(&self.owner);
            if owner.life != life || self.sealed.is_some() {
                return;
            }
            if !pins.contains_key(&hash) && !owner.spared.contains(&hash) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The values that have a file.
    fn values(&self) -> impl Iterator<Item = (ValueHash, PathBuf)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let hash = entry.file_name().to_str()?.strip_prefix(VALUE)?.parse().ok()?;
            Some((hash, entry.path()))
        })
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
    fn where_the_folder_could_not_be_locked_it_is_read_and_never_written() {
        let (folder, ballot) = filled();
        let store = Store::new(folder.path().to_path_buf()).sealed("Read-only file system");
        let (life, found) = store.begin();
        assert_eq!(found.ballot, ballot);
        let refused = store.write_ballot(life, &Ballot::lost(MinTimeout::default())).unwrap_err();
        assert!(refused.contains("Read-only file system") && refused.contains("restart"), "{refused}");
        let (fresh, bytes) = value(b"fresh");
        assert!(store.write(fresh, &bytes).is_err());
        store.keep(life, &BTreeSet::new());
        assert_eq!(load(folder.path()).ballot, ballot);
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
    fn what_a_damaged_ballot_spoke_of_stays_until_an_elector_starts_without_damage() {
        let (folder, ballot) = filled();
        let path = folder.path().join(BALLOT);
        fs::write(&path, b"bent").unwrap();
        let aside = folder.path().join(DAMAGED);
        for start in ["the first", "one after a kill"] {
            let store = Store::new(folder.path().to_path_buf());
            let (life, found) = store.begin();
            assert_eq!(found.put_aside.as_ref(), Some(&aside), "{start}");
            let (fresh, bytes) = value(b"fresh");
            drop(store.write(fresh, &bytes).unwrap());
            store.keep(life, &BTreeSet::new());
            assert_eq!(store.bytes(fresh).unwrap(), None, "what came later is removed");
            assert!(ballot.values().all(|value| store.read(value).is_ok()), "{start}");
            assert_eq!(fs::read(&aside).unwrap(), b"bent");
        }
        let store = Store::new(folder.path().to_path_buf());
        let (life, _) = store.begin();
        store.write_ballot(life, &Ballot::lost(MinTimeout::default())).unwrap();
        let (life, found) = store.begin();
        assert_eq!((found.put_aside, found.damage), (None, Vec::new()));
        store.keep(life, &BTreeSet::new());
        assert!(ballot.values().all(|value| store.bytes(value).unwrap().is_none()));
        assert!(aside.exists());
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
