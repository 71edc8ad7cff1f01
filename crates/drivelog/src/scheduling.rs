//! Detects, from another thread of the pilot, when the system does not run it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use pilotage_vehicle::monotonic;
use rustix::time::{ClockId, clock_gettime};

use crate::entry::{Pause, PauseKind, ms};

/// A wake-up that is later than this, although a processor was free, is a pause of the process.
const LATE: Duration = Duration::from_millis(50);
/// A longer wait of the loop for a processor, between two samples, is a pause.
const WAITED: Duration = Duration::from_millis(10);

/// Finds pauses of a pilot, while the calling thread sleeps. Each sample costs three reads of files
/// in /proc.
#[derive(Debug)]
pub(crate) struct Scheduling {
    pilot: Statistics,
    own: Statistics,
    /// Time and waiting time of the pilot's thread at the last sample, nanoseconds.
    last: Option<(u64, u64)>,
}

impl Scheduling {
    /// Observes the thread `id` of this process.
    pub(crate) fn of_thread(id: i32) -> Self {
        Self {
            pilot: Statistics::open(&format!("/proc/self/task/{id}/schedstat")),
            own: Statistics::open("/proc/thread-self/schedstat"),
            last: None,
        }
    }

    /// Runs `work`, which computes and waits for nothing. Returns the pause of the process within it,
    /// if there was one.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Option<Pause>) {
        let (ran_before, waited_before) = (processor_time(), self.own.waited());
        let before = monotonic().as_nanos();
        let result = work();
        let now = monotonic().as_nanos();
        let ran = processor_time().saturating_sub(ran_before);
        let waited = self.own.waited().saturating_sub(waited_before);
        let late = now.saturating_sub(before).saturating_sub(ran + waited);
        let pause = (late > nanos(LATE)).then(|| Pause {
            start_ms: ms(before),
            end_ms: ms(now),
            waited_ms: ms(late),
            kind: PauseKind::Process,
        });
        (result, pause)
    }

    /// Sleeps for `interval`. Returns the pause since the last call, if there was one.
    pub(crate) fn sleep(&mut self, interval: Duration) -> Option<Pause> {
        let own_before = self.own.waited();
        let before = monotonic().as_nanos();
        std::thread::sleep(interval);
        let now = monotonic().as_nanos();
        let own_waited = self.own.waited().saturating_sub(own_before);
        let slept = now.saturating_sub(before).saturating_sub(nanos(interval));
        let late = slept.saturating_sub(own_waited);
        let waited = self.pilot.waited();
        let last = self.last.replace((now, waited));
        let (since, waited_before) = last.unwrap_or((before, waited));
        let waited = waited.saturating_sub(waited_before);
        let (start, kind, paused) = if late > nanos(LATE) {
            (before, PauseKind::Process, late)
        } else if waited > nanos(WAITED) {
            (since, PauseKind::Queue, waited)
        } else {
            return None;
        };
        Some(Pause {
            start_ms: ms(start),
            end_ms: ms(now),
            waited_ms: ms(paused),
            kind,
        })
    }
}

/// Nanoseconds that the calling thread has been on a processor.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A thread's `schedstat`: nanoseconds on a processor, and nanoseconds ready and waiting for one
/// (Documentation/scheduler/sched-stats.rst). Absent where the kernel does not have it.
#[derive(Debug)]
struct Statistics(Option<File>);

impl Statistics {
    fn open(path: &str) -> Self {
        Self(File::open(path).ok())
    }

    /// Nanoseconds of waiting for a processor so far; 0 if they are not known.
    fn waited(&self) -> u64 {
        let read = || {
            let mut text = [0; 96];
            let length = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
            let text = str::from_utf8(text.get(..length)?).ok()?;
            text.split_whitespace().nth(1)?.parse().ok()
        };
        read().unwrap_or(0)
    }
}
