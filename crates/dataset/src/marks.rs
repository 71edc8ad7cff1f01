//! Marks beside a recording: records that are left out although nothing of them is deleted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{DatasetError, RowProblem};
use crate::notes::Note;
use crate::recording::Found;
use crate::table::{Table, row_error};

/// The file with the marks: a list with the columns `image_name` and `reason`. To use a record
/// again, its row is deleted; to use all, the file is.
pub const LEFT_OUT: &str = "left_out.csv";

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
        let path = folder.join(LEFT_OUT);
        found.notes.push(Note::Deleted { path, count });
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Option<HashSet<String>>, DatasetError> {
    let path = folder.join(LEFT_OUT);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let mut marked = HashSet::new();
    let Some(mut table) = Table::open(folder, LEFT_OUT)? else {
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

/// Marks the pictures, each with a reason, in addition to earlier marks. The file is replaced
/// atomically: after a power cut it has the old marks or all. Pictures whose names a list cannot
/// have (control characters, spaces around the name) are not marked. Returns how many marks are
/// new.
///
/// # Errors
/// When the present marks cannot be read, or the file cannot be written.
pub fn mark(folder: &Path, pictures: &[(PathBuf, String)]) -> Result<usize, DatasetError> {
    let path = folder.join(LEFT_OUT);
    let failed = |source| DatasetError::File {
        path: path.clone(),
        source,
    };
    let mut known = read(folder)?.unwrap_or_default();
    let mut text = match known.is_empty() {
        true => "image_name,reason\n".to_owned(),
        // Read above, so it is a regular file of bounded rows.
        false => fs::read_to_string(&path).map_err(failed)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut new = 0;
    for (picture, reason) in pictures {
        let Some(name) = picture.to_str().filter(|name| can_be_listed(name)) else {
            continue;
        };
        if known.insert(name.to_owned()) {
            // A line end would begin another row.
            let reason = reason.replace(char::is_control, " ");
            text += &format!("{},{}\n", quoted(name), quoted(&reason));
            new += 1;
        }
    }
    if new > 0 {
        replace(folder, &path, &text).map_err(failed)?;
    }
    Ok(new)
}

/// Whether a row with this name is read as it was written.
fn can_be_listed(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(char::is_control)
}

fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let part = folder.join(format!(".{LEFT_OUT}.part"));
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(folder)?.sync_all()
}

/// A field, in quotes if it needs them.
pub(crate) fn quoted(field: &str) -> String {
    match field.contains([',', ';', '"', '\t']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
