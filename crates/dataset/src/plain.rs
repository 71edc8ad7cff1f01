//! Folders of pictures without a list.

use std::fs;
use std::path::Path;

use crate::error::DatasetError;
use crate::format::{is_list, is_picture};
use crate::order::natural;
use crate::record::{Found, Record};

/// The folders within a folder without pictures, and the files of each, that are looked at for a
/// recording to name.
const LOOKED_AT: usize = 200;

pub(crate) fn read(folder: &Path) -> Result<Found, DatasetError> {
    let failed = |reason| DatasetError::File {
        path: folder.to_owned(),
        reason,
    };
    let mut names = Vec::new();
    let mut inner = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A name that is not UTF-8 has no extension that would be known.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_picture(&name) {
            names.push(name);
        } else if !name.starts_with('.') && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            inner.push(name);
        }
    }
    names.sort_by(|one, other| natural(one, other));
    inner.sort_by(|one, other| natural(one, other));
    let mut found = Found::default();
    for name in names {
        let picture = name.into();
        let record = Record {
            picture,
            ..Record::default()
        };
        found.push(folder, record)?;
    }
    if !found.records.is_empty() {
        return Ok(found);
    }
    let mut inner = inner.iter().take(LOOKED_AT).map(|name| folder.join(name));
    match inner.find(|inner| has_recording(inner)) {
        Some(inner) => Err(DatasetError::Empty {
            folder: folder.to_owned(),
            hint: format!("name a folder in it, such as {}", inner.display()),
        }),
        None => Ok(found),
    }
}

/// Whether a folder has a picture.
pub(crate) fn has_pictures(folder: &Path) -> Result<bool, DatasetError> {
    let failed = |reason| DatasetError::File {
        path: folder.to_owned(),
        reason,
    };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.any(|name| is_picture(&name)))
}

/// Whether there are pictures or a list among the first files of a folder.
fn has_recording(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let names = entries.take(LOOKED_AT).flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| is_picture(&name) || is_list(&name))
}
