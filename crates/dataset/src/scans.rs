//! Scans of a lidar: the file `scans.bin` beside data.csv.
//!
//! The file begins with 28 bytes: the text `pilotage scans 1`, the number of rays (u32), and the first
//! and the last ray's direction (f32, degrees, left positive). Then follow the scans: the distance along
//! each ray in millimetres, as u16. All numbers are little-endian. The column `scan` of data.csv has the place of
//! a picture's scan, counted from 0.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use pilotage_vehicle::{Rays, Scan};

use crate::error::{DatasetError, ScansProblem};
use crate::file;

/// The file of a recording's scans.
pub const SCANS: &str = "scans.bin";
const MAGIC: &[u8; 16] = b"pilotage scans 1";
const HEADER: usize = 28;
/// The longest file, bytes: 7 hours of 1081 rays at 40 Hz.
const LONGEST: u64 = 1 << 31;

/// Reads all scans of a recording. The incomplete one that a power cut may leave at the end is passed over.
pub(crate) fn read(folder: &Path) -> Result<Vec<Arc<Scan>>, DatasetError> {
    let path = folder.join(SCANS);
    let opened = file::open(folder, Path::new(SCANS));
    let file = opened.map_err(|refused| refused.at(&path))?;
    let wrong = |problem| DatasetError::Scans {
        path: path.clone(),
        problem,
    };
    let failed = |reason| DatasetError::File {
        path: path.clone(),
        reason,
    };
    let length = file.metadata().map_err(failed)?.len();
    if length > LONGEST {
        return Err(wrong(ScansProblem::TooLong));
    }
    let Some(length) = length.checked_sub(HEADER as u64) else {
        return Err(wrong(ScansProblem::Header));
    };
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(failed)?;
    let rays = rays(&header).ok_or_else(|| wrong(ScansProblem::Header))?;
    let mut bytes = vec![0; 2 * rays.count()];
    let mut scans = Vec::new();
    for _ in 0..length / bytes.len() as u64 {
        file.read_exact(&mut bytes).map_err(failed)?;
        let distances = bytes.as_chunks::<2>().0.iter();
        scans.push(Arc::new(Scan {
            rays,
            millimetres: distances.map(|&it| u16::from_le_bytes(it)).collect(),
        }));
    }
    Ok(scans)
}

/// How many scans the file in `folder` has, which may be absent.
pub fn scan_count(folder: &Path) -> u64 {
    let header = || -> Option<u64> {
        let mut file = file::open(folder, Path::new(SCANS)).ok()?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        let scan = 2 * rays(&header)?.count() as u64;
        Some(file.metadata().ok()?.len().saturating_sub(HEADER as u64) / scan)
    };
    header().unwrap_or(0)
}

/// The directions that a file's first bytes name.
fn rays(header: &[u8]) -> Option<Rays> {
    let numbers = header.strip_prefix(MAGIC)?.as_chunks::<4>().0;
    let &[count, start, end] = numbers else {
        return None;
    };
    let count = usize::try_from(u32::from_le_bytes(count)).ok()?;
    Rays::new(count, f32::from_le_bytes(start), f32::from_le_bytes(end))
}

fn header(rays: Rays) -> Vec<u8> {
    // There are at most 4096 rays.
    let count = u32::try_from(rays.count()).unwrap_or(u32::MAX);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(count.to_le_bytes());
    bytes.extend(rays.start().to_le_bytes());
    bytes.extend(rays.end().to_le_bytes());
    bytes
}

/// Adds scans to the file of a recording.
#[derive(Debug)]
pub struct ScanWriter {
    file: File,
    rays: Rays,
    bytes: Vec<u8>,
    /// The latest scan, which several pictures may have.
    latest: Vec<u16>,
    count: u64,
}

