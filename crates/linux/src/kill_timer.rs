//! A timer that kills this process.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

/// Makes the kernel send SIGKILL to this process unless the timer is restarted in time. This also
/// works for a process that is suspended (SIGSTOP), and it is precise, unlike a service manager's
/// watchdog.
#[derive(Debug)]
pub struct KillTimer {
    timer: libc::c_int,
    limit: libc::itimerspec,
}

impl KillTimer {
    /// Creates a timer that does not run until [`restart`](Self::restart) is first called.
    ///
    /// # Errors
    /// When `limit` is zero, which would stop the timer, or the system cannot create one.
    pub fn new(limit: Duration) -> io::Result<Self> {
        if limit.is_zero() || limit.as_secs() > i32::MAX as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut timer: libc::c_int = 0;
        // SAFETY: an all-zero `sigevent` is valid. The kernel reads `event` and writes one int to
        // `timer`; both are valid during the call. The system call is made directly, because glibc
        // before 2.34 has its wrapper in a separate library.
        let made = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = libc::SIGKILL;
            libc::syscall(
                libc::SYS_timer_create,
                libc::CLOCK_MONOTONIC,
                &raw const event,
                &raw mut timer,
            )
        };
        if made != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an all-zero `itimerspec` is valid.
        let mut time: libc::itimerspec = unsafe { std::mem::zeroed() };
        time.it_value.tv_sec = limit.as_secs() as libc::time_t;
        time.it_value.tv_nsec = limit.subsec_nanos() as libc::c_long;
        Ok(Self { timer, limit: time })
    }

    /// Restarts the timer with its full limit.
    pub fn restart(&self) {
        // SAFETY: the kernel reads `limit`, which is valid during the call, and writes nothing. The
        // call cannot fail for a timer that exists.
        unsafe {
            libc::syscall(
                libc::SYS_timer_settime,
                self.timer,
                0,
                &raw const self.limit,
                std::ptr::null_mut::<libc::itimerspec>(),
            );
        }
    }
}

impl Drop for KillTimer {
    fn drop(&mut self) {
        // SAFETY: `timer` is a timer of this process, and it is not used after this.
        unsafe {
            libc::syscall(libc::SYS_timer_delete, self.timer);
        }
    }
}
