//! Where a guard keeps its record, its locks and its socket, and under which names.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::protocol::identity::fnv1a;

/// The service's runtime directory, which its unit creates.
pub(super) const SERVICE: &str = "/run/pilotage";
/// The car.toml of the installed car, which the service's guard reads.
pub const INSTALLED: &str = "/etc/pilotage/car.toml";

/// The directory for this user's records, locks and sockets, and the permissions that it is created
/// with. It is the service's directory for the service's user, else one in the user's runtime
/// directory, else one in /tmp. It does not depend on environment variables.
pub(super) fn directory() -> (PathBuf, u32) {
    let user = geteuid().as_raw();
    let session = Path::new(&format!("/run/user/{user}")).is_dir();
    directory_of(user, trusted_directory(Path::new(SERVICE)), session)
}

/// The same for `user`, with the owner of the service's directory, and whether the user has a
/// runtime directory.
pub(super) fn directory_of(user: u32, service: Option<u32>, session: bool) -> (PathBuf, u32) {
    match user {
        // Other users can see that root's guard exists, and cannot read its record.
        0 => ("/run/pilotage-0".into(), 0o755),
        _ if service == Some(user) => (SERVICE.into(), 0o750),
        _ if session => (format!("/run/user/{user}/pilotage").into(), 0o700),
        _ => (format!("/tmp/pilotage-{user}").into(), 0o700),
    }
}

/// The directory for this user's records, locks and sockets. It is created if it is missing.
///
/// # Errors
/// When it cannot be created, has another owner, or other users may write to it.
pub fn own_directory() -> io::Result<PathBuf> {
    let (path, mode) = directory();
    create_directory(path, mode, geteuid().as_raw())
}

pub(super) fn create_directory(path: PathBuf, mode: u32, user: u32) -> io::Result<PathBuf> {
    let created = fs::DirBuilder::new().mode(mode).create(&path);
    match (trusted_directory(&path), created) {
        (Some(owner), _) if owner == user => Ok(path),
        (None, Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is not a directory that only its user {user} may write to: remove it",
                path.display()
            ),
        )),
    }
}

/// The owner of `path`, if `path` is a directory that no other user may write to.
pub(super) fn trusted_directory(path: &Path) -> Option<u32> {
    let directory = fs::symlink_metadata(path).ok()?;
    (directory.is_dir() && directory.mode() & 0o022 == 0).then(|| directory.uid())
}

/// The canonical path of a file, with links resolved. For a missing file, only its folder is
/// resolved.
pub fn canonical(file: &Path) -> PathBuf {
    fs::canonicalize(file)
        .or_else(|_| {
            let folder = file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
            Ok(folder.join(file.file_name().unwrap_or_default()))
        })
        .or_else(|_: io::Error| std::path::absolute(file))
        .unwrap_or_else(|_| file.to_owned())
}

/// A file name for what belongs to `path`.
pub(crate) fn hash(path: &Path) -> String {
    format!("{:016x}", fnv1a(path.as_os_str().as_encoded_bytes()))
}

/// The default socket of a car: the service's for the installed car, else one for each car.toml in
/// this user's runtime directory.
pub fn default_socket(file: &Path) -> PathBuf {
    let file = canonical(file);
    let service = Path::new(SERVICE);
    if file == Path::new(INSTALLED) && service.is_dir() {
        return service.join("guard.sock");
    }
    directory().0.join(format!("{}.sock", hash(&file)))
}
