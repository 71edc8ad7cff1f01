//! Simulates a power cut of a disk, including the loss of unflushed writes.
//!
//! The emulator also logs every write of the guest (QEMU's `blklogwrites`, in the format of Linux's
//! dm-log-writes). From the log and the disk as it was at the boot, this module makes the disk
//! after a power cut at any time: writes before the last flush are present, and any of the later
//! writes may be missing. Killing the emulator alone does not lose writes: the host keeps all of
//! them.

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
/// Size of an entry's header fields in bytes; the rest of its sector is zero.
const ENTRY: usize = 32;

/// An entry of the log: a write, a flush, a discard or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Offset on the disk, in bytes.
    at: u64,
    /// Length in bytes.
    length: u64,
    flags: u64,
    /// Offset of the data in the log, in bytes.
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

/// The writes that a power cut has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The time of the cut, as an index into the entries of the log.
    pub entry: usize,
    /// Writes between the last flush and the cut.
    pub unflushed: usize,
    /// The number of them that are not on the disk.
    pub lost: usize,
}

/// The write log of a disk.
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the log of an emulator that was killed.
    ///
    /// # Errors
    /// When the file is not a write log.
    pub fn read(path: &Path) -> Result<Self> {
        let open = || File::open(path).with_context(|| path.display().to_string());
        let mut reader = BufReader::new(open()?);
        let entries = entries(&mut reader).with_context(|| path.display().to_string())?;
        Ok(Self {
            file: open()?,
            entries,
        })
    }

    /// The index of the first entry whose data begins at or after the offset `bytes` of the log.
    pub fn entry_at(&self, bytes: u64) -> usize {
        self.entries.partition_point(|entry| entry.data < bytes)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes the disk `after` from the disk `before`, as it is after a power cut just before the
    /// entry `at`. For each write that was not flushed, `keep` decides whether it is on the disk.
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

/// Reads all complete entries. The count in the header may be out of date: a killed emulator does
/// not update it. Data after the last complete entry is ignored.
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
        let data_length = match entry.writes() {
            true => entry.length,
            // The text of a mark is padded to a whole sector.
            false => number(&bytes, 24).next_multiple_of(sector),
        };
        let end = entry.data.saturating_add(data_length);
        // Only zeros: the emulator has not written this entry yet.
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

    /// A log with: 1s to sector 0; a flush; 2s to sector 1; 3s to sector 2 with FUA; 4s to sector
    /// 0.
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

    /// The first byte of each sector after the cut, and the lost writes.
    fn after(log: Vec<u8>, at: usize, keep: bool) -> ([u8; 3], Lost) {
        let mut log = Cursor::new(log);
        let entries = entries(&mut log).unwrap();
        let mut disk = Cursor::new(vec![0; 3 * SECTOR]);
        let lost = replay(&entries, &mut log, &mut disk, at, || keep).unwrap();
        let disk = disk.into_inner();
        ([disk[0], disk[SECTOR], disk[2 * SECTOR]], lost)
    }

    #[test]
    fn flushed_writes_stay_and_unflushed_writes_may_be_lost() {
        let (disk, lost) = after(log(), 5, false);
        assert_eq!(disk, [1, 0, 3]);
        assert_eq!((lost.unflushed, lost.lost), (2, 2));
        let (disk, lost) = after(log(), 5, true);
        assert_eq!(disk, [4, 2, 3]);
        assert_eq!((lost.unflushed, lost.lost), (2, 0));
    }

    #[test]
    fn entries_after_the_cut_are_not_replayed() {
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
