//! A disk that loses its power, with all that it had not been made to keep.
//!
//! The emulator writes what the guest writes to a log too (QEMU's `blklogwrites`, in the format
//! of Linux's dm-log-writes). From the disk as it was at the boot and that log comes the disk
//! after a power cut at any moment: writes before the last flush are there, of those after it
//! any may be missing. A killed emulator alone shows none of that: the host keeps everything.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::guest::copy;

const MAGIC: u64 = 0x006A_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// Bytes of an entry's numbers; the rest of its sector is empty.
const ENTRY: usize = 32;

/// A write in the log, or a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Bytes into the disk.
    at: u64,
    /// Bytes.
    length: u64,
    flags: u64,
    /// Bytes into the log.
    data: u64,
}

impl Entry {
    const fn has(self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    const fn writes(self) -> bool {
        self.length > 0 && !self.has(DISCARD) && !self.has(MARK)
    }
}

/// What a cut took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The moment, in entries of the log.
    pub entry: usize,
    /// Writes after the last flush before it.
    pub unflushed: usize,
    /// Those of them that are not on the disk.
    pub lost: usize,
}

/// A disk's log.
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads what an emulator that was killed has left.
    ///
    /// # Errors
    /// When that is no log.
    pub fn read(path: &Path) -> Result<Self> {
        let open = || File::open(path).with_context(|| path.display().to_string());
        let mut reader = BufReader::new(open()?);
        let entries = entries(&mut reader).with_context(|| path.display().to_string())?;
        Ok(Self {
            file: open()?,
            entries,
        })
    }

    /// The first entry that lies beyond `bytes` of the log.
    pub fn entry_at(&self, bytes: u64) -> usize {
        self.entries.partition_point(|entry| entry.data < bytes)
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes of the disk `before` the one after a cut just before the entry `at`, in `after`.
    /// `keep` is asked for each write that nothing had made sure of.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn cut(
        &mut self,
        before: &Path,
        after: &Path,
        at: usize,
        keep: impl FnMut() -> bool,
    ) -> Result<Lost> {
        copy(before, after)?;
        let mut disk = File::options().write(true).open(after)?;
        let lost = replay(&self.entries, &mut self.file, &mut disk, at, keep)?;
        disk.sync_all()?;
        Ok(lost)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// All whole entries. The header's own count may be old: an emulator that is killed does not
/// write it. What follows the last whole entry is of later than the end.
fn entries(log: &mut (impl Read + Seek)) -> Result<Vec<Entry>> {
    let mut header = [0; 28];
    log.read_exact(&mut header)?;
    ensure!(
        number(&header, 0) == MAGIC && number(&header, 8) == VERSION,
        "it is no log of writes"
    );
    let sector = u64::from(u32::from_le_bytes([
        header[24], header[25], header[26], header[27],
    ]));
    ensure!((512..=4096).contains(&sector), "sectors of {sector} bytes");
    let length = log.seek(SeekFrom::End(0))?;
    let mut entries = Vec::new();
    let mut at = log.seek(SeekFrom::Start(sector))?;
    loop {
        let mut bytes = [0; ENTRY];
        match log.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(entries),
            Err(error) => return Err(error.into()),
        }
        let (first, count) = (number(&bytes, 0), number(&bytes, 8));
        let entry = Entry {
            at: first.saturating_mul(sector),
            length: count.saturating_mul(sector),
            flags: number(&bytes, 16),
            data: at + sector,
        };
        let follows = match entry.writes() {
            true => entry.length,
            // A mark's text is padded to a sector's end.
            false => number(&bytes, 24).next_multiple_of(sector),
        };
        let end = entry.data.saturating_add(follows);
        // Nothing but zeros: the emulator had not come to it.
        if (entry.length, entry.flags) == (0, 0) || end > length {
            return Ok(entries);
        }
        entries.push(entry);
        at = log.seek(SeekFrom::Start(end))?;
    }
}

