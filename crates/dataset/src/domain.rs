//! Whether a simulated or a physical car was recorded: `recording.json` beside a data.csv.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use pilotage_vehicle::Domain;
use serde_json::{Value, json};

use crate::error::DatasetError;
use crate::file;

/// The file of a data.csv folder with the key `domain`: `simulated` or `physical`.
pub const RECORDING: &str = "recording.json";
/// The key, here and in the metadata of a tub.
pub(crate) const KEY: &str = "domain";
/// The maximum file size, bytes.
const MAX_BYTES: u64 = 1 << 16;

/// The domain that an object names, or what is wrong with it.
pub(crate) fn of_object(value: &Value) -> Result<Option<Domain>, String> {
    let Some(object) = value.as_object() else {
        return Err("is not a JSON object".to_owned());
    };
    match object.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(found) => match found.as_str().and_then(|name| name.parse().ok()) {
            Some(domain) => Ok(Some(domain)),
            None => {
                let found: String = found.to_string().chars().take(40).collect();
                Err(format!("the domain is {found}"))
            }
        },
    }
}

/// The domain in a folder's `recording.json`; `None` where it is not known.
///
/// # Errors
/// When the file cannot be read, is larger than 64 KiB, or names an unknown domain.
pub fn read_domain(folder: &Path) -> Result<Option<Domain>, DatasetError> {
    let path = folder.join(RECORDING);
    let failed = |reason| DatasetError::File {
        path: path.clone(),
        reason,
    };
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let opened = file::open(folder, Path::new(RECORDING)).map_err(|refused| refused.at(&path))?;
    let mut bytes = Vec::new();
    let read = opened.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(failed)?;
    let wrong = |problem: String| DatasetError::Domain {
        path: path.clone(),
        problem,
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("is larger than {MAX_BYTES} bytes")));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("is not a JSON object ({error})")))?;
    of_object(&value).map_err(wrong)
}

/// Writes a folder's `recording.json`, atomically.
///
/// # Errors
/// When the file cannot be written.
pub fn write_domain(folder: &Path, domain: Domain) -> Result<(), DatasetError> {
    let path = folder.join(RECORDING);
    let part = folder.join(format!(".{RECORDING}.part"));
    let write = || {
        // Left by a program that was killed, or a link, which must not be followed.
        let _ = fs::remove_file(&part);
        let mut file = File::create_new(&part)?;
        writeln!(file, "{}", json!({KEY: domain.name()}))?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    write().map_err(|reason| DatasetError::File {
        path: path.clone(),
        reason,
    })
}
