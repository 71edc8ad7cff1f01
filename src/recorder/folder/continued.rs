//! The list of a recording that is continued.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use pilotage_dataset::scan_count;

use super::{FolderError, HEADER, NUMBERS_HEADER, SHORT_HEADER, file, number};

/// The end of a data.csv whose rows are checked when a recording is continued, bytes: the rows of
/// half a minute at 30 Hz.
const TAIL: u64 = 1 << 16;

/// The bytes of a list, and the width and height of its last picture, if there is one.
type Length = (u64, Option<(u32, u32)>);

/// Checks a data.csv, of any length, that rows are to be added to, and removes what a power cut
/// left at its end. Returns its first line, its length in bytes, and the size of the last picture.
pub(super) fn continued(
    folder: &Path,
    list: &mut File,
    path: &Path,
) -> Result<(&'static str, Length), FolderError> {
    let of_list = |reason| file(path, reason);
    let total = list.metadata().map_err(of_list)?.len();
    let start = read_at(list, 0, total.min(TAIL)).map_err(of_list)?;
    let length = complete(list, total).map_err(of_list)?;
    let header = || FolderError::Header {
        path: path.to_owned(),
    };
    if length == 0 {
        // New, or cut off in its first line.
        if total > TAIL || !HEADER.as_bytes().starts_with(&start) {
            return Err(header());
        }
        list.set_len(0).map_err(of_list)?;
        let text = format!("{HEADER}\n");
        list.write_all(text.as_bytes()).map_err(of_list)?;
        return Ok((HEADER, (text.len() as u64, None)));
    }
    let first = start.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    let known = [HEADER, NUMBERS_HEADER, SHORT_HEADER].into_iter();
    let mut known = known.filter(|known| first.trim_ascii() == known.as_bytes());
    let found = known.next().ok_or_else(header)?;
    let start = first.len() as u64 + 1;
    let scans = (found == HEADER).then(|| scan_count(folder));
    let (length, size) = with_pictures(folder, list, (start, length), scans).map_err(of_list)?;
    list.set_len(length).map_err(of_list)?;
    Ok((found, (length, size)))
}

/// The length of the complete lines at the start of the first `total` bytes.
fn complete(list: &File, total: u64) -> io::Result<u64> {
    let mut end = total;
    while end > 0 {
        let start = end.saturating_sub(TAIL);
        let part = read_at(list, start, end - start)?;
        if let Some(found) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + found as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The length of the list without the last rows whose pictures or scans are missing or not whole: a row
/// may survive a power cut that its picture does not. The rows begin at `first` and end at `end`. With
/// `scans`, each ends with the place of a scan among so many, or nothing.
fn with_pictures(
    folder: &Path,
    list: &File,
    (first, end): (u64, u64),
    scans: Option<u64>,
) -> io::Result<Length> {
    let start = first.max(end.saturating_sub(TAIL));
    let text = read_at(list, start, end - start)?;
    let mut length = end;
    let fields = |row: &[u8]| row.split(|&byte| byte == b',').count();
    let columns = fields(HEADER.as_bytes());
    for row in text.split_inclusive(|&byte| byte == b'\n').rev() {
        let name = row.split(|&byte| byte == b',').next().unwrap_or(&[]);
        let name = str::from_utf8(name).unwrap_or("");
        // The first row of the part may be cut by it, and is left as it is.
        if number(name).is_none() {
            break;
        }
        let has_scan = scans.is_none_or(|scans| {
            let place = row.trim_ascii_end().rsplit(|&byte| byte == b',').next();
            let place = str::from_utf8(place.unwrap_or(&[])).unwrap_or("");
            let has_place = fields(row) == columns && !place.is_empty();
            !has_place || place.parse::<u64>().is_ok_and(|place| place < scans)
        });
        if let Some(size) = size(&folder.join(name)).filter(|_| has_scan) {
            return Ok((length, Some(size)));
        }
        length -= row.len() as u64;
    }
    Ok((length, None))
}

/// Width and height of a picture, pixels; `None` if it is not whole.
fn size(picture: &Path) -> Option<(u32, u32)> {
    // Only files of the recorder's own names get here, in a folder that is locked.
    let is_file = fs::metadata(picture).is_ok_and(|it| it.is_file());
    let bytes = is_file.then(|| fs::read(picture))?.ok()?;
    let picture = pilotage_dataset::decode(&bytes).ok()?;
    Some((picture.width, picture.height))
}

fn read_at(list: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    list.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
