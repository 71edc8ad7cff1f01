//! System calls without a safe wrapper: real-time priority, signals, timers and I2C.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static ENDED: AtomicBool = AtomicBool::new(false);

/// Gives this process the real-time priority `priority` (1 to 99), SCHED_FIFO.
///
/// # Errors
/// When the system does not allow it: `LimitRTPRIO` of the unit, or `ulimit -r`.
pub(crate) fn real_time(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 is this process; `parameters` is valid during the call, and the kernel only reads
    // it.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn end(_signal: libc::c_int) {
    ENDED.store(true, Ordering::Relaxed);
}

/// Signals that end a process by default. Here each of them makes the guard write failsafe and exit
/// in order. The signals of a crash keep their default action.
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

/// Ignored signals: those that would suspend the process, those of a write without a reader, and
/// that of the file size limit.
const IGNORED: [libc::c_int; 5] = [
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGPIPE,
    libc::SIGXFSZ,
];

/// Installs the signal handlers. From then on each signal of [`ENDING`] and each real-time signal
/// interrupts a wait, and [`ended`] returns true.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn catch_signals() -> io::Result<()> {
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
pub(crate) fn ended() -> bool {
    ENDED.load(Ordering::Relaxed)
}

/// The supplementary groups of the peer of a Unix socket. `SO_PEERCRED` reports the primary group.
///
/// # Errors
/// When there are more of them than `groups` holds, or the kernel does not support it (before
/// 4.13).
pub(crate) fn peer_groups<'a>(
    connection: BorrowedFd<'_>,
    groups: &'a mut [u32],
) -> io::Result<&'a [u32]> {
    let mut length = size_of_val(groups) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `groups`, whose elements are plain
    // integers (gid_t is u32 on Linux), and stores the written size in `length`. Both are valid
    // during the call.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(&groups[..(length as usize / size_of::<u32>()).min(groups.len())]),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the kernel send SIGKILL to this process unless the timer is restarted in time. This also
/// works for a process that is suspended (SIGSTOP), and it is precise, unlike a service manager's
/// watchdog.
#[derive(Debug)]
pub(crate) struct KillTimer {
    timer: libc::c_int,
    limit: libc::itimerspec,
}

