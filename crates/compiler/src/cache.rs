//! Keeps what a compilation measured on its frames, so that the next one measures only what has
//! changed.
//!
//! An entry is the result of running one network on some frames, which depends on nothing else. Its
//! key is a digest of the plan, the frames, what was measured, and the program: a changed recipe
//! leaves the entries valid whose networks it does not change. The gate is always measured anew.
//!
//! The file is [`MAGIC`], the SHA-256 of what follows, and the entries: key (32 bytes), length (u32,
//! little-endian), content. A file that is damaged or of another kind is ignored, and replaced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

/// The first bytes of the file; the last of them is the format's version.
const MAGIC: &[u8; 8] = b"PLTCACH1";
/// The largest size of the file, bytes. What exceeds it is measured anew each time.
const MOST_BYTES: usize = 64 << 20;
/// The number of bytes of a program that identify it: those after the first GiB are not read.
const MOST_PROGRAM_BYTES: u64 = 1 << 30;

/// Identifies an entry.
pub(crate) type Key = [u8; 32];

/// Rows of numbers: what an entry contains. Floats are stored by their bits.
pub(crate) type Rows = Vec<Vec<u64>>;

/// What earlier compilations measured, in a file.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    /// Identifies the program: another one may compute other numbers.
    program: [u8; 32],
    damaged: bool,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Those of the file, as far as this compilation has not used them.
    old: BTreeMap<Key, Vec<u8>>,
    /// Those that this compilation used or made.
    used: BTreeMap<Key, Vec<u8>>,
    changed: bool,
}

impl Cache {
    /// The entries in the file at `path`; none if it does not exist or is damaged. `program` is the
    /// file of the program that compiles: entries of another program are not used.
    ///
    /// # Errors
    /// If the program cannot be read.
    pub fn read(path: &Path, program: &Path) -> io::Result<Self> {
        let program = digest_of(program)?;
        let (old, damaged) = match read(path) {
            Ok(bytes) => match parse(&bytes) {
                Some(entries) => (entries, false),
                None => (BTreeMap::new(), true),
            },
            Err(error) => (BTreeMap::new(), error.kind() != io::ErrorKind::NotFound),
        };
        Ok(Self {
            path: path.to_owned(),
            program,
            damaged,
            entries: Mutex::new(Entries {
                old,
                ..Entries::default()
            }),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was a file that could not be used.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Writes the entries that were used or made since [`read`](Self::read); others are dropped, so
    /// that the file does not grow with each change of a recipe. Does nothing if the file has these
    /// entries already, or if none were used or made: the file then keeps its entries.
    ///
    /// # Errors
    /// If the file cannot be written; it has its old content then.
    pub fn write(&self) -> io::Result<()> {
        let entries = self.entries();
        if !entries.changed && entries.old.is_empty() || entries.used.is_empty() {
            return Ok(());
        }
        let mut content = Vec::new();
        for (key, entry) in &entries.used {
            let Ok(length) = u32::try_from(entry.len()) else {
                continue;
            };
            if content.len() + key.len() + 4 + entry.len() > MOST_BYTES - MAGIC.len() - 32 {
                continue;
            }
            content.extend(key);
            content.extend(length.to_le_bytes());
            content.extend(entry);
        }
        let (mut file, part) = pilotage_config::create_part(&self.path)?;
        let mut write = || {
            file.write_all(MAGIC)?;
            file.write_all(&Sha256::digest(&content))?;
            file.write_all(&content)?;
            // Without a sync: after a power cut the checksum finds what is missing.
            std::fs::rename(&part, &self.path)
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&part)))
    }

    /// The key of what `kind` measures with a network on `frames`. `network` passes on, in parts,
    /// everything that identifies the network; `more` is whatever else the result depends on.
    pub(crate) fn key(
        &self,
        kind: &str,
        network: impl FnOnce(&mut dyn FnMut(&[u8])),
        frames: &[&[u8]],
        more: &[u8],
    ) -> Key {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        add(&self.program);
        add(kind.as_bytes());
        add(more);
        network(&mut add);
        for frame in frames {
            add(frame);
        }
        digest.finalize().into()
    }

    /// The entry with this key.
    pub(crate) fn get(&self, key: &Key) -> Option<Rows> {
        let mut entries = self.entries();
        let entry = match entries.old.remove(key) {
            Some(entry) => entries.used.entry(*key).or_insert(entry),
            None => entries.used.get_mut(key)?,
        };
        decode(entry)
    }

    /// Adds an entry.
    pub(crate) fn put(&self, key: Key, rows: &Rows) {
        let mut entries = self.entries();
        entries.used.insert(key, encode(rows));
        entries.changed = true;
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SHA-256 of a file.
fn digest_of(program: &Path) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut file = File::open(program)?.take(MOST_PROGRAM_BYTES);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(count) => digest.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a regular file of at most [`MOST_BYTES`].
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = path.metadata()?;
    // Opening a FIFO without a writer would wait.
    if !metadata.is_file() || metadata.len() > MOST_BYTES as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries of a file; `None` if it is damaged.
fn parse(file: &[u8]) -> Option<BTreeMap<Key, Vec<u8>>> {
    let content = file.strip_prefix(MAGIC)?;
    let (sum, mut content) = content.split_at_checked(32)?;
    if Sha256::digest(content)[..] != *sum {
        return None;
    }
    let mut entries = BTreeMap::new();
    while !content.is_empty() {
        let (key, rest) = content.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (entry, rest) = rest.split_at_checked(length)?;
        entries.insert(*key, entry.to_vec());
        content = rest;
    }
    Some(entries)
}

/// The number of rows, and each row as its length and its numbers, all as LEB128: most counts of a
/// histogram are small.
fn encode(rows: &Rows) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |mut number: u64| {
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    };
    add(rows.len() as u64);
    for row in rows {
        add(row.len() as u64);
        row.iter().for_each(|&number| add(number));
    }
    bytes
}

/// The inverse of [`encode`]; `None` for bytes that it did not write.
fn decode(mut bytes: &[u8]) -> Option<Rows> {
    let count = number(&mut bytes)?;
    let mut rows = Vec::new();
    for _ in 0..count {
        let length = number(&mut bytes)?;
        // Each number takes a byte at least.
        if length > bytes.len() as u64 {
            return None;
        }
        let row = (0..length).map(|_| number(&mut bytes));
        rows.push(row.collect::<Option<Vec<u64>>>()?);
    }
    bytes.is_empty().then_some(rows)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_read_as_they_were_written(
            rows in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..9), 0..9),
        ) {
            let bytes = encode(&rows);
            prop_assert_eq!(decode(&bytes), Some(rows));
            for end in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..end]), None);
            }
        }

        #[test]
        fn arbitrary_bytes_are_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = parse(&bytes);
            let mut file = MAGIC.to_vec();
            file.extend(Sha256::digest(&bytes));
            file.extend(&bytes);
            let _ = parse(&file);
        }
    }
}
