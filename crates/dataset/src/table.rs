//! Rows of a list of comma-separated values.

use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::error::{DatasetError, RowProblem};
use crate::lines::Lines;
use crate::notes::Note;
use crate::record::{Found, Record};

/// The longest row, bytes.
const LONGEST_ROW: usize = 1 << 16;
/// The most rows at the end of a list whose scans a power cut may have lost: half a minute at 30 Hz.
const MOST_WITHOUT_SCAN: usize = 1000;

/// Splits rows into fields.
pub(crate) struct Fields {
    parser: Reader,
    delimiter: u8,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    /// The delimiter is the likeliest of `,`, `;` and tab in `first`, the first row.
    fn new(first: &str) -> Self {
        let count = |delimiter: u8| first.bytes().filter(|&byte| byte == delimiter).count();
        let mut delimiter = b',';
        for other in [b';', b'\t'] {
            if count(other) > count(delimiter) {
                delimiter = other;
            }
        }
        Self {
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn split(&mut self, row: &str) -> Result<(), RowProblem> {
        // The parser would take the rest of the file as the field's text.
        if row.bytes().filter(|&byte| byte == b'"').count() % 2 == 1 {
            return Err(RowProblem::Quote);
        }
        let delimiters = row.bytes().filter(|&byte| byte == self.delimiter).count();
        self.text.clear();
        self.text.resize(row.len() + 1, 0);
        self.ends.clear();
        self.ends.resize(delimiters + 2, 0);
        self.parser.reset();
        let mut input = row.as_bytes();
        let (mut written, mut fields) = (0, 0);
        loop {
            let to = &mut self.text[written..];
            let ends = &mut self.ends[fields..];
            let (result, read, text, more) = self.parser.read_record(input, to, ends);
            input = &input[read..];
            written += text;
            fields += more;
            match result {
                // Read again, with an empty input that marks the end.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => break,
                // Both buffers fit the longest result.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(RowProblem::TooLong(LONGEST_ROW));
                }
            }
        }
        self.ends.truncate(fields);
        Ok(())
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field without the spaces around it; an absent one is empty.
    pub fn get(&self, index: usize) -> Result<&str, RowProblem> {
        let Some(&end) = self.ends.get(index) else {
            return Ok("");
        };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let text = std::str::from_utf8(&self.text[start..end]).map_err(|_| RowProblem::NotUtf8)?;
        Ok(text.trim())
    }

    /// A finite number whose magnitude is at most `most`; an empty field is none.
    pub fn number(
        &self,
        index: usize,
        most: f64,
        range: &'static str,
    ) -> Result<Option<f64>, RowProblem> {
        let text = self.get(index)?;
        if text.is_empty() {
            return Ok(None);
        }
        let shown = || text.chars().take(40).collect::<String>();
        let number = self
            .parse(text)
            .ok_or_else(|| RowProblem::NotNumber(shown()))?;
        match number.abs() <= most {
            true => Ok(Some(number)),
            false => Err(RowProblem::Range {
                value: shown(),
                range,
            }),
        }
    }

    /// A finite number. Where commas do not separate fields, they may be decimal marks.
    pub fn parse(&self, text: &str) -> Option<f64> {
        let number = match text.parse::<f64>() {
            Err(_) if self.delimiter != b',' => text.replacen(',', ".", 1).parse(),
            number => number,
        };
        number.ok().filter(|number| number.is_finite())
    }
}

/// A row: its line, whether that line has an end, and its fields.
pub(crate) struct Row<'a> {
    pub line: u64,
    pub ended: bool,
    pub fields: Result<&'a Fields, RowProblem>,
}

/// Reads a list row by row; empty lines are passed over.
pub(crate) struct Table {
    lines: Lines,
    fields: Fields,
    /// The first row is still to be given.
    first: Option<(u64, bool)>,
}

impl Table {
    /// Opens a list and reads its first row, `None` for an empty file.
    pub fn open(folder: &Path, name: &str) -> Result<Option<Self>, DatasetError> {
        let mut lines = Lines::open(folder, name, LONGEST_ROW)?;
        let path = lines.path().to_owned();
        loop {
            let Some(line) = lines.next()? else {
                return Ok(None);
            };
            let wrong = |problem| row_error(&path, line.number, "", problem);
            let text = line.text().map_err(wrong)?;
            if text.trim().is_empty() {
                continue;
            }
            let mut fields = Fields::new(text);
            fields.split(text).map_err(wrong)?;
            let first = Some((line.number, line.ended));
            return Ok(Some(Self {
                lines,
                fields,
                first,
            }));
        }
    }

