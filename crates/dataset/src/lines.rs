//! The lines of a text file: any length of file, any line end, UTF-8 or UTF-16.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{DatasetError, RowProblem};
use crate::file;

/// A line of a list, without its end.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Whether the line has an end: the last line of a file that was cut off has none.
    pub ended: bool,
    bytes: &'a [u8],
}

impl<'a> Line<'a> {
    pub fn text(&self) -> Result<&'a str, RowProblem> {
        std::str::from_utf8(self.bytes).map_err(|_| RowProblem::NotUtf8)
    }
}

/// Reads a file line by line. Lines end with LF, CR LF or CR.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    /// The longest line, bytes.
    limit: usize,
    number: u64,
    line: Vec<u8>,
    /// The line before ended with CR: an LF belongs to it.
    after_cr: bool,
}

impl Lines {
    /// Opens `folder`/`name`.
    pub fn open(folder: &Path, name: &str, limit: usize) -> Result<Self, DatasetError> {
        let path = folder.join(name);
        let file = file::open(folder, Path::new(name)).map_err(|refused| refused.at(&path))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let start = reader.fill_buf().map_err(|reason| DatasetError::File {
            path: path.clone(),
            reason,
        })?;
        let unmarked = |problem| DatasetError::Encoding {
            path: path.clone(),
            problem,
        };
        let reader: Box<dyn BufRead> = match start {
            [0xEF, 0xBB, 0xBF, ..] => {
                reader.consume(3);
                Box::new(reader)
            }
            [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => {
                return Err(unmarked("the text is UTF-32"));
            }
            [0xFF, 0xFE, ..] => Box::new(BufReader::new(Utf16::new(reader, u16::from_le_bytes))),
            [0xFE, 0xFF, ..] => Box::new(BufReader::new(Utf16::new(reader, u16::from_be_bytes))),
            &[0, second, ..] if second != 0 => {
                return Err(unmarked("the text is UTF-16 without a byte order mark"));
            }
            &[first, 0, ..] if first != 0 => {
                return Err(unmarked("the text is UTF-16 without a byte order mark"));
            }
            _ => Box::new(reader),
        };
        Ok(Self {
            path,
            reader,
            limit,
            number: 0,
            line: Vec::new(),
            after_cr: false,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next line, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Line<'_>>, DatasetError> {
        self.line.clear();
        self.number += 1;
        let mut started = false;
        let ended = loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(reason) => {
                    let path = self.path.clone();
                    return Err(DatasetError::File { path, reason });
                }
            };
            if bytes.is_empty() {
                if !started {
                    return Ok(None);
                }
                break false;
            }
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            started = true;
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            extend(&mut self.line, part);
            let is_cr = end.is_some_and(|end| bytes[end] == b'\r');
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if self.line.len() > self.limit {
                return Err(DatasetError::Row {
                    path: self.path.clone(),
                    line: self.number,
                    column: String::new(),
                    problem: RowProblem::TooLong(self.limit),
                });
            }
            if end.is_some() {
                self.after_cr = is_cr;
                break true;
            }
        };
        Ok(Some(Line {
            number: self.number,
            ended,
            bytes: &self.line,
        }))
    }
}

/// Appends a part of a line. A power cut can leave megabytes of NULs at the end of a file; of NULs
/// at the start of a line one is kept, which no list has.
fn extend(line: &mut Vec<u8>, part: &[u8]) {
    let mut part = part;
    if line.is_empty() || line == b"\0" {
        let nuls = part.iter().take_while(|&&byte| byte == 0).count();
        if nuls > 0 {
            line.clear();
            line.push(0);
            part = &part[nuls..];
        }
    }
    line.extend_from_slice(part);
}

/// Converts UTF-16 to UTF-8. Units that are not valid become U+FFFD.
struct Utf16<R> {
    units: R,
    to_unit: fn([u8; 2]) -> u16,
    /// A unit that was read too far.
    ahead: Option<u16>,
    /// UTF-8 that did not fit the buffer.
    rest: ([u8; 4], usize),
}

impl<R: Read> Utf16<R> {
    fn new(units: R, to_unit: fn([u8; 2]) -> u16) -> Self {
        let mut new = Self {
            units,
            to_unit,
            ahead: None,
            rest: ([0; 4], 0),
        };
        // The byte order mark, which the caller has seen.
        let _ = new.unit();
        new
    }

    fn unit(&mut self) -> io::Result<Option<u16>> {
        if let Some(unit) = self.ahead.take() {
            return Ok(Some(unit));
        }
        let mut bytes = [0; 2];
        match self.units.read_exact(&mut bytes) {
            Ok(()) => Ok(Some((self.to_unit)(bytes))),
            // The last unit may be cut in half.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn character(&mut self) -> io::Result<Option<char>> {
        let Some(first) = self.unit()? else {
            return Ok(None);
        };
        if let Some(character) = char::from_u32(first.into()) {
            return Ok(Some(character));
        }
        let Some(second) = self.unit()? else {
            return Ok(Some(char::REPLACEMENT_CHARACTER));
        };
        let decoded = char::decode_utf16([first, second]).next();
        Ok(Some(match decoded {
            Some(Ok(character)) => character,
            _ => {
                self.ahead = Some(second);
                char::REPLACEMENT_CHARACTER
            }
        }))
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < to.len() {
            let (bytes, length) = self.rest;
            if length > 0 {
                let taken = length.min(to.len() - filled);
                to[filled..filled + taken].copy_from_slice(&bytes[..taken]);
                self.rest.0.copy_within(taken.., 0);
                self.rest.1 -= taken;
                filled += taken;
                continue;
            }
            let Some(character) = self.character()? else {
                break;
            };
            self.rest.1 = character.encode_utf8(&mut self.rest.0).len();
        }
        Ok(filled)
    }
}
