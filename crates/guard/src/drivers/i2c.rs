//! The kernel's I2C buses.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_hal::i2c::{
    ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation, SevenBitAddress,
};
use pilotage_linux::i2c::{self, MAX_PARTS, Part, SMBUS_BLOCK};
use rustix::io::Errno;

use super::device_lock::{self, LockPolicy};

/// The timeout of a transfer on a hanging bus: the shortest that the kernel supports.
const TRANSFER_TIMEOUT: Duration = Duration::from_millis(10);

// <linux/i2c.h>
const FUNC_I2C: u64 = 0x0000_0001;
const FUNC_READ_BYTE_DATA: u64 = 0x0008_0000;
const FUNC_WRITE_I2C_BLOCK: u64 = 0x0800_0000;

/// How transfers are made with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransferMode {
    /// Any I2C transfer, with I2C_RDWR.
    Plain,
    /// Only SMBus commands.
    Smbus,
}

/// One `/dev/i2c-N`, locked against a second writer. If its adapter is unplugged, the bus is opened
/// and locked again at the first transfer after the adapter is back.
#[derive(Debug)]
pub struct I2cBus {
    path: PathBuf,
    lock_policy: LockPolicy,
    /// `None` while the adapter is gone.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    device: File,
    mode: TransferMode,
}

/// The kernel's error of a transfer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct I2cError(#[from] pub io::Error);

impl I2cBus {
    /// Opens a bus, and waits for another writer as `lock_policy` specifies.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it, `Unsupported` when its adapter supports neither
    /// I2C transfers nor SMBus block writes; otherwise the system's error.
    pub fn open(path: &Path, lock_policy: impl Into<LockPolicy>) -> io::Result<Self> {
        let lock_policy = lock_policy.into();
        Ok(Self {
            path: path.to_owned(),
            open: Some(Open::at(path, lock_policy)?),
            lock_policy: lock_policy.without_waiting(),
        })
    }
}

impl Open {
    fn at(path: &Path, lock_policy: LockPolicy) -> io::Result<Self> {
        let device = File::options().read(true).write(true).open(path)?;
        device_lock::lock(&device, path, lock_policy)?;
        let functions = i2c::functions(device.as_fd())?;
        let smbus = FUNC_READ_BYTE_DATA | FUNC_WRITE_I2C_BLOCK;
        let mode = if functions & FUNC_I2C != 0 {
            TransferMode::Plain
        } else if functions & smbus == smbus {
            TransferMode::Smbus
        } else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // Some adapter drivers ignore these settings (a Jetson's i2c-tegra keeps its own timeout).
        // Transfers therefore run on their own thread, see `Worker`.
        let _ = i2c::set_timeout(device.as_fd(), TRANSFER_TIMEOUT);
        Ok(Self { device, mode })
    }

    fn plain(&self, address: u8, operations: &mut [Operation<'_>]) -> io::Result<()> {
        let mut parts: arrayvec::ArrayVec<Part<'_>, MAX_PARTS> = arrayvec::ArrayVec::new();
        for operation in operations {
            let part = match operation {
                Operation::Read(buffer) => Part::Read(buffer),
                Operation::Write(bytes) => Part::Write(bytes),
            };
            parts
                .try_push(part)
                .map_err(|_| io::ErrorKind::InvalidInput)?;
        }
        i2c::transfer(self.device.as_fd(), address, &mut parts)
    }

    /// Writes to and reads of consecutive registers of a device with auto-increment.
    fn smbus(&self, address: u8, operations: &mut [Operation<'_>]) -> io::Result<()> {
        let bus = self.device.as_fd();
        match operations {
            [Operation::Write([register, bytes @ ..])] if !bytes.is_empty() => {
                let mut register = *register;
                for block in bytes.chunks(SMBUS_BLOCK) {
                    i2c::smbus_write(bus, address, register, block)?;
                    register = register.wrapping_add(block.len() as u8);
                }
                Ok(())
            }
            [Operation::Write([register]), Operation::Read(buffer)] => {
                let mut register = *register;
                for byte in buffer.iter_mut() {
                    *byte = i2c::smbus_read(bus, address, register)?;
                    register = register.wrapping_add(1);
                }
                Ok(())
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl ErrorType for I2cBus {
    type Error = I2cError;
}

impl I2c<SevenBitAddress> for I2cBus {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), Self::Error> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::at(&self.path, self.lock_policy)?),
        };
        let done = match open.mode {
            TransferMode::Plain => open.plain(address, operations),
            TransferMode::Smbus => open.smbus(address, operations),
        };
        // Close the device of an adapter that is gone. While it is open, the kernel cannot create
        // it again when the adapter comes back: `i2c_del_adapter` waits for the last user.
        if done.is_err() && replaced(&open.device, &self.path) {
            self.open = None;
        }
        Ok(done?)
    }
}

/// Whether `path` is now another device than the open one, or does not exist.
fn replaced(device: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.rdev(), metadata.ino());
    match (device.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) != identity(there),
        _ => true,
    }
}

impl embedded_hal::i2c::Error for I2cError {
    fn kind(&self) -> ErrorKind {
        // As listed in the kernel's Documentation/i2c/fault-codes.rst.
        match Errno::from_io_error(&self.0) {
            Some(Errno::NXIO) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Some(Errno::REMOTEIO) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            Some(Errno::AGAIN) => ErrorKind::ArbitrationLoss,
            Some(Errno::IO | Errno::TIMEDOUT) => ErrorKind::Bus,
            _ => ErrorKind::Other,
        }
    }
}

impl From<I2cError> for io::Error {
    fn from(error: I2cError) -> Self {
        error.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_replaced_device_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i2c-1");
        let open = File::create(&path).unwrap();
        assert!(!replaced(&open, &path));
        fs::rename(&path, folder.path().join("i2c-2")).unwrap();
        assert!(replaced(&open, &path));
        File::create(&path).unwrap();
        assert!(replaced(&open, &path));
    }
}
