//! Runs drives, several at a time, and repeats those that the machine held up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::run::DriveReport;

/// Runs `of` for each item, a few at a time, and returns the results in order. A drive waits for more
/// than half of its time.
pub fn run_all<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(0..items.len());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else {
                        return;
                    };
                    let result = of(&items[index]);
                    results.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Repeats a drive, at most twice, if only a time limit was missed and the machine held up a thread
/// of that drive for longer than [`HELD_UP`], because other programs use the machine. What `judge`
/// asserts itself is final, and so is a missed time limit of a drive that nothing held up.
pub fn repeat_if_held_up<T>(
    drive: impl Fn() -> DriveReport,
    judge: impl Fn(&DriveReport) -> Result<T, String>,
) -> T {
    for again in ["once more", "a last time"] {
        let report = drive();
        match judge(&report) {
            Ok(result) => return result,
            Err(late) => {
                let held_up = report.held_up;
                assert!(held_up > HELD_UP, "{late}; held up for {held_up} ms");
                println!("held up for {held_up:.0} ms, driven {again}: {late}");
                let again = REPEATED.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(again <= MAX_REPEATED, "{again} drives had to be repeated");
            }
        }
    }
    judge(&drive()).unwrap()
}

/// The delay of a sleeping thread that excuses a missed time limit, milliseconds: far below the
/// limits that are checked.
const HELD_UP: f64 = 10.0;
/// The largest number of repeated drives in one test, which drives up to two hundred times.
const MAX_REPEATED: usize = 10;
static REPEATED: AtomicUsize = AtomicUsize::new(0);

/// `Err` if the condition is false: for conditions that depend on timing.
pub fn check_timing(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what()),
    }
}
