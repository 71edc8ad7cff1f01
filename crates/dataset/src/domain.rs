//! Whether a simulated or a physical car was recorded: `recording.json` beside a data.csv.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use pilotage_vehicle::Domain;
use serde_json::{Value, json};

use crate::error::DatasetError;
use crate::file;

/// The file of a data.csv folder with the key `domain`: `simulated` or `physical`.
pub const RECORDING: &str = "recording.json";
/// The key, here and in the metadata of a tub.
pub(crate) const KEY: &str = "domain";
/// The longest file, bytes.
const LONGEST: u64 = 1 << 16;

/// The name of a domain in files.
pub(crate) fn name(domain: Domain) -> &'static str {
    match domain {
        Domain::Simulated => "simulated",
        Domain::Physical => "physical",
    }
}

/// The domain that an object names, or the text that it has instead.
pub(crate) fn of_object(object: &Value) -> Result<Option<Domain>, String> {
    match object.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text == name(Domain::Simulated) => Ok(Some(Domain::Simulated)),
        Some(Value::String(text)) if text == name(Domain::Physical) => Ok(Some(Domain::Physical)),
        Some(other) => Err(other.to_string().chars().take(40).collect()),
    }
}

/// The domain in a folder's `recording.json`; `None` where it is not known.
///
/// # Errors
/// When the file cannot be read, or names another domain.
pub fn read_domain(folder: &Path) -> Result<Option<Domain>, DatasetError> {
    let path = folder.join(RECORDING);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let opened = file::open(folder, Path::new(RECORDING)).map_err(|refused| refused.at(&path))?;
    let mut bytes = Vec::new();
    let read = opened.take(LONGEST).read_to_end(&mut bytes);
    read.map_err(|reason| DatasetError::File {
        path: path.clone(),
        reason,
    })?;
    let wrong = |problem: String| DatasetError::Domain {
        path: path.clone(),
        problem,
    };
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("is not a JSON object ({error})")))?;
    of_object(&value).map_err(|found| wrong(format!("the domain is {found}")))
}

/// Writes a folder's `recording.json`, atomically.
///
/// # Errors
/// When the file cannot be written.
pub fn write_domain(folder: &Path, domain: Domain) -> Result<(), DatasetError> {
    let path = folder.join(RECORDING);
    let part = folder.join(format!(".{RECORDING}.part"));
    let write = || {
        let mut file = File::create(&part)?;
        writeln!(file, "{}", json!({KEY: name(domain)}))?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    write().map_err(|reason| DatasetError::File {
        path: path.clone(),
        reason,
    })
}
