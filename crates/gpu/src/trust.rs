//! Whether an engine file may be passed to NVIDIA's parser.

use std::path::{Path, PathBuf};

use tensorrt_rs::{Owner, Untrusted, trusted};

/// Checks that only root could have written the engine file `path`, if this process runs as root.
/// A plan that is built from it becomes code that the pilot runs, and [`crate::prepare`] passes its
/// content to NVIDIA's parser with root's rights.
///
/// # Errors
/// When the file, or a folder or symlink on the way, belongs to another user or is writable by
/// others.
pub fn check_engine_file(path: &Path) -> Result<(), UntrustedEngine> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match trusted(path, Owner::Root) {
        Ok(_) => Ok(()),
        Err(reason) => Err(UntrustedEngine {
            reason,
            file: path.to_owned(),
        }),
    }
}

/// A user other than root could have written the engine file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}: root builds a plan only from a file that no other user can write; for this file run \
     `sudo chown root:root {0}; sudo chmod go-w {0}`, or, if a folder above it is another user's, \
     copy it to one of root's first (`sudo install -m 644 {0} /etc/pilotage/`)", .file.display()
)]
pub struct UntrustedEngine {
    /// Which file, folder or symlink is not trusted, and why.
    pub reason: Untrusted,
    /// The engine file.
    pub file: PathBuf,
}
