use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

/// Why a file was not written. The file is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be written, and is as it was: {reason}")]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// The error of the operating system.
    pub reason: io::Error,
}

/// Writes a file atomically, whether it exists or not: after a power cut it has the old content or
/// the new one. A file that is replaced loses its permissions; use [`replace`] to keep them.
///
/// # Errors
/// When no file can be created in its folder, or `path` is a folder. No temporary file is left then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let mut part = path.as_os_str().to_owned();
    // Processes that write into the same folder must not share this file.
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        rename(&part, path, folder)
    });
    written.map_err(|reason| {
        let _ = fs::remove_file(&part);
        WriteError {
            path: path.to_path_buf(),
            reason,
        }
    })
}

/// Renames a file in `folder`, durably.
fn rename(from: &Path, to: &Path, folder: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // The rename is durable only after the folder is synced.
    File::open(folder)?.sync_all()
}

/// Replaces the text of an existing file atomically: after a power cut the file has the old text or
/// the new one. The file keeps its permissions and its owner. If `path` is a symbolic link, its
/// target is replaced and the link is kept.
///
/// # Errors
/// When the file does not exist, or no file can be created in its folder. No temporary file is left
/// then.
pub fn replace(path: &Path, text: &str) -> Result<(), WriteError> {
    let failed = |reason| WriteError {
        path: path.to_path_buf(),
        reason,
    };
    let file = path.canonicalize().map_err(failed)?;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    };
    let mut new = name.to_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = folder.join(new);
    let written = write(&file, &new, text).and_then(|()| rename(&new, &file, folder));
    written.map_err(|reason| {
        let _ = fs::remove_file(&new);
        failed(reason)
    })
}

/// Writes `text` to `new`, with the permissions and the owner of `old`.
fn write(old: &Path, new: &Path, text: &str) -> io::Result<()> {
    let metadata = fs::metadata(old)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    // An earlier process with the same id may have left a file.
    let _ = fs::remove_file(new);
    let mut file = OpenOptions::new().write(true).create_new(true).open(new)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
        fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    file.set_permissions(metadata.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_through_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("car.toml"), folder.path().join("link"));
        fs::write(&file, "old, and longer").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("car.toml", &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["car.toml", "link"]);
    }

    #[test]
    fn a_file_is_written_whether_it_exists_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.onnx");
        for content in [&b"old, and longer"[..], b"new"] {
            write_atomically(&file, content).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content);
            assert_eq!(names(folder.path()), ["net.onnx"]);
        }
        let error = write_atomically(folder.path(), b"new").unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error}");
        assert_eq!(names(folder.path()), ["net.onnx"]);
        let missing = folder.path().join("missing/net.onnx");
        write_atomically(&missing, b"new").unwrap_err();
    }

    #[test]
    fn a_failed_write_leaves_the_file_unchanged_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("car.toml");
        let error = replace(&missing, "new").unwrap_err().to_string();
        assert!(error.contains("car.toml: cannot be written"), "{error}");
        let inner = folder.path().join("folder");
        fs::create_dir(&inner).unwrap();
        let error = replace(&inner, "new").unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        assert_eq!(names(folder.path()), ["folder"]);
    }
}
