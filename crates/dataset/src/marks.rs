//! Marks beside a recording: records that are left out although nothing of them is deleted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{DatasetError, RowProblem};
use crate::notes::Note;
use crate::record::Found;
use crate::table::{Table, row_error};

/// The file with the marks: a list with the columns `image_name` and `reason`. To use a record
/// again, its row is deleted; to use all, the file is.
pub const LEFT_OUT: &str = "left_out.csv";

/// The first line of a file with marks.
const TITLES: &str = "image_name,reason\n";
/// The reason of a mark that an operator sets.
pub const BY_HAND: &str = "marked by hand";

/// The folder and the name of the marks of a recording: beside a log of messages, a file of its own.
fn place(recording: &Path) -> (PathBuf, String) {
    let name = recording.file_name().and_then(|name| name.to_str());
    match (recording.is_file(), name) {
        (true, Some(name)) => {
            let folder = recording.parent().unwrap_or(Path::new(""));
            let folder = match folder == Path::new("") {
                true => Path::new("."),
                false => folder,
            };
            (folder.to_owned(), format!("{name}.{LEFT_OUT}"))
        }
        _ => (recording.to_owned(), LEFT_OUT.to_owned()),
    }
}

/// The file with the marks of a recording; it need not exist.
pub fn marks_file(recording: &Path) -> PathBuf {
    let (folder, name) = place(recording);
    folder.join(name)
}

/// Leaves marked records out.
pub(crate) fn apply(folder: &Path, found: &mut Found) -> Result<(), DatasetError> {
    let Some(marked) = read(folder)? else {
        return Ok(());
    };
    let before = found.records.len();
    let is_kept = |picture: &PathBuf| picture.to_str().is_none_or(|text| !marked.contains(text));
    found.records.retain(|record| is_kept(&record.picture));
    let count = before - found.records.len();
    if count > 0 {
        let path = marks_file(folder);
        found.notes.push(Note::Deleted { path, count });
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Option<HashSet<String>>, DatasetError> {
    let (folder, name) = place(folder);
    let path = folder.join(&name);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let mut marked = HashSet::new();
    let Some(mut table) = Table::open(&folder, &name)? else {
        return Ok(None);
    };
    let column = table.titles()?.needed("image_name")?;
    while let Some(row) = table.next()? {
        let wrong = |problem| row_error(&path, row.line, "image_name", problem);
        let name = match row.fields {
            Ok(fields) => fields.get(column).map_err(wrong)?,
            Err(_) if !row.ended => break,
            Err(problem) => return Err(wrong(problem)),
        };
        if name.is_empty() {
            return Err(wrong(RowProblem::Missing("there is no image name")));
        }
        marked.insert(name.to_owned());
    }
    Ok(Some(marked))
}

/// Marks of a recording: those that its folder has, and new ones that are not written yet.
#[derive(Debug)]
pub struct Marks {
    folder: PathBuf,
    marked: HashSet<String>,
    new: HashSet<String>,
    /// The rows of the new marks.
    rows: String,
    removed: HashSet<String>,
}

impl Marks {
    /// Reads the marks beside a recording.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        Ok(Self {
            folder: folder.to_owned(),
            marked: read(folder)?.unwrap_or_default(),
            new: HashSet::new(),
            rows: String::new(),
            removed: HashSet::new(),
        })
    }

    /// Marks a picture: every record with it is left out. Pictures whose names a list cannot have
    /// (control characters, spaces around the name) are not marked.
    pub fn add(&mut self, picture: &Path, reason: &str) {
        let Some(name) = picture.to_str().filter(|name| can_be_listed(name)) else {
            return;
        };
        if !self.marked.contains(name) && self.new.insert(name.to_owned()) {
            // A line end would begin another row.
            let reason = reason.replace(char::is_control, " ");
            self.rows += &format!("{},{}\n", quoted(name), quoted(&reason));
        }
    }

    /// Removes the mark of a picture: records with it are used again.
    pub fn remove(&mut self, picture: &Path) {
        if let Some(name) = picture.to_str().filter(|name| self.marked.contains(*name)) {
            self.removed.insert(name.to_owned());
        }
    }

    /// Whether a picture is marked, by a mark that is written.
    pub fn is_marked(&self, picture: &Path) -> bool {
        picture.to_str().is_some_and(|it| self.marked.contains(it))
    }

    /// Whether writing changes the mark of a picture.
    pub(crate) fn changes(&self, picture: &Path) -> bool {
        let is_in = |names: &HashSet<String>| picture.to_str().is_some_and(|it| names.contains(it));
        is_in(&self.new) || is_in(&self.removed)
    }

    /// Whether a picture has a new mark.
    pub fn is_new(&self, picture: &Path) -> bool {
        picture.to_str().is_some_and(|name| self.new.contains(name))
    }

    /// Writes the new marks, and those that are left. The file is replaced atomically: after a power cut it
    /// has the earlier marks or all.
    ///
    /// # Errors
    /// When the file cannot be written, or a mark is to be removed from a file that was edited by hand.
    pub fn write(self) -> Result<(), DatasetError> {
        if self.new.is_empty() && self.removed.is_empty() {
            return Ok(());
        }
        let (folder, name) = place(&self.folder);
        let path = folder.join(&name);
        let failed = |reason| DatasetError::File {
            path: path.clone(),
            reason,
        };
        let mut text = match self.marked.is_empty() {
            true => TITLES.to_owned(),
            // Read before, so it is a regular file of bounded rows.
            false => fs::read_to_string(&path).map_err(failed)?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if !self.removed.is_empty() {
            text = self
                .without_removed(&text)
                .ok_or(DatasetError::MarksByHand { path: path.clone() })?;
        }
        text += &self.rows;
        replace(&folder, &name, &text).map_err(failed)
    }

    /// The rows without those that are removed; `None` if they are not as [`Marks::add`] writes them.
    fn without_removed(&self, text: &str) -> Option<String> {
        let starts: Vec<String> = self.removed.iter().map(|it| quoted(it) + ",").collect();
        let mut found = vec![false; starts.len()];
        let mut left = TITLES.to_owned();
        for row in text.strip_prefix(TITLES)?.split_inclusive('\n') {
            match starts.iter().position(|start| row.starts_with(start)) {
                Some(place) => found[place] = true,
                None => left += row,
            }
        }
        found.iter().all(|&it| it).then_some(left)
    }
}

/// Whether a row with this name is read as it was written.
fn can_be_listed(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(char::is_control)
}

fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let part = folder.join(format!(".{name}.part"));
    // Left by a program that was killed, or a link, which must not be followed.
    let _ = fs::remove_file(&part);
    let mut file = File::create_new(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// A field, in quotes if it needs them.
pub(crate) fn quoted(field: &str) -> String {
    match field.contains([',', ';', '"', '\t']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