impl KillTimer {
    /// Creates a timer that does not run until [`restart`](Self::restart) is first called.
    ///
    /// # Errors
    /// When the system cannot create a timer.
    pub(crate) fn new(limit: Duration) -> io::Result<Self> {
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
    pub(crate) fn restart(&self) {
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

/// Makes all threads share one heap. Each further heap reserves 64 MB of addresses, which count
/// against the limit of locked memory (LimitMEMLOCK).
pub fn limit_to_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` takes two integers and no pointer; if it fails, nothing changes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// One message of an I2C transfer.
pub(crate) enum I2cPart<'a> {
    /// Read into this buffer.
    Read(&'a mut [u8]),
    /// Write these bytes.
    Write(&'a [u8]),
}

/// Most messages of one I2C transfer.
pub(crate) const MOST_I2C_PARTS: usize = 4;

// <linux/i2c-dev.h>
const I2C_RETRIES: libc::c_ulong = 0x0701;
const I2C_TIMEOUT: libc::c_ulong = 0x0702;
const I2C_SLAVE: libc::c_ulong = 0x0703;
const I2C_FUNCS: libc::c_ulong = 0x0705;
const I2C_RDWR: libc::c_ulong = 0x0707;
const I2C_SMBUS: libc::c_ulong = 0x0720;

/// `struct i2c_msg` of <linux/i2c.h>.
#[repr(C)]
#[derive(Clone, Copy)]
struct I2cMessage {
    address: u16,
    flags: u16,
    length: u16,
    buffer: *mut u8,
}

/// `struct i2c_rdwr_ioctl_data` of <linux/i2c-dev.h>.
#[repr(C)]
struct I2cMessages {
    messages: *mut I2cMessage,
    count: u32,
}

/// `struct i2c_smbus_ioctl_data` of <linux/i2c-dev.h>.
#[repr(C)]
struct SmbusTransfer {
    read: u8,
    command: u8,
    size: u32,
    data: *mut [u8; SMBUS_DATA],
}

/// `union i2c_smbus_data` of <linux/i2c.h>: a length, 32 bytes, and one spare byte.
const SMBUS_DATA: usize = 34;

/// Bytes of the longest SMBus block.
pub(crate) const SMBUS_BLOCK: usize = 32;

fn i2c_number(
    bus: BorrowedFd<'_>,
    request: libc::c_ulong,
    number: libc::c_ulong,
) -> io::Result<()> {
    // SAFETY: these requests of i2c-dev take an integer, not a pointer; the descriptor is open.
    match unsafe { libc::ioctl(bus.as_raw_fd(), request as _, number) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Disables retries by the kernel, and sets the timeout of a transfer: in steps of 10 ms, at least
/// 10 ms.
pub(crate) fn set_i2c_timeout(bus: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let tens = (time.as_millis() / 10).clamp(1, 100);
    i2c_number(bus, I2C_RETRIES, 0)?;
    i2c_number(bus, I2C_TIMEOUT, tens as libc::c_ulong)
}

/// The functions of the bus's adapter, as `I2C_FUNC_` bits.
pub(crate) fn i2c_functions(bus: BorrowedFd<'_>) -> io::Result<u64> {
    let mut functions: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long to `functions`, which is valid during the call.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_FUNCS as _, &raw mut functions) } {
        0.. => Ok(functions as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes one transfer with a device: `parts` with repeated starts between them.
pub(crate) fn i2c_transfer(
    bus: BorrowedFd<'_>,
    address: u8,
    parts: &mut [I2cPart<'_>],
) -> io::Result<()> {
    const READ: u16 = 1;
    if parts.len() > MOST_I2C_PARTS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut messages = [I2cMessage {
        address: address.into(),
        flags: 0,
        length: 0,
        buffer: std::ptr::null_mut(),
    }; MOST_I2C_PARTS];
    for (message, part) in messages.iter_mut().zip(&mut *parts) {
        let length = match part {
            I2cPart::Read(buffer) => {
                message.flags = READ;
                message.buffer = buffer.as_mut_ptr();
                buffer.len()
            }
            I2cPart::Write(bytes) => {
                message.buffer = bytes.as_ptr().cast_mut();
                bytes.len()
            }
        };
        message.length = u16::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    }
    let mut transfer = I2cMessages {
        messages: messages.as_mut_ptr(),
        count: parts.len() as u32,
    };
    // SAFETY: `count` messages are initialised, each with a buffer of its length that is valid
    // during the call. The kernel writes only to the buffers of reads, which are borrowed mutably.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_RDWR as _, &raw mut transfer) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn smbus(
    bus: BorrowedFd<'_>,
    address: u8,
    read: bool,
    command: u8,
    size: u32,
    data: &mut [u8; SMBUS_DATA],
) -> io::Result<()> {
    i2c_number(bus, I2C_SLAVE, address.into())?;
    let mut transfer = SmbusTransfer {
        read: read.into(),
        command,
        size,
        data,
    };
    // SAFETY: `data` has the size of the kernel's union and is valid during the call.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_SMBUS as _, &raw mut transfer) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes at most [`SMBUS_BLOCK`] bytes, starting at a register: an SMBus "I2C block write".
pub(crate) fn smbus_write(
    bus: BorrowedFd<'_>,
    address: u8,
    register: u8,
    bytes: &[u8],
) -> io::Result<()> {
    const BLOCK: u32 = 8;
    let mut data = [0; SMBUS_DATA];
    let Some(place) = data.get_mut(1..=bytes.len().min(SMBUS_BLOCK)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if place.len() != bytes.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    place.copy_from_slice(bytes);
    data[0] = bytes.len() as u8;
    smbus(bus, address, false, register, BLOCK, &mut data)
}

/// Reads one register.
pub(crate) fn smbus_read(bus: BorrowedFd<'_>, address: u8, register: u8) -> io::Result<u8> {
    const BYTE: u32 = 2;
    let mut data = [0; SMBUS_DATA];
    smbus(bus, address, true, register, BYTE, &mut data)?;
    Ok(data[0])
}
