//! What of the system has no safe interface: priority, signals and I2C.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// Signals whose default is to end a process: here each ends the guard in order, failsafe
/// first. Those of a crash are left as they are.
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

/// Signals that would stop a process from running, or end it for an output without a
/// reader.
const IGNORED: [libc::c_int; 5] = [
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGPIPE,
    libc::SIGXFSZ,
];

/// From now on each signal of [`ENDING`] and each real-time signal ends waiting, and
/// [`ended`] reports it.
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
    // SAFETY: all zeros is a sigaction without flags and mask; the action is SIG_IGN or `end`,
    // which does what a handler may: it stores one atomic.
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

/// Whether a signal asked for the end.
pub(crate) fn ended() -> bool {
    ENDED.load(Ordering::Relaxed)
}

/// The further groups of who is at the other end of a Unix socket, besides the one that
/// `SO_PEERCRED` tells.
///
/// # Errors
/// When there are more of them than `groups` holds, or the kernel cannot tell (before 4.13).
pub(crate) fn peer_groups<'a>(
    line: BorrowedFd<'_>,
    groups: &'a mut [u32],
) -> io::Result<&'a [u32]> {
    let mut length = size_of_val(groups) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the groups, which are plain numbers
    // (gid_t is u32 on Linux), and how many it wrote to `length`; both live through the call.
    let result = unsafe {
        libc::getsockopt(
            line.as_raw_fd(),
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

/// Lets the kernel kill this process, as SIGKILL does, unless it says in time that it lives.
/// That works for one that is stopped (SIGSTOP) too, and to the moment, which a service
/// manager's watchdog does not.
#[derive(Debug)]
pub(crate) struct KillTimer {
    timer: libc::c_int,
    limit: libc::itimerspec,
}

impl KillTimer {
    /// Not running until [`restart`](Self::restart) is first called.
    ///
    /// # Errors
    /// When the system has no timer for it.
    pub(crate) fn new(limit: Duration) -> io::Result<Self> {
        let mut timer: libc::c_int = 0;
        // SAFETY: all zeros is a sigevent; the kernel reads it and writes one int, and both
        // live through the call. The system call itself, as before 2.34 the C library has it
        // in a library of its own.
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
        // SAFETY: all zeros is a time.
        let mut time: libc::itimerspec = unsafe { std::mem::zeroed() };
        time.it_value.tv_sec = limit.as_secs() as libc::time_t;
        time.it_value.tv_nsec = limit.subsec_nanos() as libc::c_long;
        Ok(Self { timer, limit: time })
    }

    /// The limit begins anew.
    pub(crate) fn restart(&self) {
        // SAFETY: the kernel reads the time, which lives through the call, and writes nothing.
        // It fails for no timer of ours.
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
        // SAFETY: a timer of this process, which is not used from here on.
        unsafe {
            libc::syscall(libc::SYS_timer_delete, self.timer);
        }
    }
}

/// One heap for all threads. Each further one reserves 64 MB of addresses, which count where
/// memory is locked (LimitMEMLOCK).
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers and no pointer; where it is refused nothing changes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// A part of an I2C transfer.
pub(crate) enum I2cPart<'a> {
    /// Read into it.
    Read(&'a mut [u8]),
    /// Write it.
    Write(&'a [u8]),
}

/// Most parts of one I2C transfer.
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

/// `union i2c_smbus_data` of <linux/i2c.h>: a length and 32 bytes, and one to spare.
const SMBUS_DATA: usize = 34;

/// Bytes of the longest SMBus block.
pub(crate) const SMBUS_BLOCK: usize = 32;

fn i2c_number(
    bus: BorrowedFd<'_>,
    request: libc::c_ulong,
    number: libc::c_ulong,
) -> io::Result<()> {
    // SAFETY: these requests of i2c-dev take a number, not a pointer; the descriptor is open.
    match unsafe { libc::ioctl(bus.as_raw_fd(), request as _, number) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// No retries by the kernel, and at most this long for a transfer that hangs; in steps of
/// 10 ms, at least one.
pub(crate) fn i2c_patience(bus: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let tens = (time.as_millis() / 10).clamp(1, 100);
    i2c_number(bus, I2C_RETRIES, 0)?;
    i2c_number(bus, I2C_TIMEOUT, tens as libc::c_ulong)
}

/// What the bus's adapter can do, as `I2C_FUNC_` bits.
pub(crate) fn i2c_functions(bus: BorrowedFd<'_>) -> io::Result<u64> {
    let mut functions: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long, which lives through the call.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_FUNCS as _, &raw mut functions) } {
        0.. => Ok(functions as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One transfer with a device: `parts` with repeated starts between them.
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
    // SAFETY: `count` messages are filled in, each with a buffer of its length that lives
    // through the call; the kernel writes only to those marked as reads, which were borrowed
    // mutably.
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
    // SAFETY: `data` is as large as the kernel's union and lives through the call.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_SMBUS as _, &raw mut transfer) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes at most [`SMBUS_BLOCK`] bytes from a register on: an SMBus "I2C block".
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
