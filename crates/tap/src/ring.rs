//! A sequence lock for each slot. Record `n` is in slot `n % slots`; its stamp is `2n + 1` while it
//! is written and `2n + 2` afterwards.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use pilotage_linux::SharedView;

/// Writes record `number` to its slot. Never waits.
pub(crate) fn write(slot: &[AtomicU64], number: u64, payload: impl Iterator<Item = u64>) {
    let Some((stamp, words)) = slot.split_first() else {
        return;
    };
    stamp.store(number.wrapping_mul(2) + 1, Ordering::Relaxed);
    // A reader that sees a word of this record sees the odd stamp, or a later one.
    fence(Ordering::Release);
    for (word, value) in words.iter().zip(payload) {
        word.store(value, Ordering::Relaxed);
    }
    stamp.store(number.wrapping_mul(2).wrapping_add(2), Ordering::Release);
}

/// Calls `copy` to copy the words of record `number` from the slot at `start`. Returns its result if
/// the record was there before and after, `None` if it was overwritten or never complete. `copy`
/// may see words of several records mixed.
pub(crate) fn read<T>(
    view: &SharedView,
    start: usize,
    number: u64,
    copy: impl FnOnce(usize) -> T,
) -> Option<T> {
    let complete = number.wrapping_mul(2).wrapping_add(2);
    if view.load(start) != complete {
        return None;
    }
    // The words are read after the stamp was.
    fence(Ordering::Acquire);
    let copied = copy(start + 1);
    // The words were read before the stamp is read again.
    fence(Ordering::Acquire);
    (view.load(start) == complete).then_some(copied)
}
