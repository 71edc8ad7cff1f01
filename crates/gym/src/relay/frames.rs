//! The latest picture, for any number of readers.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The pause after a reader that could not be served.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A picture and its number, from 1 on.
type Numbered = (u64, Arc<Vec<u8>>);

/// The latest picture.
#[derive(Debug, Clone, Default)]
pub struct Latest(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<Numbered>,
    changed: Condvar,
}

impl Latest {
    /// Replaces the picture, and wakes those who wait for it.
    pub fn put(&self, picture: Vec<u8>) {
        let mut latest = self.lock();
        *latest = (latest.0 + 1, Arc::new(picture));
        self.0.changed.notify_all();
    }

    /// Waits for a picture after that with the number `seen`.
    fn after(&self, seen: u64) -> Numbered {
        let changed = &self.0.changed;
        let latest = changed.wait_while(self.lock(), |latest| latest.0 <= seen);
        latest.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens at a socket in a file. Each reader gets whole pictures, from the next one on; one that is
/// slow misses some.
pub fn listen(path: &Path, latest: Latest) -> io::Result<()> {
    super::remove_left(path)?;
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for reader in listener.incoming() {
            let latest = latest.clone();
            // A reader that cannot be served sees its connection end, and connects again.
            let started =
                reader.and_then(|it| thread::Builder::new().spawn(move || serve(it, &latest)));
            if started.is_err() {
                thread::sleep(ACCEPT_AGAIN);
            }
        }
    });
    Ok(())
}

fn serve(mut reader: UnixStream, latest: &Latest) {
    let mut seen = latest.lock().0;
    loop {
        let picture;
        (seen, picture) = latest.after(seen);
        if reader.write_all(&picture).is_err() {
            return;
        }
    }
}

/// Copies pictures from the socket `path` to `to`, until one of them ends.
///
/// # Errors
/// The system's error; a closed `to` is none.
pub fn copy(path: &Path, to: &mut impl Write) -> io::Result<()> {
    let mut pictures = UnixStream::connect(path)?;
    match io::copy(&mut pictures, to) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
