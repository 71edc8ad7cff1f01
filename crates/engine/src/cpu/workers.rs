//! Threads that share one piece of work at a time.
//!
//! The work is a list of parts. Whoever is free takes the next one, the caller
//! too, so that a thread the system has not scheduled costs nothing: the caller
//! does its parts and waits only for parts that were begun.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};

/// Rounds a worker looks for work before it sleeps; some tens of microseconds.
const SPINS: u32 = 4_000;
/// Rounds the caller looks before it lets other threads run.
const CALLER_SPINS: u32 = 2_000;

/// A part of the list of units, run by one thread.
type Part<'a> = &'a (dyn Fn(Range<usize>) + Sync);

/// What is being done. Written by the caller while no part is out.
struct Job {
    /// Its lifetime is erased; see [`Workers::run`].
    part: Part<'static>,
    units: usize,
}

struct Shared {
    /// Which job (32 bits), its number of parts (16), the next to take (16).
    ticket: AtomicU64,
    job: UnsafeCell<Job>,
    done: AtomicUsize,
    /// Set for good once a part did not come to its end.
    panicked: AtomicBool,
    stop: AtomicBool,
    asleep: Vec<AtomicBool>,
}

// SAFETY: `job` is written only by the caller, when every part taken of the
// last job is done and none of the next is out; it is read only by those who
// took a part of the job in it. The ticket orders the two.
unsafe impl Sync for Shared {}

/// The threads that help a caller.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn new(count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            job: UnsafeCell::new(Job {
                part: &|_| {},
                units: 0,
            }),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
        });
        let mut this = Self {
            shared,
            threads: Vec::with_capacity(count),
            handles: Vec::with_capacity(count),
        };
        for index in 0..count {
            let shared = Arc::clone(&this.shared);
            // Should one fail, dropping `this` stops the others.
            let thread = thread::Builder::new()
                .name(format!("engine-{index}"))
                .spawn(move || shared.work(index))?;
            this.handles.push(thread.thread().clone());
            this.threads.push(thread);
        }
        Ok(this)
    }

    /// Runs `part` over all of `0..units`, divided among the threads. Where it
    /// panics in another thread, units are left undone and [`panicked`](Self::panicked)
    /// says so from then on.
    pub(crate) fn run(&mut self, units: usize, part: Part<'_>) {
        let parts = units.min((self.handles.len() + 1) * 4);
        if parts <= 1 {
            part(0..units);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: `run` returns only when every part is done, and parts are only run by
        // those who took one, so nothing calls `part` after its life.
        let part = unsafe { std::mem::transmute::<Part<'_>, Part<'static>>(part) };
        // SAFETY: the last job's parts are all done (below), so no one reads the job.
        unsafe { *shared.job.get() = Job { part, units } };
        shared.done.store(0, Ordering::Relaxed);
        let epoch = (shared.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        let ticket = (epoch & 0xffff_ffff) << 32 | (parts as u64) << 16;
        // Sequentially consistent with the workers' flags: either this sees the flag, or
        // the worker sees the ticket.
        shared.ticket.store(ticket, Ordering::SeqCst);
        for (asleep, handle) in shared.asleep.iter().zip(&self.handles) {
            if asleep.load(Ordering::SeqCst) {
                handle.unpark();
            }
        }
        let finish = Finish { shared, parts };
        while shared.run_part() {}
        drop(finish);
    }

    /// Whether a part has panicked in any thread since the start.
    pub(crate) fn panicked(&self) -> bool {
        // Ordered by `done`, which the caller has waited for.
        self.shared.panicked.load(Ordering::Relaxed)
    }
}

/// Returns only when no part is out, even when a part of the caller panics.
struct Finish<'a> {
    shared: &'a Shared,
    parts: usize,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        // After a panic, parts that no one took are not run.
        while self.shared.take_part().is_some() {
            self.shared.done.fetch_add(1, Ordering::Release);
        }
        let mut spins = 0_u32;
        while self.shared.done.load(Ordering::Acquire) < self.parts {
            if spins < CALLER_SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for handle in &self.handles {
            handle.unpark();
        }
        for thread in self.threads.drain(..) {
            // That a worker panicked was said by `panicked`.
            let _ = thread.join();
        }
    }
}

/// The next part of a ticket, if there is one, and the number of parts.
fn next(ticket: u64) -> Option<(usize, usize)> {
    let (parts, next) = ((ticket >> 16 & 0xffff) as usize, (ticket & 0xffff) as usize);
    (next < parts).then_some((next, parts))
}

impl Shared {
    /// Takes the next part; also gives the number of parts.
    fn take_part(&self) -> Option<(usize, usize)> {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        loop {
            let found = next(ticket)?;
            match self.ticket.compare_exchange_weak(
                ticket,
                ticket + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(found),
                Err(newer) => ticket = newer,
            }
        }
    }

    /// Takes a part and runs it. False where there is none.
    fn run_part(&self) -> bool {
        let Some((part, parts)) = self.take_part() else {
            return false;
        };
        // Counts the part even when it panics: the caller must not wait for ever.
        let mut count = Count {
            shared: self,
            finished: false,
        };
        // SAFETY: this part was taken from the current job, which stays until it is done.
        let job = unsafe { &*self.job.get() };
        let range = job.units * part / parts..job.units * (part + 1) / parts;
        (job.part)(range);
        count.finished = true;
        true
    }

    fn work(&self, index: usize) {
        let mut spins = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.run_part() {
                spins = 0;
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.asleep[index].store(true, Ordering::SeqCst);
                let idle = next(self.ticket.load(Ordering::SeqCst)).is_none();
                if idle && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep[index].store(false, Ordering::SeqCst);
                spins = 0;
            }
        }
    }
}

struct Count<'a> {
    shared: &'a Shared,
    finished: bool,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.panicked.store(true, Ordering::Relaxed);
        }
        self.shared.done.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a job in which another thread panics, as a defect in a kernel would.
    pub(in crate::cpu) fn panic_in_a_worker(workers: &mut Workers) {
        let helper = AtomicBool::new(false);
        let caller = thread::current().id();
        // The caller waits in its part for a helper to have taken another.
        workers.run(8, &|_| {
            if thread::current().id() != caller {
                helper.store(true, Ordering::SeqCst);
                panic!("a panic that a test asked for");
            }
            while !helper.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_panic_in_a_worker_is_not_forgotten() {
        let mut workers = Workers::new(2).unwrap();
        workers.run(8, &|_| {});
        assert!(!workers.panicked());
        panic_in_a_worker(&mut workers);
        assert!(workers.panicked());
        workers.run(8, &|_| {});
        assert!(workers.panicked());
    }

    #[test]
    fn every_unit_is_done_once_in_every_job() {
        let mut workers = Workers::new(3).unwrap();
        for units in (0..60).chain([1000]).cycle().take(2000) {
            let counts: Vec<_> = (0..units).map(|_| AtomicUsize::new(0)).collect();
            workers.run(units, &|range| {
                for unit in range {
                    counts[unit].fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(
                counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 1)
            );
        }
    }

    #[test]
    fn a_worker_that_sleeps_is_woken() {
        let mut workers = Workers::new(1).unwrap();
        while !workers.shared.asleep[0].load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let helper = AtomicBool::new(false);
        let caller = thread::current().id();
        // The caller waits in its part for the helper to have taken another.
        workers.run(8, &|_| {
            if thread::current().id() == caller {
                while !helper.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            } else {
                helper.store(true, Ordering::SeqCst);
            }
        });
        assert!(helper.load(Ordering::SeqCst));
    }
}
