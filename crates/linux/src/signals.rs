//! Handles the signals that end a process, so that the program can exit in order.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static ENDED: AtomicBool = AtomicBool::new(false);

extern "C" fn end(_signal: libc::c_int) {
    ENDED.store(true, Ordering::Relaxed);
}

/// Signals that end a process by default. With [`catch`], each of them only makes [`ended`] return
/// true; the guard then writes failsafe and exits in order. The signals of a crash, such as
/// SIGSEGV, keep their default action.
const ENDING: [libc::c_int; 13] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
];

/// Ignored signals: those that would suspend the process, SIGPIPE (a write to a pipe or socket
/// without a reader) and SIGXFSZ (a write beyond the file size limit).
const IGNORED: [libc::c_int; 5] = [
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGPIPE,
    libc::SIGXFSZ,
];

/// Installs the signal handlers. From then on each signal that ends a process by default (except
/// those of a crash), and each real-time signal, interrupts a blocking system call, and [`ended`]
/// returns true. Signals
/// that would suspend the process, SIGPIPE and SIGXFSZ are ignored.
///
/// # Errors
/// When the system does not allow it.
pub fn catch() -> io::Result<()> {
    let realtime = libc::SIGRTMIN()..=libc::SIGRTMAX();
    for signal in ENDING.into_iter().chain(realtime) {
        set_action(signal, end as extern "C" fn(libc::c_int) as usize)?;
    }
    for signal in IGNORED {
        set_action(signal, libc::SIG_IGN)?;
    }
    Ok(())
}

fn set_action(signal: libc::c_int, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is valid: no flags and an empty mask. The action is SIG_IGN
    // or `end`, which is async-signal-safe: it only stores one atomic.
    let set = unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        libc::sigaction(signal, &raw const new, std::ptr::null_mut())
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a signal to end the process has been received.
pub fn ended() -> bool {
    ENDED.load(Ordering::Relaxed)
}