impl ScanWriter {
    /// Creates the file in `folder`, or continues it: an incomplete last scan is removed.
    ///
    /// # Errors
    /// If the file cannot be written, has scans of other directions, or is another file.
    pub fn open(folder: &Path, rays: Rays) -> io::Result<Self> {
        let path = folder.join(SCANS);
        let options = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let mut file = options?;
        let length = file.metadata()?.len();
        let (first, scan) = (HEADER as u64, 2 * rays.count() as u64);
        let count = length.saturating_sub(first) / scan;
        let header = header(rays);
        let mut known = Vec::with_capacity(HEADER);
        (&mut file).take(first).read_to_end(&mut known)?;
        if !header.starts_with(&known) {
            let text = match known.starts_with(MAGIC) {
                true => "has scans of another lidar; name another folder",
                false => "is not a file of scans; name another folder",
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if known.len() < HEADER {
            // New, or cut off in its first bytes.
            file.set_len(0)?;
            file.write_all(&header)?;
        } else {
            file.set_len(first + count * scan)?;
        }
        Ok(Self {
            file,
            rays,
            bytes: Vec::with_capacity(2 * rays.count()),
            latest: Vec::new(),
            count,
        })
    }

    /// Adds a scan if it is not the latest one, and returns its place. `None`: the scan is not whole.
    ///
    /// # Errors
    /// If the scan cannot be written or has other directions, or the file would be longer than is read.
    pub fn write(&mut self, scan: &Scan) -> io::Result<Option<u64>> {
        if !scan.is_whole() {
            return Ok(None);
        }
        if scan.rays != self.rays {
            let text = "a scan has other directions than those before it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if self.latest == scan.millimetres {
            return Ok(self.count.checked_sub(1));
        }
        self.bytes.clear();
        for distance in &scan.millimetres {
            self.bytes.extend(distance.to_le_bytes());
        }
        let size = self.bytes.len() as u64;
        if HEADER as u64 + (self.count + 1) * size > LONGEST {
            let text = "has 2 GiB of scans, the most of a recording; record to a new folder";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        if let Err(error) = self.file.write_all(&self.bytes) {
            // The next scan begins where this one did.
            self.file.set_len(HEADER as u64 + self.count * size)?;
            return Err(error);
        }
        self.latest.clone_from(&scan.millimetres);
        self.count += 1;
        Ok(Some(self.count - 1))
    }

    /// Waits until the scans are on the disk.
    ///
    /// # Errors
    /// If the system fails.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scan(distances: [u16; 3]) -> Scan {
        Scan {
            rays: Rays::new(3, -90.0, 90.0).unwrap(),
            millimetres: distances.to_vec(),
        }
    }

    #[test]
    fn scans_are_read_as_they_were_written_and_a_cut_file_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = [[1, 2, 65_535], [0, 5, 6], [7, 8, 9]].map(scan);
        let mut writer = ScanWriter::open(folder.path(), a.rays).unwrap();
        let places = [&a, &a, &b].map(|scan| writer.write(scan).unwrap());
        assert_eq!(places, [Some(0), Some(0), Some(1)]);
        let mut short = c.clone();
        short.millimetres.pop();
        assert_eq!(writer.write(&short).unwrap(), None);
        let path = folder.path().join(SCANS);
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), HEADER + 2 * 2 * 3);
        bytes.pop();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(folder.path()).unwrap(), [Arc::new(a.clone())]);
        let mut writer = ScanWriter::open(folder.path(), a.rays).unwrap();
        assert_eq!(writer.write(&c).unwrap(), Some(1));
        let all = [a.clone(), c].map(Arc::new);
        assert_eq!(read(folder.path()).unwrap(), all);
        let other = Rays::new(3, -90.0, 91.0).unwrap();
        let error = ScanWriter::open(folder.path(), other).unwrap_err();
        assert!(error.to_string().contains("another lidar"), "{error}");
    }

    #[test]
    fn a_full_file_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = [[1, 2, 3], [4, 5, 6]].map(scan);
        ScanWriter::open(folder.path(), a.rays).unwrap();
        let path = folder.path().join(SCANS);
        let set_length = |length| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(length).unwrap();
        };
        // A file with holes takes no place on the disk. 6 bytes are left.
        let full = HEADER as u64 + (LONGEST - HEADER as u64) / 6 * 6;
        set_length(full - 6);
        let mut writer = ScanWriter::open(folder.path(), a.rays).unwrap();
        assert!(writer.write(&a).unwrap().is_some());
        let error = writer.write(&b).unwrap_err();
        assert!(
            error.to_string().contains("record to a new folder"),
            "{error}"
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), full);
        set_length(LONGEST + 1);
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("2 GiB"), "{error}");
    }

    #[test]
    fn only_a_file_of_scans_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SCANS);
        let a = scan([1, 2, 3]);
        for other in [&b"notes"[..], b"pilotage scans 2", &[b'x'; 40]] {
            fs::write(&path, other).unwrap();
            let error = ScanWriter::open(folder.path(), a.rays).unwrap_err();
            assert!(error.to_string().contains("not a file of scans"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), other);
        }
        for length in [0, 1, 16, HEADER - 1] {
            fs::write(&path, &header(a.rays)[..length]).unwrap();
            let mut writer = ScanWriter::open(folder.path(), a.rays).unwrap();
            assert_eq!(writer.write(&a).unwrap(), Some(0));
            assert_eq!(read(folder.path()).unwrap(), [Arc::new(a.clone())]);
        }
    }

    #[test]
    fn a_file_that_is_not_one_of_scans_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SCANS);
        let good = header(Rays::new(3, -90.0, 90.0).unwrap());
        for (place, byte) in [(0, b'P'), (16, 1), (18, 9), (23, 0x7f), (27, 0xff)] {
            let mut bytes = good.clone();
            bytes[place] = byte;
            if place >= 20 {
                // Not a number, from its two highest bytes on.
                bytes[place - 1] = 0xff;
            }
            fs::write(&path, &bytes).unwrap();
            let error = read(folder.path()).unwrap_err();
            assert!(error.to_string().contains("scans.bin"), "{place}: {error}");
        }
        fs::write(&path, &good[..HEADER - 1]).unwrap();
        assert!(read(folder.path()).is_err());
        fs::remove_file(&path).unwrap();
        assert!(read(folder.path()).is_err());
    }
}
