//! Lock files: among the guards of one user, one writes to a device.
//!
//! They have a directory of their own, because stop and failsafe read the directory of the records,
//! and must not take longer when there are many locks.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::daemon::places::{canonical, hash, own_directory};
use crate::drivers::device_lock;

/// Most files that are looked at when unused ones are removed, so that a guard starts at once.
const MOST_REMOVED: usize = 256;

/// Locks `device` until the returned file is closed, and waits up to `timeout` for another guard of
/// this user. Only this user may open the file.
///
/// # Errors
/// `WouldBlock` when another guard holds the lock; otherwise the system's error.
pub(crate) fn lock(device: &Path, timeout: Duration) -> io::Result<File> {
    lock_in(&directory()?, device, timeout)
}

fn directory() -> io::Result<PathBuf> {
    let path = own_directory()?.join("locks");
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(path),
    }
}

fn lock_in(directory: &Path, device: &Path, timeout: Duration) -> io::Result<File> {
    let path = directory.join(format!("{}.lock", hash(&canonical(device))));
    loop {
        let file = open(&path, true)?;
        device_lock::lock(&file, device, timeout.into())?;
        // Another guard may have removed the file before it was locked; then its next user would
        // lock another file.
        if is_at(&file, &path) {
            return Ok(file);
        }
    }
}

/// Whether `path` still is the open file. Only the holder of its lock removes it.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    File::options()
        .create(create)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32)
        .open(path)
}

/// Removes lock files that no guard holds.
pub(crate) fn prune() {
    if let Ok(directory) = directory() {
        prune_in(&directory);
    }
}

fn prune_in(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.take(MOST_REMOVED) {
        let path = entry.path();
        let Ok(file) = open(&path, false) else {
            continue;
        };
        // The file is removed while it is locked, and only if it still is this file.
        if device_lock::lock(&file, &path, Duration::ZERO.into()).is_ok() && is_at(&file, &path) {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn one_lock_for_each_device() {
        let folder = tempfile::tempdir().unwrap();
        let lock = |device: &str| lock_in(folder.path(), Path::new(device), AT_ONCE);
        let first = lock("/dev/i2c-1").unwrap();
        let taken = lock("/dev/i2c-1").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::WouldBlock);
        let other = lock("/dev/i2c-7").unwrap();
        assert_eq!(first.metadata().unwrap().mode() & 0o777, 0o600);
        drop(first);
        lock("/dev/i2c-1").unwrap();
        drop(other);
    }

    #[test]
    fn only_locks_that_are_not_held_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let lock = |device: &str| lock_in(folder.path(), Path::new(device), AT_ONCE);
        let held = lock("/dev/i2c-1").unwrap();
        drop(lock("/dev/i2c-7").unwrap());
        assert_eq!(files(folder.path()), 2);
        prune_in(folder.path());
        assert_eq!(files(folder.path()), 1);
        assert!(lock("/dev/i2c-1").is_err(), "it is still held");
        drop(held);
        prune_in(folder.path());
        assert_eq!(files(folder.path()), 0);
        lock("/dev/i2c-1").unwrap();
    }

    /// Guards that come and go while others remove unused locks: never do two hold one lock.
    #[test]
    fn a_lock_that_is_removed_meanwhile_is_taken_again() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let holders = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let device = Path::new("/dev/i2c-1");
                        let lock = lock_in(folder.path(), device, Duration::from_secs(20));
                        let lock = lock.unwrap();
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                        prune_in(folder.path());
                    }
                });
            }
        });
    }
}
