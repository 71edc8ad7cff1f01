//! This process's priority and memory.
#![allow(unsafe_code)]

use std::io;

/// Gives this thread, and those that it starts later, the real-time priority `priority` (1 to 99),
/// SCHED_FIFO.
///
/// # Errors
/// When the system does not allow it: `LimitRTPRIO` of the unit, or `ulimit -r`.
pub fn real_time(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 is this thread; `parameters` is valid during the call, and the kernel only reads
    // it.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes all threads share one heap. To be called before other threads start. Each further heap
/// reserves 64 MB of addresses, which count against the limit of locked memory (LimitMEMLOCK).
pub fn limit_to_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` takes two integers and no pointer; if it fails, nothing changes. It must
    // not run while another thread allocates for the first time, which this function's
    // documentation excludes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
