//! The peak performance of the machine: multiply-adds and bytes read per second.
//!
//! The multiply-add loops use the kernels' instructions on operands in the level 1 cache,
//! with as many independent sums as the widest tiles have.
#![allow(unsafe_code)]

mod loops;

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::loops::{Dots, Reads};
use super::{CpuError, MAX_THREADS};
use crate::aligned_bytes::AlignedBytes;
use crate::instruction_set::{Available, InstructionSet};

/// The type of the multiply-adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// Products of 8-bit integers, summed in 32 bits.
    Int8,
    /// f32, product and sum rounded once.
    Float32,
}

/// Duration of one measurement. The best of [`WINDOWS`] measurements counts, so that
/// other programs affect the result only if they interrupt every one.
const WINDOW: Duration = Duration::from_millis(2);
const WINDOWS: usize = 60;
/// Time for the CPU clock to rise before the measurements.
const WARM_UP: Duration = Duration::from_millis(40);

/// Measures the peak rate of multiply-adds per second with `threads` threads and the
/// instructions of `set`, all operands in registers or the level 1 cache. `None` for
/// plain loops, whose instructions the compiler chooses. Takes about 0.2 s.
///
/// # Errors
/// When the machine lacks the instruction set, `threads` is out of range, or a thread
/// cannot be started.
pub fn peak(
    set: InstructionSet,
    numbers: Numbers,
    threads: usize,
) -> Result<Option<f64>, CpuError> {
    let set = check(set, threads)?;
    let Some(Dots { run, in_a_round }) = loops::multiplying(set, numbers) else {
        return Ok(None);
    };
    // SAFETY: the loop was chosen for a set that is available.
    let work = |_, rounds| unsafe { run(rounds) };
    Ok(Some(
        (in_a_round * threads) as f64 * best_rate(threads, &work)?,
    ))
}

/// Measures the peak rate of bytes read per second with `threads` threads. Each thread
/// reads its part of `bytes` bytes from start to end, repeatedly. This is the rate at
/// which an engine's weights are read from the cache (or memory) that holds so many
/// bytes. Takes about 0.2 s.
///
/// # Errors
/// As [`peak`].
pub fn read_speed(set: InstructionSet, bytes: usize, threads: usize) -> Result<f64, CpuError> {
    let set = check(set, threads)?;
    let Reads { run, step } = loops::reading(set);
    // Each thread reads whole steps, at least one. Bytes of 1 are normal f32 numbers.
    let part = (bytes / threads).max(1).next_multiple_of(step);
    let block = AlignedBytes::holding(&vec![1; part * threads]);
    let bytes = block.bytes();
    let work = |thread: usize, rounds| {
        let part = &bytes[part * thread..][..part];
        for _ in 0..rounds {
            // SAFETY: the loop was chosen for a set that is available; the length of the part
            // is a multiple of `step`.
            unsafe { run(black_box(part)) };
        }
    };
    Ok((part * threads) as f64 * best_rate(threads, &work)?)
}

fn check(set: InstructionSet, threads: usize) -> Result<Available, CpuError> {
    let available = Available::new(set).ok_or(CpuError::Unavailable(set))?;
    match threads {
        1..=MAX_THREADS => Ok(available),
        _ => Err(CpuError::Threads(threads)),
    }
}

/// The work of a thread, called with its index and the number of rounds.
type Work<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// The best rate, in rounds per second and thread, while all threads run.
fn best_rate(threads: usize, work: Work<'_>) -> Result<f64, CpuError> {
    let mut rounds = 1;
    let start = Instant::now();
    loop {
        let took = window(threads, rounds, work)?;
        if start.elapsed() >= WARM_UP && took >= WINDOW / 4 {
            let factor = WINDOW.as_secs_f64() / took.as_secs_f64();
            rounds = ((rounds as f64 * factor) as usize).max(1);
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

/// The time from the first thread's start to the last thread's end.
fn window(threads: usize, rounds: usize, work: Work<'_>) -> Result<Duration, CpuError> {
    let arrived = AtomicUsize::new(0);
    let timed = |thread: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        // If a thread cannot be started, the loop below releases the others.
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
                    // Releases the threads that wait, so that they end.
                    arrived.fetch_add(threads, Ordering::AcqRel);
                    return Err(error);
                }
            }
        }
        spans.push(timed(0));
        spans.extend(others.into_iter().filter_map(|other| other.join().ok()));
        Ok(())
    })
    .map_err(CpuError::ThreadStart)?;
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
    fn available_instruction_sets_have_a_peak_and_a_read_speed() {
        for set in InstructionSet::available() {
            for numbers in [Numbers::Int8, Numbers::Float32] {
                let peak = peak(set, numbers, 1).unwrap();
                assert_eq!(peak.is_some(), set != InstructionSet::Scalar, "{set}");
                assert!(peak.is_none_or(|peak| peak > 1e6), "{set}: {peak:?}");
            }
            // Not a multiple of the step or of the number of threads.
            for threads in [1, 2] {
                let speed = read_speed(set, 12_345, threads).unwrap();
                assert!(speed > 1e6 && speed.is_finite(), "{set}: {speed}");
            }
        }
        assert!(read_speed(InstructionSet::best(), 0, 1).unwrap() > 0.0);
    }

    #[test]
    fn unavailable_instruction_sets_and_thread_counts_are_errors() {
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
