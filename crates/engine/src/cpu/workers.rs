//! Threads that share one piece of work at a time.
//!
//! The work is a list of parts, of which every thread, the caller too, has a share:
//! the same from job to job, so that what it made is in its own cache when the next
//! job reads it. Whoever is done with its share takes parts of the others', from the
//! end, so that a thread the system has not scheduled costs nothing: the caller does
//! its parts and waits only for parts that were begun.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{self, JoinHandle, Thread};

/// Parts of a share: what another thread can take over.
const PARTS: usize = 4;
/// Rounds a worker looks for work before it sleeps; some tens of microseconds.
const SPINS: u32 = 4_000;
/// Rounds the caller looks before it lets other threads run.
const CALLER_SPINS: u32 = 500;

/// A part of the list of units, run by one thread.
type Part<'a> = &'a (dyn Fn(Range<usize>) + Sync);

/// What is being done. Written by the caller while no part is out.
#[derive(Clone, Copy)]
struct Job {
    /// Its lifetime is erased; see [`Workers::run`].
    part: Part<'static>,
    units: usize,
    /// All parts, of all shares.
    parts: usize,
}

/// A thread's share of the job, on cache lines of its own (processors fetch two).
#[repr(align(128))]
struct Share {
    /// Which job (32 bits), the first part that no one took (16), the end of those (16).
    ticket: AtomicU64,
    job: UnsafeCell<Job>,
    /// Parts of any share that this thread has done since the start. Only it writes this.
    done: AtomicUsize,
}

struct Shared {
    /// The caller's, then each worker's.
    shares: Vec<Share>,
    /// Set for good once a part did not come to its end.
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Of each worker.
    asleep: Vec<AtomicBool>,
}

// SAFETY: a share's `job` is written only by the caller, when every part taken of
// the last job is done and none of the next is out; it is read only by those who
// took a part of the job in it. The ticket orders the two.
unsafe impl Sync for Shared {}

/// The threads that help a caller.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    /// Jobs so far, and their parts.
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
        let shared = &*self.shared;
        let threads = shared.shares.len();
        let parts = units.min(threads * PARTS);
        if parts <= 1 {
            part(0..units);
            return;
        }
        self.jobs = self.jobs.wrapping_add(1);
        self.parts = self.parts.wrapping_add(parts);
        // SAFETY: `run` returns only when every part is done, and parts are only run by
        // those who took one, so nothing calls `part` after its life.
        let part = unsafe { std::mem::transmute::<Part<'_>, Part<'static>>(part) };
        let first = |thread: usize| parts * thread / threads;
        // The others' first: they have further to go.
        for (thread, share) in shared.shares.iter().enumerate().rev() {
            let (first, end) = (first(thread), first(thread + 1));
            if first == end {
                continue;
            }
            // SAFETY: the last job's parts are all done (below), so no one reads the job.
            unsafe { *share.job.get() = Job { part, units, parts } };
            let ticket = u64::from(self.jobs) << 32 | (first as u64) << 16 | end as u64;
            share.ticket.store(ticket, Ordering::Release);
        }
        let finish = Finish {
            shared,
            parts: self.parts,
        };
        // Pairs with the one in `work`: either this sees the flag, or the worker the ticket.
        fence(Ordering::SeqCst);
        for (worker, (asleep, handle)) in shared.asleep.iter().zip(&self.handles).enumerate() {
            if asleep.load(Ordering::Relaxed) && first(worker + 1) < first(worker + 2) {
                handle.unpark();
            }
        }
        shared.help(0);
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
    /// That will have been done.
    parts: usize,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let shares = &self.shared.shares;
        // After a panic, parts that no one took are not run.
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
            // That a worker panicked was said by `panicked`.
            let _ = thread.join();
        }
    }
}

/// The parts of a ticket that no one took.
fn left(ticket: u64) -> Range<usize> {
    (ticket >> 16 & 0xffff) as usize..(ticket & 0xffff) as usize
}

impl Share {
    /// Takes the first part, or the last for another thread.
    fn take(&self, for_another: bool) -> Option<usize> {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        loop {
            let left = left(ticket);
            if left.is_empty() {
                return None;
            }
            let (taken, next) = if for_another {
                (left.end - 1, ticket - 1)
            } else {
                (left.start, ticket + (1 << 16))
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

    /// Counts a part that the share's thread has done.
    fn count(&self) {
        let done = self.done.load(Ordering::Relaxed).wrapping_add(1);
        self.done.store(done, Ordering::Release);
    }
}

impl Shared {
    /// Runs the parts of a thread's own share, then what is left of the others'.
    fn help(&self, thread: usize) {
        let (before, from) = self.shares.split_at(thread);
        for share in from.iter().chain(before) {
            let own = std::ptr::eq(share, &from[0]);
            while let Some(part) = share.take(!own) {
                // Counts the part even when it panics: the caller must not wait for ever.
                let mut count = Count {
                    share: &from[0],
                    panicked: Some(&self.panicked),
                };
                // SAFETY: this part was taken from the job, which stays until it is done.
                let job = unsafe { *share.job.get() };
                let unit = |part: usize| job.units * part / job.parts;
                (job.part)(unit(part)..unit(part + 1));
                count.panicked = None;
            }
        }
    }

    fn work(&self, index: usize) {
        let ticket = &self.shares[index + 1].ticket;
        let idle = || left(ticket.load(Ordering::Acquire)).is_empty();
        let mut spins = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if !idle() {
                self.help(index + 1);
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

/// Counts a part when dropped, and notes a panic.
struct Count<'a> {
    share: &'a Share,
    /// Until the part has come to its end.
    panicked: Option<&'a AtomicBool>,
}

impl Drop for Count<'_> {
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