fn replay(
    entries: &[Entry],
    log: &mut (impl Read + Seek),
    disk: &mut (impl Write + Seek),
    at: usize,
    mut keep: impl FnMut() -> bool,
) -> Result<Lost> {
    let entries = &entries[..at.min(entries.len())];
    let flushed = entries.iter().rposition(|entry| entry.has(FLUSH));
    let flushed = flushed.map_or(0, |last| last + 1);
    let mut lost = Lost {
        entry: entries.len(),
        unflushed: 0,
        lost: 0,
    };
    let mut data = Vec::new();
    for (index, entry) in entries.iter().enumerate().filter(|(_, it)| it.writes()) {
        if index >= flushed && !entry.has(FUA) {
            lost.unflushed += 1;
            if !keep() {
                lost.lost += 1;
                continue;
            }
        }
        data.resize(usize::try_from(entry.length)?, 0);
        log.seek(SeekFrom::Start(entry.data))?;
        log.read_exact(&mut data)?;
        disk.seek(SeekFrom::Start(entry.at))?;
        disk.write_all(&data)?;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const SECTOR: usize = 512;

    fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        bytes
    }

    fn header() -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [MAGIC, VERSION, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((SECTOR as u32).to_le_bytes());
        padded(bytes)
    }

    fn entry(first: u64, data: &[u8], flags: u64) -> Vec<u8> {
        let sectors = (data.len() / SECTOR) as u64;
        let numbers = [first, sectors, flags, 0];
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        let mut bytes = padded(bytes.collect());
        bytes.extend(data);
        bytes
    }

    /// Sector 0 gets 1s, then a flush; sector 1 gets 2s, sector 2 gets 3s at once, sector 0
    /// gets 4s.
    fn log() -> Vec<u8> {
        let full = |byte: u8| vec![byte; SECTOR];
        let mut log = header();
        log.extend(entry(0, &full(1), 0));
        log.extend(entry(0, &[], FLUSH));
        log.extend(entry(1, &full(2), 0));
        log.extend(entry(2, &full(3), FUA));
        log.extend(entry(0, &full(4), 0));
        log
    }

    /// The first byte of each sector afterwards, and what was lost.
    fn after(log: Vec<u8>, at: usize, keep: bool) -> ([u8; 3], Lost) {
        let mut log = Cursor::new(log);
        let entries = entries(&mut log).unwrap();
        let mut disk = Cursor::new(vec![0; 3 * SECTOR]);
        let lost = replay(&entries, &mut log, &mut disk, at, || keep).unwrap();
        let disk = disk.into_inner();
        ([disk[0], disk[SECTOR], disk[2 * SECTOR]], lost)
    }

    #[test]
    fn what_was_flushed_stays_and_what_was_not_may_be_lost() {
        let (disk, lost) = after(log(), 5, false);
        assert_eq!(disk, [1, 0, 3]);
        assert_eq!((lost.unflushed, lost.lost), (2, 2));
        let (disk, lost) = after(log(), 5, true);
        assert_eq!(disk, [4, 2, 3]);
        assert_eq!((lost.unflushed, lost.lost), (2, 0));
    }

    #[test]
    fn a_cut_knows_nothing_of_what_comes_after_it() {
        assert_eq!(after(log(), 0, true).0, [0, 0, 0]);
        assert_eq!(after(log(), 1, false).0, [0, 0, 0]);
        assert_eq!(after(log(), 2, false).0, [1, 0, 0]);
        assert_eq!(after(log(), 3, true).0, [1, 2, 0]);
    }

    #[test]
    fn a_log_ends_where_its_emulator_was_killed() {
        let whole = log();
        let torn = whole[..whole.len() - 1].to_vec();
        assert_eq!(after(torn, 9, true).0, [1, 2, 3]);
        let mut hole = whole.clone();
        hole.extend([0; 4 * SECTOR]);
        assert_eq!(after(hole, 9, true).0, [4, 2, 3]);
        assert!(entries(&mut Cursor::new(vec![0; SECTOR])).is_err());
    }

    #[test]
    fn entries_are_found_by_their_place_in_the_log() {
        let log = log();
        let entries = entries(&mut Cursor::new(log)).unwrap();
        let places: Vec<_> = entries
            .iter()
            .map(|entry| entry.data as usize / SECTOR)
            .collect();
        assert_eq!(places, [2, 4, 5, 7, 9]);
    }
}
