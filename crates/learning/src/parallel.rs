//! Distributes the fixed parts of a batch over threads.

use std::sync::Mutex;
use std::thread;

/// Calls `work` once for each item, on up to `threads` threads. Which thread takes which item does
/// not matter to the result, because each item has its own state.
///
/// # Panics
/// If `work` panics.
pub(crate) fn for_each<T: Send>(
    items: &mut [T],
    threads: usize,
    work: impl Fn(usize, &mut T) + Sync,
) {
    if threads <= 1 || items.len() <= 1 {
        for (index, item) in items.iter_mut().enumerate() {
            work(index, item);
        }
        return;
    }
    let workers = threads.min(items.len());
    let queue = Mutex::new(items.iter_mut().enumerate());
    let next = || match queue.lock() {
        Ok(mut queue) => queue.next(),
        Err(_) => None,
    };
    let run = || {
        while let Some((index, item)) = next() {
            work(index, item);
        }
    };
    thread::scope(|scope| {
        // This thread is one of the workers.
        for _ in 1..workers {
            scope.spawn(run);
        }
        run();
    });
}
