//! Folders of pictures without a list.

use std::fs;
use std::path::Path;

use crate::error::DatasetError;
use crate::order::natural;
use crate::record::{Found, Record};

/// Whether a file of this name is a picture of the recording. Hidden files are not: among them the
/// `._` files that macOS leaves on foreign disks.
pub(crate) fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let extension = extension.unwrap_or("").to_ascii_lowercase();
    !name.starts_with('.') && ["png", "jpg", "jpeg"].contains(&extension.as_str())
}

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
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
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
    match inner.first() {
        Some(inner) if found.records.is_empty() => Err(DatasetError::Empty {
            folder: folder.to_owned(),
            hint: format!(
                "name a folder in it, such as {}",
                folder.join(inner).display()
            ),
        }),
        _ => Ok(found),
    }
}
