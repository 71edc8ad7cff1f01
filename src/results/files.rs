//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Writes a file atomically: after a power cut, or a kill, the file has the old content or the new.
///
/// # Errors
/// Fails if the system refuses it; the old content is kept.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut part = file.as_os_str().to_owned();
    // Processes that share a folder must not share this file.
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let written = (|| {
        let mut open = File::create(&part)?;
        open.write_all(bytes)?;
        open.sync_all()?;
        fs::rename(&part, file)
    })();
    written
        .inspect_err(|_| drop(fs::remove_file(&part)))
        .with_context(|| format!("{} cannot be written", file.display()))
}
