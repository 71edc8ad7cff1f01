//! Transfers over an I2C bus, a device of i2c-dev (`/dev/i2c-1`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// One message of an I2C transfer.
pub enum Part<'a> {
    /// Read into this buffer.
    Read(&'a mut [u8]),
    /// Write these bytes.
    Write(&'a [u8]),
}

/// The largest number of messages in one I2C transfer.
pub const MAX_PARTS: usize = 4;

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
pub const SMBUS_BLOCK: usize = 32;

fn number(bus: BorrowedFd<'_>, request: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these requests of i2c-dev take an integer, not a pointer; the descriptor is open.
    match unsafe { libc::ioctl(bus.as_raw_fd(), request as _, value) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Disables retries by the kernel, and sets the timeout of a transfer: `time` in whole steps of
/// 10 ms, from 10 ms to 1 s.
pub fn set_timeout(bus: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let tens = (time.as_millis() / 10).clamp(1, 100);
    number(bus, I2C_RETRIES, 0)?;
    number(bus, I2C_TIMEOUT, tens as libc::c_ulong)
}

/// The functions of the bus's adapter, as `I2C_FUNC_` bits.
pub fn functions(bus: BorrowedFd<'_>) -> io::Result<u64> {
    let mut functions: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long to `functions`, which is valid during the call.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_FUNCS as _, &raw mut functions) } {
        0.. => Ok(functions as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes one transfer with a device: `parts` with repeated starts between them.
pub fn transfer(bus: BorrowedFd<'_>, address: u8, parts: &mut [Part<'_>]) -> io::Result<()> {
    const READ: u16 = 1;
    if parts.len() > MAX_PARTS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut messages = [I2cMessage {
        address: address.into(),
        flags: 0,
        length: 0,
        buffer: std::ptr::null_mut(),
    }; MAX_PARTS];
    for (message, part) in messages.iter_mut().zip(&mut *parts) {
        let length = match part {
            Part::Read(buffer) => {
                message.flags = READ;
                message.buffer = buffer.as_mut_ptr();
                buffer.len()
            }
            Part::Write(bytes) => {
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
    // SAFETY: `count` messages are initialized, each with a buffer of its length that is valid
    // during the call. The kernel writes only to the buffers of reads, which are borrowed mutably.
    match unsafe { libc::ioctl(bus.as_raw_fd(), I2C_RDWR as _, &raw mut transfer) } {
        done if usize::try_from(done) == Ok(parts.len()) => Ok(()),
        0.. => Err(io::ErrorKind::WriteZero.into()),
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
    number(bus, I2C_SLAVE, address.into())?;
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

/// Writes `bytes`, starting at a register: an SMBus "I2C block write".
///
/// # Errors
/// `InvalidInput` for more than [`SMBUS_BLOCK`] bytes; else the system's error.
pub fn smbus_write(bus: BorrowedFd<'_>, address: u8, register: u8, bytes: &[u8]) -> io::Result<()> {
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
pub fn smbus_read(bus: BorrowedFd<'_>, address: u8, register: u8) -> io::Result<u8> {
    const BYTE: u32 = 2;
    let mut data = [0; SMBUS_DATA];
    smbus(bus, address, true, register, BYTE, &mut data)?;
    Ok(data[0])
}
