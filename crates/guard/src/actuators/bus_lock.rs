//! One writer to a device.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Locks `device`, an open device node, for as long as it stays open: the kernel lets the
/// lock go with its holder, however that ends. Waits up to `patience` for another to let go.
///
/// # Errors
/// `WouldBlock` when another still holds it.
pub(crate) fn lock(device: impl AsFd, patience: Duration) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match rustix::fs::flock(&device, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if began.elapsed() < patience => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn the_second_waits_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i2c-1");
        let first = File::create(&path).unwrap();
        let second = File::open(&path).unwrap();
        lock(&first, Duration::ZERO).unwrap();
        let refused = lock(&second, Duration::from_millis(5)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let patient = std::thread::spawn(move || lock(&second, Duration::from_secs(10)));
        drop(first);
        patient.join().unwrap().unwrap();
    }
}
