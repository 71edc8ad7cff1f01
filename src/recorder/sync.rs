//! Waits for the disk, in a thread of its own: what is recorded survives a power cut but for the
//! last seconds.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::syncfs;

/// The time between two requests.
const EACH: Duration = Duration::from_secs(1);

/// Writes a file system's changes to its disk in batches: one commit of the file system for the
/// pictures, their names and their rows, instead of three for each frame.
#[derive(Debug)]
pub(super) struct Synced {
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    last: Instant,
}

impl Synced {
    /// Starts the thread. A failure is reported to `say`, once.
    pub(super) fn start(file_system: File, say: fn(&str)) -> io::Result<Self> {
        let (requests, receiver) = sync_channel(1);
        let work = move || sync(&file_system, &receiver, say);
        let thread = std::thread::Builder::new().name("disk".to_owned());
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread.spawn(work)?),
            last: Instant::now(),
        })
    }

    /// Requests a batch if the last request was some time ago. Never waits: while the disk is busy,
    /// the next batch has more.
    pub(super) fn written(&mut self) {
        if self.last.elapsed() >= EACH
            && let Some(requests) = &self.requests
        {
            self.last = Instant::now();
            let _ = requests.try_send(());
        }
    }
}

impl Drop for Synced {
    /// Waits for the last batch.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sync(file_system: &File, requests: &Receiver<()>, say: fn(&str)) {
    let mut failed = false;
    let mut batch = || {
        if let Err(error) = syncfs(file_system)
            && !std::mem::replace(&mut failed, true)
        {
            say(&format!(
                "the disk does not confirm what is recorded: {error}; a power cut may lose it"
            ));
        }
    };
    for () in requests {
        batch();
    }
    batch();
}