    pub fn path(&self) -> PathBuf {
        self.lines.path().to_owned()
    }

    /// Takes the first row as titles, in lower case.
    pub fn titles(&mut self) -> Result<Titles, DatasetError> {
        let (line, _) = self.first.take().unwrap_or((1, true));
        let path = self.path();
        let mut titles = Vec::new();
        for index in 0..self.fields.len() {
            let title = self.fields.get(index);
            let title = title.map_err(|problem| row_error(&path, line, "", problem))?;
            let title = title.to_lowercase();
            if !title.is_empty() && titles.contains(&title) {
                let column = title;
                return Err(DatasetError::ColumnTwice { path, column });
            }
            titles.push(title);
        }
        Ok(Titles { path, line, titles })
    }

    pub fn next(&mut self) -> Result<Option<Row<'_>>, DatasetError> {
        if let Some((line, ended)) = self.first.take() {
            let fields = Ok(&self.fields);
            return Ok(Some(Row {
                line,
                ended,
                fields,
            }));
        }
        loop {
            let Some(line) = self.lines.next()? else {
                return Ok(None);
            };
            let (number, ended) = (line.number, line.ended);
            let split = match line.text() {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => self.fields.split(text),
                Err(problem) => Err(problem),
            };
            let fields = split.map(|()| &self.fields);
            return Ok(Some(Row {
                line: number,
                ended,
                fields,
            }));
        }
    }
}

/// A problem of a row, with the title of its column; empty for the whole row.
pub(crate) type InColumn = (&'static str, RowProblem);

impl Table {
    /// Adds the record that `read` makes of each remaining row to `found`; a row without one is
    /// passed over. A last row that was cut off, by a power cut or a full disk, is noted, and so are
    /// last rows whose scans were.
    ///
    /// # Errors
    /// At the first row that is not a record, and when there are too many.
    pub fn read_records(
        &mut self,
        found: &mut Found,
        mut read: impl FnMut(&Fields) -> Result<Option<Record>, InColumn>,
    ) -> Result<(), DatasetError> {
        let path = self.path();
        // The rows without their scan since the last record, and the error of the first of them.
        let mut without_scan = 0;
        let mut no_scan = None;
        while let Some(row) = self.next()? {
            let (line, ended) = (row.line, row.ended);
            let record = row.fields.map_err(|problem| ("", problem));
            let record = record.and_then(&mut read);
            if record.is_ok()
                && let Some((line, column, problem)) = no_scan
            {
                return Err(row_error(&path, line, column, problem));
            }
            match record {
                Ok(None) => {}
                Ok(Some(record)) => found.push(&path, Record { line, ..record })?,
                Err(_) if !ended => found.notes.push(Note::CutRow {
                    path: path.clone(),
                    line,
                }),
                Err((column, problem)) if problem.is_scan_beyond_end() => {
                    without_scan += 1;
                    no_scan.get_or_insert((line, column, problem));
                }
                Err((column, problem)) => return Err(row_error(&path, line, column, problem)),
            }
        }
        match no_scan {
            None => Ok(()),
            Some((line, ..)) if without_scan <= MOST_WITHOUT_SCAN => {
                let count = without_scan;
                found.notes.push(Note::NoScans { path, line, count });
                Ok(())
            }
            Some((line, column, problem)) => Err(row_error(&path, line, column, problem)),
        }
    }
}

/// The titles of a list's columns.
pub(crate) struct Titles {
    path: PathBuf,
    line: u64,
    pub titles: Vec<String>,
}

impl Titles {
    /// The index of a column, if there is one.
    pub fn find(&self, title: &str) -> Option<usize> {
        self.titles.iter().position(|found| found == title)
    }

    /// The index of a column that a list must have.
    pub fn needed(&self, column: &'static str) -> Result<usize, DatasetError> {
        self.find(column).ok_or_else(|| DatasetError::NoColumn {
            path: self.path.clone(),
            line: self.line,
            column,
            found: self.titles.join(",").chars().take(80).collect(),
        })
    }

    /// Refuses a row with another number of fields; empty fields at its end do not count.
    pub fn check(&self, fields: &Fields) -> Result<(), RowProblem> {
        let expected = self.titles.len();
        let mut found = fields.len();
        while found > expected && fields.get(found - 1)?.is_empty() {
            found -= 1;
        }
        match found == expected {
            true => Ok(()),
            false => Err(RowProblem::Fields { found, expected }),
        }
    }
}

pub(crate) fn row_error(path: &Path, line: u64, column: &str, problem: RowProblem) -> DatasetError {
    DatasetError::Row {
        path: path.to_owned(),
        line,
        column: column.to_owned(),
        problem,
    }
}
