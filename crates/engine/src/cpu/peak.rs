//! What this machine could do at most: multiply-adds, and reading.
//!
//! The loops are made of the kernels' own instructions on operands that lie in
//! the nearest cache, with as many sums under way as the widest tiles have.
#![allow(unsafe_code)]

mod loops;

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::loops::{Dots, Reads};
use super::{AlignedBytes, CpuError, InstructionSet, MAX_THREADS};

/// What is multiplied and added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// Products of 8-bit integers, summed in 32 bits.
    Int8,
    /// f32, product and sum rounded once.
    Float32,
}

/// How long one measurement is; the best of [`WINDOWS`] counts, so that what else
/// runs here has to come between often to be seen.
const WINDOW: Duration = Duration::from_millis(2);
const WINDOWS: usize = 60;
/// The clock is given this long to rise.
const WARM_UP: Duration = Duration::from_millis(40);

/// The most multiply-adds a second that `threads` threads of this machine were
/// seen to do with the instructions of `set`, all operands in registers or the
/// nearest cache. `None` for plain loops, whose instructions the compiler chooses.
/// Takes about 0.2 s.
///
/// # Errors
/// When the machine lacks the instructions, or there cannot be so many threads.
pub fn peak(
    set: InstructionSet,
    numbers: Numbers,
    threads: usize,
) -> Result<Option<f64>, CpuError> {
    check(set, threads)?;
    let Some(Dots { run, in_a_round }) = loops::multiplying(set, numbers) else {
        return Ok(None);
    };
    // SAFETY: the machine was just seen to have the instructions.
    let work = |_, rounds| unsafe { run(rounds) };
    Ok(Some(
        (in_a_round * threads) as f64 * best_rate(threads, &work)?,
    ))
}

/// The most bytes a second that `threads` threads of this machine were seen to
/// read, each its part of `bytes` bytes, from first to last and over again: what
/// an engine's weights are read at, which lie in whichever cache holds that many.
/// Takes about 0.2 s.
///
/// # Errors
/// As [`peak`].
pub fn read_speed(set: InstructionSet, bytes: usize, threads: usize) -> Result<f64, CpuError> {
    check(set, threads)?;
    let Reads { run, step } = loops::reading(set);
    // Whole steps for every thread, and one at least. Ones are normal numbers as f32.
    let part = (bytes / threads).max(1).next_multiple_of(step);
    let block = AlignedBytes::holding(&vec![1; part * threads]);
    let bytes = block.bytes();
    let work = |thread: usize, rounds| {
        let part = &bytes[part * thread..][..part];
        for _ in 0..rounds {
            // SAFETY: the machine has the instructions; the part is of whole steps.
            unsafe { run(black_box(part)) };
        }
    };
    Ok((part * threads) as f64 * best_rate(threads, &work)?)
}

fn check(set: InstructionSet, threads: usize) -> Result<(), CpuError> {
    match (set.is_available(), threads) {
        (false, _) => Err(CpuError::Unavailable(set)),
        (true, 1..=MAX_THREADS) => Ok(()),
        (true, _) => Err(CpuError::Threads(threads)),
    }
}

/// A thread's work: its number, and how many rounds.
type Work<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// The most rounds a second that each of the threads does while all are at it.
fn best_rate(threads: usize, work: Work<'_>) -> Result<f64, CpuError> {
    let mut rounds = 1;
    let start = Instant::now();
    loop {
        let took = window(threads, rounds, work)?;
        if start.elapsed() >= WARM_UP && took >= WINDOW / 4 {
            let wanted = WINDOW.as_secs_f64() / took.as_secs_f64();
            rounds = ((rounds as f64 * wanted) as usize).max(1);
            break;
        }
        if took < WINDOW / 2 {
            rounds *= 2;
        }
    }
    let mut best = Duration::MAX;
    for _ in 0..WINDOWS {
        best = best.min(window(threads, rounds, work)?);
    }
    Ok(rounds as f64 / best.as_secs_f64())
}

/// How long it takes from the first thread's start to the last one's end.
fn window(threads: usize, rounds: usize, work: Work<'_>) -> Result<Duration, CpuError> {
    let arrived = AtomicUsize::new(0);
    let timed = |thread: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        // A thread that could not be started must not be waited for: see below.
        while arrived.load(Ordering::Acquire) < threads {
            thread::yield_now();
        }
        let start = Instant::now();
        work(thread, rounds);
        (start, Instant::now())
    };
    let timed = &timed;
    let mut spans = Vec::with_capacity(threads);
    thread::scope(|scope| {
        let mut others = Vec::with_capacity(threads);
        for thread in 1..threads {
            match thread::Builder::new().spawn_scoped(scope, move || timed(thread)) {
                Ok(other) => others.push(other),
                Err(error) => {
                    // Lets those that wait go on, and end.
                    arrived.fetch_add(threads, Ordering::AcqRel);
                    return Err(error);
                }
            }
        }
        spans.push(timed(0));
        spans.extend(others.into_iter().filter_map(|other| other.join().ok()));
        Ok(())
    })?;
    let first = spans.iter().map(|&(start, _)| start).min();
    let last = spans.iter().map(|&(_, end)| end).max();
    Ok(match (first, last) {
        (Some(first), Some(last)) => (last - first).max(Duration::from_nanos(1)),
        _ => Duration::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_here_has_a_peak_and_reads() {
        for set in InstructionSet::available() {
            for numbers in [Numbers::Int8, Numbers::Float32] {
                let peak = peak(set, numbers, 1).unwrap();
                assert_eq!(peak.is_some(), set != InstructionSet::Scalar, "{set}");
                assert!(peak.is_none_or(|peak| peak > 1e6), "{set}: {peak:?}");
            }
            // Neither a whole number of steps nor of parts.
            for threads in [1, 2] {
                let speed = read_speed(set, 12_345, threads).unwrap();
                assert!(speed > 1e6 && speed.is_finite(), "{set}: {speed}");
            }
        }
        assert!(read_speed(InstructionSet::best(), 0, 1).unwrap() > 0.0);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for threads in [0, MAX_THREADS + 1] {
            let peak = peak(InstructionSet::best(), Numbers::Int8, threads);
            assert!(matches!(peak, Err(CpuError::Threads(_))));
        }
        for set in InstructionSet::ALL {
            if !set.is_available() {
                let peak = peak(set, Numbers::Int8, 1);
                assert!(matches!(peak, Err(CpuError::Unavailable(_))), "{set}");
                let speed = read_speed(set, 100, 1);
                assert!(matches!(speed, Err(CpuError::Unavailable(_))), "{set}");
            }
        }
    }
}
