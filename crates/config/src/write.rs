use std::fs::{self, File, Metadata};
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

/// Most files of interrupted writes that [`create_part`] passes over.
const MOST_PARTS: u32 = 1000;

/// Creates a new file beside `path`, for content that is to replace it by a rename. Its name is that
/// of `path` with the process, a number, and `.part` behind it.
///
/// The number tells it from the file of another process: containers that share a folder may have the
/// same process ids. A file or a link that exists is passed over and never written to.
///
/// # Errors
/// When no file can be created in the folder, or a thousand such files exist.
pub fn create_part(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut attempt = 0;
    loop {
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.{attempt}.part", std::process::id()));
        let part = PathBuf::from(part);
        match File::create_new(&part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < MOST_PARTS => {
                attempt += 1;
            }
            created => return created.map(|file| (file, part)),
        }
    }
}

/// Writes a file atomically, whether it exists or not: after a power cut it has the old content or
/// the new one. A file that is replaced loses its permissions; use [`replace`] to keep them.
///
/// # Errors
/// When no file can be created in its folder, or `path` is a folder. No temporary file is left then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let failed = |reason| WriteError {
        path: path.to_path_buf(),
        reason,
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let (mut file, part) = create_part(path).map_err(failed)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| rename(&part, path, folder));
    written.map_err(|reason| {
        let _ = fs::remove_file(&part);
        failed(reason)
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
    let Some(folder) = file.parent() else {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    };
    let old = fs::metadata(&file).map_err(failed)?;
    if !old.is_file() {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(failed(reason));
    }
    let (new, part) = create_part(&file).map_err(failed)?;
    let written = write(new, &old, text).and_then(|()| rename(&part, &file, folder));
    written.map_err(|reason| {
        let _ = fs::remove_file(&part);
        failed(reason)
    })
}

/// Writes `text` to `new`, with the permissions and the owner of `old`.
fn write(mut new: File, old: &Metadata, text: &str) -> io::Result<()> {
    let own = new.metadata()?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        fchown(&new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(old.permissions())?;
    new.write_all(text.as_bytes())?;
    new.sync_all()
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

    /// As a process with the same id in another container may leave files, and others links.
    #[test]
    fn files_and_links_with_the_name_of_the_temporary_file_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("car.toml"), "old").unwrap();
        fs::write(at("other"), "other").unwrap();
        let (file, first) = create_part(&at("car.toml")).unwrap();
        drop(file);
        let (file, second) = create_part(&at("car.toml")).unwrap();
        drop(file);
        assert_ne!(first, second);
        fs::remove_file(&second).unwrap();
        symlink("other", &second).unwrap();
        fs::write(&first, "of another process").unwrap();
        write_atomically(&at("car.toml"), b"new").unwrap();
        assert_eq!(fs::read(at("car.toml")).unwrap(), b"new");
        replace(&at("car.toml"), "newer").unwrap();
        assert_eq!(fs::read(at("car.toml")).unwrap(), b"newer");
        assert_eq!(fs::read(at("other")).unwrap(), b"other");
        assert_eq!(fs::read(&first).unwrap(), b"of another process");
        assert!(fs::symlink_metadata(&second).unwrap().is_symlink());
        assert_eq!(names(folder.path()).len(), 4);
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
