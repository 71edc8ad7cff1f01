//! Locks that allow one writer to a device.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

/// How long to wait for another writer, and whether to use the device without the lock.
#[derive(Debug, Clone, Copy)]
pub struct LockPolicy {
    timeout: Duration,
    proceed_without_lock: bool,
}

impl From<Duration> for LockPolicy {
    /// For a guard: exclusive use of the device, or an error. A device that all users may read is
    /// not locked (see `lock`).
    fn from(timeout: Duration) -> Self {
        Self {
            timeout,
            proceed_without_lock: false,
        }
    }
}

impl LockPolicy {
    /// For writing failsafe: after `timeout` the device is used without the lock.
    pub const fn proceed_without_lock(timeout: Duration) -> Self {
        Self {
            timeout,
            proceed_without_lock: true,
        }
    }

    /// The same, without waiting.
    pub(crate) const fn without_waiting(self) -> Self {
        Self {
            timeout: Duration::ZERO,
            ..self
        }
    }

    /// Whether the device is used even if another process holds the lock.
    pub(crate) const fn proceeds_without_lock(self) -> bool {
        self.proceed_without_lock
    }

    /// Repeats `attempt` while its result is "busy", until the timeout.
    pub(crate) fn wait<T>(self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let began = Instant::now();
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy
                    if began.elapsed() < self.timeout =>
                {
                    std::thread::sleep(Duration::from_micros(200));
                }
                _ => return Err(error),
            }
        }
    }
}

/// Locks `device`, which was opened from `path`, until it is closed. The kernel releases the lock
/// when the process ends in any way.
///
/// A device that all users may read, such as a pin in /sys, is not locked: flock(2) needs only read
/// permission, so any user could block the guard and failsafe.
///
/// # Errors
/// `WouldBlock` when another process still holds the lock, unless the policy proceeds without it.
pub(crate) fn lock(device: &File, path: &Path, policy: LockPolicy) -> io::Result<()> {
    const READ_BY_ALL: u32 = 0o004;
    if rustix::fs::fstat(device)?.st_mode & READ_BY_ALL != 0 {
        return Ok(());
    }
    let locked = policy.wait(|| {
        let how = FlockOperation::NonBlockingLockExclusive;
        Ok(rustix::fs::flock(device, how)?)
    });
    match locked {
        Err(error) if policy.proceeds_without_lock() => {
            let path = path.display();
            log::warn!("{path}: written to without its lock ({error}), as failsafe does not wait");
            Ok(())
        }
        locked => locked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    const AT_ONCE: Duration = Duration::ZERO;

    /// A file with these permissions, opened twice.
    fn node(mode: u32) -> (tempfile::TempDir, PathBuf, [File; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i2c-1");
        let first = File::create(&path).unwrap();
        first.set_permissions(Permissions::from_mode(mode)).unwrap();
        let second = File::open(&path).unwrap();
        (folder, path, [first, second])
    }

    #[test]
    fn the_second_waits_until_the_first_releases_the_lock() {
        let (_folder, path, [first, second]) = node(0o660);
        lock(&first, &path, AT_ONCE.into()).unwrap();
        let refused = lock(&second, &path, Duration::from_millis(5).into()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let patient =
            std::thread::spawn(move || lock(&second, &path, Duration::from_secs(10).into()));
        drop(first);
        patient.join().unwrap().unwrap();
    }

    #[test]
    fn without_waiting_a_busy_lock_is_an_error() {
        let (_folder, path, [first, second]) = node(0o660);
        lock(&first, &path, AT_ONCE.into()).unwrap();
        let began = Instant::now();
        let patient = LockPolicy::from(Duration::from_secs(10));
        lock(&second, &path, patient.without_waiting()).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(
            LockPolicy::proceed_without_lock(AT_ONCE)
                .without_waiting()
                .proceeds_without_lock()
        );
        assert!(!patient.without_waiting().proceeds_without_lock());
    }

    #[test]
    fn an_attempt_that_a_signal_interrupted_is_made_again() {
        let mut attempts = [io::ErrorKind::Interrupted, io::ErrorKind::NotFound].into_iter();
        let policy = LockPolicy::from(AT_ONCE);
        let result: io::Result<()> = policy.wait(|| Err(attempts.next().unwrap().into()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn failsafe_waits_and_then_continues_without_the_lock() {
        let (_folder, path, [first, second]) = node(0o660);
        lock(&first, &path, AT_ONCE.into()).unwrap();
        let began = Instant::now();
        let timeout = Duration::from_millis(20);
        lock(&second, &path, LockPolicy::proceed_without_lock(timeout)).unwrap();
        assert!(began.elapsed() >= timeout);
        // `second` does not hold the lock: `first` still does.
        let third = File::open(&path).unwrap();
        drop(second);
        lock(&third, &path, AT_ONCE.into()).unwrap_err();
        drop(first);
        lock(&third, &path, AT_ONCE.into()).unwrap();
    }

    #[test]
    fn a_device_that_all_users_may_read_is_not_locked() {
        let (_folder, path, [first, second]) = node(0o644);
        // A lock that any user could hold.
        rustix::fs::flock(&second, FlockOperation::LockExclusive).unwrap();
        lock(&first, &path, AT_ONCE.into()).unwrap();
    }
}
