//! Work on all cores.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs `each` for every index below `count`, on all cores. Every thread has a state that `new`
/// makes. The states are returned in no particular order, and each saw an arbitrary subset of the
/// indices.
///
/// # Errors
/// The first error of a thread; the other threads complete.
pub(crate) fn on_all_cores<S: Send, E: Send>(
    count: usize,
    new: impl Fn() -> Result<S, E> + Sync,
    each: impl Fn(&mut S, usize) -> Result<(), E> + Sync,
) -> Result<Vec<S>, E> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || -> Result<(), E> {
        let mut state = new()?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            each(&mut state, index)?;
        }
        if let Ok(mut done) = done.lock() {
            done.push(state);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, count.max(1)))
            .map(|_| scope.spawn(work))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    Ok(done.into_inner().unwrap_or_default())
}
