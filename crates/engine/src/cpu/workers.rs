//! A pool of threads that work on one job at a time.
//!
//! A job is divided into parts. Each thread, including the caller, has a share of the
//! parts, the same in each job, so that the output of one job is in the thread's cache
//! when the next job reads it. A thread that has finished its share steals parts from the
//! end of the other shares. A thread that the system has not scheduled therefore causes
//! no delay: the caller waits only for parts that have been started.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{self, JoinHandle, Thread};

/// Parts of a share: the granularity of stealing.
const PARTS: usize = 4;
/// Iterations for which a worker spins before it sleeps; some tens of microseconds.
const SPINS: u32 = 4_000;
/// Iterations for which the caller spins before it yields to other threads.
const CALLER_SPINS: u32 = 500;

/// Runs a range of units on one thread.
type Part<'a> = &'a (dyn Fn(Range<usize>) + Sync);

/// Runs `part` over all of `0..units`: on `workers`, or else on this thread.
pub(crate) fn divide(workers: Option<&mut Workers>, units: usize, part: Part<'_>) {
    match workers {
        Some(workers) => workers.run(units, part),
        None => part(0..units),
    }
}

/// The current job. The caller writes it while no part is being run.
#[derive(Clone, Copy)]
struct Job {
    /// Its lifetime is erased; see [`Workers::run`].
    part: Part<'static>,
    units: usize,
    /// The parts of all shares.
    parts: usize,
}

/// A thread's share of the job, on its own cache lines (CPUs prefetch two at a time).
#[repr(align(128))]
struct Share {
    /// The job's number (32 bits), the first part not taken (16), the end of these (16).
    ticket: AtomicU64,
    job: UnsafeCell<Job>,
    /// Parts, of any share, that this thread has finished since the start. Only this
    /// thread writes it.
    done: AtomicUsize,
}

struct Shared {
    /// The caller's, then each worker's.
    shares: Vec<Share>,
    /// Set, and never cleared, when a part has panicked.
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Whether each worker is asleep.
    asleep: Vec<AtomicBool>,
}

// SAFETY: only `Share::job` is not `Sync`. `Workers::run` writes it when all parts of the
// previous job are done and before it publishes the next ticket with a Release store. It
// is read only by a thread that has taken a part from the ticket, with Acquire, and has
// not yet counted the part in `done`, with Release. Writes and reads therefore never
// overlap.
unsafe impl Sync for Shared {}

/// The worker threads of a caller.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    /// Number of jobs so far, and of their parts.
    jobs: u32,
    parts: usize,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn new(count: usize) -> std::io::Result<Self> {
        let share = |_| Share {
            ticket: AtomicU64::new(0),
            job: UnsafeCell::new(Job {
                part: &|_| {},
                units: 0,
                parts: 0,
            }),
            done: AtomicUsize::new(0),
        };
        let shared = Arc::new(Shared {
            shares: (0..=count).map(share).collect(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
        });
        let mut this = Self {
            shared,
            threads: Vec::with_capacity(count),
            handles: Vec::with_capacity(count),
            jobs: 0,
            parts: 0,
        };
        for index in 0..count {
            let shared = Arc::clone(&this.shared);
            // On an error, dropping `this` stops the threads that have started.
            let thread = thread::Builder::new()
                .name(format!("engine-{index}"))
                .spawn(move || shared.work(index))?;
            this.handles.push(thread.thread().clone());
            this.threads.push(thread);
        }
        Ok(this)
    }

    /// Runs `part` over all of `0..units`, divided among the threads. If it panics in
    /// a worker, some units are not done, and [`panicked`](Self::panicked) returns true
    /// from then on.
    pub(crate) fn run(&mut self, units: usize, part: Part<'_>) {
        let shared = &*self.shared;
        let threads = shared.shares.len();
        let parts = units.min(threads * PARTS);
        if parts <= 1 {
            part(0..units);
            return;
        }
        self.jobs = self.jobs.wrapping_add(1);
        self.parts = self.parts.wrapping_add(parts);
        // SAFETY: `run` returns or unwinds only after `WaitForParts` has been dropped,
        // which waits until every part is counted as done. Only a thread that has taken a
        // part and not yet counted it calls `part`, so no call outlives the borrow.
        let part = unsafe { std::mem::transmute::<Part<'_>, Part<'static>>(part) };
        let first = |thread: usize| parts * thread / threads;
        // The workers' shares first: the workers need time to notice them.
        for (thread, share) in shared.shares.iter().enumerate().rev() {
            let (first, end) = (first(thread), first(thread + 1));
            if first == end {
                continue;
            }
            // SAFETY: the previous call of `run` waited (in `WaitForParts`) until all parts
            // of its job were done, so no thread reads `job`.
            unsafe { *share.job.get() = Job { part, units, parts } };
            let ticket = u64::from(self.jobs) << 32 | (first as u64) << 16 | end as u64;
            share.ticket.store(ticket, Ordering::Release);
        }
        let wait = WaitForParts {
            shared,
            parts: self.parts,
        };
        // Pairs with the fence in `work`: either this thread sees the flag, or the worker
        // sees the ticket.
        fence(Ordering::SeqCst);
        for (worker, (asleep, handle)) in shared.asleep.iter().zip(&self.handles).enumerate() {
            if asleep.load(Ordering::Relaxed) && first(worker + 1) < first(worker + 2) {
                handle.unpark();
            }
        }
        shared.run_parts(0);
        drop(wait);
    }

    /// Whether a part has panicked in any thread since the start.
    pub(crate) fn panicked(&self) -> bool {
        // The caller has waited for `done`, which orders this load after the store.
        self.shared.panicked.load(Ordering::Relaxed)
    }
}

