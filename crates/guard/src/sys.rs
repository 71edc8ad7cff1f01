//! What of the system has no safe interface: priority and signals.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static ENDED: AtomicBool = AtomicBool::new(false);

/// Lets this process run before all that are not real-time, at this priority (1 to 99).
///
/// # Errors
/// When the system does not allow it: `LimitRTPRIO` of the unit, or `ulimit -r`.
pub(crate) fn real_time(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 is this process; the parameters live through the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn end(_signal: libc::c_int) {
    ENDED.store(true, Ordering::Relaxed);
}

/// From now on SIGTERM and SIGINT end waiting, and [`ended`] tells of them.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn catch_signals() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: all zeros is a sigaction without flags and mask; the handler does what a
        // handler may: it stores one atomic.
        let caught = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = end as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if caught != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether a signal asked for the end.
pub(crate) fn ended() -> bool {
    ENDED.load(Ordering::Relaxed)
}
