use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a file was not replaced. It is as it was.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be written: {reason}")]
pub struct ReplaceError {
    /// The file.
    pub path: PathBuf,
    /// The system's error.
    pub reason: io::Error,
}

/// Replaces the text of the file at `path`, which keeps its permissions, whole or not at all:
/// a power cut leaves the old text or the new one. A link stays one.
///
/// # Errors
/// When the file is not there, or its folder cannot be written to.
pub fn replace(path: &Path, text: &str) -> Result<(), ReplaceError> {
    let failed = |reason| ReplaceError {
        path: path.to_owned(),
        reason,
    };
    let target = fs::canonicalize(path).map_err(failed)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = target.with_file_name(name);
    let permissions = fs::metadata(&target).map_err(failed)?.permissions();
    let mut written = File::create(&new).map_err(failed)?;
    written.write_all(text.as_bytes()).map_err(failed)?;
    written.set_permissions(permissions).map_err(failed)?;
    written.sync_all().map_err(failed)?;
    fs::rename(&new, &target).map_err(failed)?;
    // The new name is on the disk once its folder is.
    let folder = target.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_behind_its_link_and_keeps_its_permissions() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = std::env::temp_dir().join(format!("replace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("car.toml"), folder.join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert!(replace(&folder.join("none"), "x").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
