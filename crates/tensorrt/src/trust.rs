//! Checks which users could have written a file. Shims and plans run with the program's rights, so
//! only files are loaded that no user other than root, or the current user, could have written.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;

/// The owners of trusted files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Only root.
    Root,
    /// Root, and the user that this process runs as.
    RootOrUser,
}

impl Owner {
    fn is(self, user: u32) -> bool {
        let is_current = || user == rustix::process::geteuid().as_raw();
        user == 0 || self == Self::RootOrUser && is_current()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::RootOrUser => "root or the present user",
        }
    }
}

/// Why a file is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The path, or a part of it, does not exist or cannot be read.
    #[error("{}: {reason}", .path.display())]
    Unreadable {
        /// The part of the path.
        path: PathBuf,
        /// The operating system's error.
        reason: String,
    },
    /// The path's symlinks go in circles.
    #[error("{}: its links go in circles", .path.display())]
    Circular {
        /// The path.
        path: PathBuf,
    },
    /// A file, folder or symlink on the way belongs to another user.
    #[error("{} does not belong to {}", .path.display(), .owner.name())]
    OtherOwner {
        /// The part of the path.
        path: PathBuf,
        /// The owners that are trusted.
        owner: Owner,
    },
    /// A file or folder on the way can be written by other users.
    #[error("{} can be written by others", .path.display())]
    Writable {
        /// The part of the path.
        path: PathBuf,
    },
}

impl Untrusted {
    fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    fn other_owner(path: &Path, owner: Owner) -> Self {
        Self::OtherOwner {
            path: path.to_owned(),
            owner,
        }
    }

    fn writable(path: &Path) -> Self {
        Self::Writable {
            path: path.to_owned(),
        }
    }
}

/// The most symlinks that are followed in one path, as in the kernel.
const MAX_LINKS: u32 = 40;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Resolves the symlinks of `path`, and checks that only `owner` could have written the file: the
/// file and every folder and symlink on the way must belong to `owner`, and no other user may be
/// able to write them. Opening the returned path then opens the file that was checked, because no
/// other user can change what it refers to.
///
/// A folder above the file's own may be sticky and writable by others, as /tmp: other users cannot
/// rename or delete entries there that are not theirs.
///
/// # Errors
/// When the file does not exist, or another user could have written it.
pub fn trusted(path: &Path, owner: Owner) -> Result<PathBuf, Untrusted> {
    let path = std::path::absolute(path).map_err(|error| Untrusted::unreadable(path, &error))?;
    let mut rest = components(&path);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    belongs(&real, &look(&real)?, owner)?;
    while let Some(step) = rest.pop_front() {
        if step == ".." {
            real.pop();
            continue;
        }
        let place = real.join(&step);
        let about = look(&place)?;
        if !about.is_symlink() {
            belongs(&place, &about, owner)?;
            real = place;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Untrusted::Circular { path });
        }
        if !owner.is(about.uid()) {
            return Err(Untrusted::other_owner(&place, owner));
        }
        let target =
            fs::read_link(&place).map_err(|error| Untrusted::unreadable(&place, &error))?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        for step in components(&target).into_iter().rev() {
            rest.push_front(step);
        }
    }
    // The file's own folder must not be like /tmp: other users could create files beside it, or in
    // its place after it was deleted.
    let folder = real.parent().unwrap_or(&real);
    match look(folder)?.mode() & WRITABLE_BY_OTHERS {
        0 => Ok(real),
        _ => Err(Untrusted::writable(folder)),
    }
}

/// The content of a plan or a timing cache, which TensorRT runs or uses without checking all of it:
/// bytes that TensorRT has just made, or of a file that no other user could have written.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedBytes(Vec<u8>);

/// Why a file's bytes are not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustedReadError {
    /// Another user could have written the file.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The file does not exist, cannot be read, or is too long.
    #[error(transparent)]
    Read(#[from] io::Error),
}

impl TrustedBytes {
    /// Reads a file of at most `limit` bytes that only `owner` could have written.
    ///
    /// # Errors
    /// When another user could have written the file, or it cannot be read.
    pub fn read(path: &Path, owner: Owner, limit: u64) -> Result<Self, TrustedReadError> {
        // A dangling symlink counts as missing; a symlink with a target is checked.
        if !path.exists() {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let mut content = Vec::new();
        let file = fs::File::open(trusted(path, owner)?)?;
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!(
                "it is larger than {limit} bytes, as no such file is"
            ))
            .into());
        }
        Ok(Self(content))
    }

    /// Bytes that TensorRT has returned.
    pub(crate) fn made_by_tensorrt(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A part of the bytes; `None` if they do not reach so far.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        self.0.get(range).map(|part| Self(part.to_vec()))
    }
}

impl std::ops::Deref for TrustedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for TrustedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustedBytes({} bytes)", self.0.len())
    }
}

/// Stores a file that [`trusted`] accepts for root and the present user, if the folders above its
/// own are: atomically, readable by all and writable by this user only. Its folder is created if it
/// is missing.
///
/// # Errors
/// When the folder cannot be created or written, or the disk is full. The old file stays then.
pub fn store(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    write_whole(path, content)
}

/// Creates a folder and its missing parents, with a mode of at most 0755: a permissive umask does
/// not make them writable by other users.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
}

