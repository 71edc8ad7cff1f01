//! The machine: its load, its jitter, and the real-time priority of the test's own threads, so that
//! the test does not measure itself.

use std::io::{Seek, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

/// The number of busy threads on a machine under load.
const SPINNERS: usize = 6;
/// Above the guard, whose priority is 40: the guard's work then does not count as jitter.
const PRIORITY: &str = "60";

/// Gives this thread, but not its children, a real-time priority with util-linux's chrt. Returns
/// false if that is not allowed.
pub fn real_time() -> bool {
    let thread = gettid().as_raw_nonzero().to_string();
    let mut chrt = Command::new("chrt");
    chrt.args(["--reset-on-fork", "--fifo", "--pid", PRIORITY, &thread]);
    chrt.stdin(Stdio::null()).stdout(Stdio::null());
    let done = chrt.stderr(Stdio::null()).status();
    done.is_ok_and(|done| done.success())
}

/// The longest delay of a sleep on any CPU since the last reset.
pub struct Jitter(Arc<AtomicU64>);

impl Jitter {
    pub fn watch() -> Self {
        let most = Arc::new(AtomicU64::new(0));
        // A hypervisor may take any of the CPUs away for a while.
        let ours = sched_getaffinity(None).unwrap();
        for processor in (0..CpuSet::MAX_CPU).filter(|&processor| ours.is_set(processor)) {
            let most = Arc::clone(&most);
            std::thread::spawn(move || {
                let mut on = CpuSet::new();
                on.set(processor);
                sched_setaffinity(None, &on).unwrap();
                real_time();
                oversleep(&most);
            });
        }
        Self(most)
    }

    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub fn most(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

fn oversleep(most: &AtomicU64) {
    let nap = Duration::from_millis(2);
    loop {
        let began = Instant::now();
        std::thread::sleep(nap);
        let over = began.elapsed().saturating_sub(nap).as_nanos() as u64;
        most.fetch_max(over, Ordering::Relaxed);
    }
}

/// Busy threads, and one that writes to the disk, until dropped.
pub struct Load(Arc<AtomicBool>);

impl Load {
    pub fn start() -> Self {
        let end = Arc::new(AtomicBool::new(false));
        for _ in 0..SPINNERS {
            let end = Arc::clone(&end);
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let ended = Arc::clone(&end);
        std::thread::spawn(move || {
            let mut file = tempfile::tempfile().unwrap();
            let block = vec![0x5A; 1 << 20];
            while !ended.load(Ordering::Relaxed) {
                file.rewind().unwrap();
                file.write_all(&block).unwrap();
                file.sync_all().unwrap();
            }
        });
        Self(end)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