/// Waits on drop until all parts are done, also when a part of the caller panics.
struct WaitForParts<'a> {
    shared: &'a Shared,
    /// The number of parts, of all jobs, to wait for.
    parts: usize,
}

impl Drop for WaitForParts<'_> {
    fn drop(&mut self) {
        let shares = &self.shared.shares;
        // After a panic of the caller, untaken parts are counted without being run.
        for share in shares {
            while share.take(true).is_some() {
                shares[0].count();
            }
        }
        let done = |share: &Share| share.done.load(Ordering::Acquire);
        let mut spins = 0_u32;
        while shares.iter().map(done).fold(0, usize::wrapping_add) != self.parts {
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
            // `panicked` has already reported a worker's panic.
            let _ = thread.join();
        }
    }
}

/// The parts of a ticket that have not been taken.
fn untaken(ticket: u64) -> Range<usize> {
    (ticket >> 16 & 0xffff) as usize..(ticket & 0xffff) as usize
}

impl Share {
    /// Takes the first part; another thread steals the last.
    fn take(&self, steal: bool) -> Option<usize> {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        loop {
            let untaken = untaken(ticket);
            if untaken.is_empty() {
                return None;
            }
            let (taken, next) = if steal {
                (untaken.end - 1, ticket - 1)
            } else {
                (untaken.start, ticket + (1 << 16))
            };
            match self.ticket.compare_exchange_weak(
                ticket,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(taken),
                Err(newer) => ticket = newer,
            }
        }
    }

    /// Counts a part that the share's thread has finished.
    fn count(&self) {
        let done = self.done.load(Ordering::Relaxed).wrapping_add(1);
        self.done.store(done, Ordering::Release);
    }
}

impl Shared {
    /// Runs the parts of a thread's own share, then steals those of the other shares.
    fn run_parts(&self, thread: usize) {
        let (before, from) = self.shares.split_at(thread);
        for share in from.iter().chain(before) {
            let own = std::ptr::eq(share, &from[0]);
            while let Some(part) = share.take(!own) {
                // Counts the part even if it panics: the caller must not wait forever.
                let mut count = CountOnDrop {
                    share: &from[0],
                    panicked: Some(&self.panicked),
                };
                // SAFETY: the part was taken from this share's ticket and is not counted
                // yet, so that the caller does not write the job.
                let job = unsafe { *share.job.get() };
                let unit = |part: usize| job.units * part / job.parts;
                (job.part)(unit(part)..unit(part + 1));
                count.panicked = None;
            }
        }
    }

    fn work(&self, index: usize) {
        let ticket = &self.shares[index + 1].ticket;
        let idle = || untaken(ticket.load(Ordering::Acquire)).is_empty();
        let mut spins = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if !idle() {
                self.run_parts(index + 1);
                spins = 0;
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.asleep[index].store(true, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                if idle() && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep[index].store(false, Ordering::SeqCst);
                spins = 0;
            }
        }
    }
}

/// Counts a part on drop, and records a panic.
struct CountOnDrop<'a> {
    share: &'a Share,
    /// `Some` until the part has returned.
    panicked: Option<&'a AtomicBool>,
}

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(panicked) = self.panicked {
            panicked.store(true, Ordering::Relaxed);
        }
        self.share.count();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a job in which a worker panics, as a defect in a kernel would make it.
    pub(in crate::cpu) fn panic_in_a_worker(workers: &mut Workers) {
        let worker_ran = AtomicBool::new(false);
        let caller = thread::current().id();
        // The caller waits in its part until a worker has taken another part.
        workers.run(8, &|_| {
            if thread::current().id() != caller {
                worker_ran.store(true, Ordering::SeqCst);
                panic!("a panic requested by a test");
            }
            while !worker_ran.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_panic_in_a_worker_is_reported_from_then_on() {
        let mut workers = Workers::new(2).unwrap();
        workers.run(8, &|_| {});
        assert!(!workers.panicked());
        panic_in_a_worker(&mut workers);
        assert!(workers.panicked());
        workers.run(8, &|_| {});
        assert!(workers.panicked());
    }

    #[test]
    fn each_job_runs_each_unit_once() {
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
    fn a_sleeping_worker_is_woken() {
        let mut workers = Workers::new(1).unwrap();
        while !workers.shared.asleep[0].load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let worker_ran = AtomicBool::new(false);
        let caller = thread::current().id();
        // The caller waits in its part until the worker has taken another part.
        workers.run(8, &|_| {
            if thread::current().id() == caller {
                while !worker_ran.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            } else {
                worker_ran.store(true, Ordering::SeqCst);
            }
        });
        assert!(worker_ran.load(Ordering::SeqCst));
    }
}