/// Writes a file atomically: after a power failure either the old or the new file exists. It
/// writes and syncs a temporary file in the same folder, renames it, and syncs the folder.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = NamedTempFile::new_in(folder)?;
    temporary.write_all(content)?;
    temporary
        .as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

/// The components of a path, without the root and `.`.
fn components(path: &Path) -> VecDeque<OsString> {
    let names = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir));
    names.map(|name| name.as_os_str().to_owned()).collect()
}

fn look(place: &Path) -> Result<Metadata, Untrusted> {
    fs::symlink_metadata(place).map_err(|error| Untrusted::unreadable(place, &error))
}

fn belongs(place: &Path, about: &Metadata, owner: Owner) -> Result<(), Untrusted> {
    if !owner.is(about.uid()) {
        return Err(Untrusted::other_owner(place, owner));
    }
    let shared = about.is_dir() && about.mode() & STICKY != 0;
    match about.mode() & WRITABLE_BY_OTHERS {
        0 => Ok(()),
        _ if shared => Ok(()),
        _ => Err(Untrusted::writable(place)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn mode(place: &Path, mode: u32) {
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A folder of the current user with the folders `good` and `bad`, each with a file. Others may
    /// write `bad`.
    fn folders() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, permissions) in [("good", 0o755), ("bad", 0o777)] {
            let place = folder.path().join(name);
            fs::create_dir(&place).unwrap();
            fs::write(place.join("file"), name).unwrap();
            mode(&place.join("file"), 0o644);
            mode(&place, permissions);
        }
        folder
    }

    #[test]
    fn files_that_others_could_have_written_are_rejected() {
        let folder = folders();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        let check = |name: &str| {
            trusted(&at(name), Owner::RootOrUser).map_err(|untrusted| untrusted.to_string())
        };
        assert_eq!(check("good/file"), Ok(at("good/file")));
        let bad = format!("{} can be written by others", at("bad").display());
        assert_eq!(check("bad/file"), Err(bad.clone()));
        assert!(
            check("good/gone")
                .unwrap_err()
                .contains("gone: No such file")
        );

        // A symlink is rejected if any folder on its way is not trusted.
        symlink(at("bad/file"), at("good/to_bad")).unwrap();
        assert_eq!(check("good/to_bad"), Err(bad.clone()));
        symlink(at("good/file"), at("bad/to_good")).unwrap();
        assert_eq!(check("bad/to_good"), Err(bad.clone()));
        symlink("../bad/to_good", at("good/by_way_of_bad")).unwrap();
        assert_eq!(check("good/by_way_of_bad"), Err(bad));
        symlink("turning", at("good/turning")).unwrap();
        assert!(check("good/turning").unwrap_err().contains("in circles"));

        // Others can create files in a sticky folder like /tmp, so it is rejected.
        mode(&at("bad"), 0o1777);
        assert!(check("bad/file").unwrap_err().contains("written by others"));
        mode(&at("good/file"), 0o664);
        let reason = check("good/file").unwrap_err();
        assert!(
            reason.ends_with("good/file can be written by others"),
            "{reason}"
        );
    }

    #[test]
    fn only_a_file_of_bounded_length_that_no_other_user_could_write_is_read() {
        let folder = folders();
        let read = |name: &str, limit: u64| {
            TrustedBytes::read(&folder.path().join(name), Owner::RootOrUser, limit)
        };
        assert_eq!(&*read("good/file", 4).unwrap(), b"good");
        let error = read("good/file", 3).unwrap_err().to_string();
        assert!(error.contains("larger than 3 bytes"), "{error}");
        assert!(matches!(
            read("bad/file", 4),
            Err(TrustedReadError::Untrusted(Untrusted::Writable { .. }))
        ));
        match read("good/gone", 4) {
            Err(TrustedReadError::Read(error)) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
        let whole = read("good/file", 4).unwrap();
        assert_eq!(&*whole.part(1..3).unwrap(), b"oo");
        assert_eq!(whole.part(1..5), None);

        // What is stored can be read back, in a folder that is created for it.
        let new = folder.path().join("good/new/plan");
        store(&new, b"a plan").unwrap();
        let stored = TrustedBytes::read(&new, Owner::RootOrUser, 100).unwrap();
        assert_eq!(&*stored, b"a plan");
    }

    #[test]
    fn the_resolved_path_does_not_follow_a_later_change_of_a_symlink() {
        let folder = folders();
        let link = folder.path().join("good/link");
        symlink("file", &link).unwrap();
        let real = trusted(&link, Owner::RootOrUser).unwrap();
        fs::remove_file(&link).unwrap();
        symlink("../bad/file", &link).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"good");
        trusted(&link, Owner::RootOrUser).unwrap_err();
    }

    #[test]
    fn root_and_the_current_user_are_distinguished() {
        assert!(trusted(Path::new("/bin/sh"), Owner::Root).is_ok());
        let folder = folders();
        let file = folder.path().join("good/file");
        let as_root = trusted(&file, Owner::Root);
        match rustix::process::geteuid().as_raw() {
            0 => {
                // A file that belongs to another user.
                std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
                for owner in [Owner::Root, Owner::RootOrUser] {
                    let reason = trusted(&file, owner).unwrap_err().to_string();
                    assert!(reason.contains("does not belong to root"), "{reason}");
                }
            }
            _ => {
                let reason = as_root.unwrap_err().to_string();
                assert!(reason.contains("does not belong to root"), "{reason}");
            }
        }
    }
}
