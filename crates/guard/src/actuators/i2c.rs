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

use super::bus_lock::{self, Hold};
use crate::sys::{self, I2cPart, MOST_I2C_PARTS, SMBUS_BLOCK};

/// A transfer on a bus that hangs gives up after this: the shortest the kernel knows.
const PATIENCE: Duration = Duration::from_millis(10);

// <linux/i2c.h>
const FUNC_I2C: u64 = 0x0000_0001;
const FUNC_READ_BYTE_DATA: u64 = 0x0008_0000;
const FUNC_WRITE_I2C_BLOCK: u64 = 0x0800_0000;

/// How an adapter transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Whatever is asked, by I2C_RDWR.
    Plain,
    /// Only what SMBus knows.
    Smbus,
}

/// One `/dev/i2c-N`, locked against a second writer while its adapter is there. One that was
/// unplugged is opened again, and locked, at the first transfer after it came back.
#[derive(Debug)]
pub struct I2cBus {
    path: PathBuf,
    hold: Hold,
    /// None while its adapter is gone.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    device: File,
    way: Way,
}

/// What the kernel said of a transfer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct I2cError(#[from] pub io::Error);

impl I2cBus {
    /// Opens a bus; waits for another writer as `hold` has it.
    ///
    /// # Errors
    /// `WouldBlock` when another holds it, `Unsupported` when its adapter can neither I2C
    /// transfers nor SMBus's blocks; else the system's reason.
    pub fn open(path: &Path, hold: impl Into<Hold>) -> io::Result<Self> {
        let hold = hold.into();
        Ok(Self {
            path: path.to_owned(),
            open: Some(Open::at(path, hold)?),
            hold: hold.at_once(),
        })
    }
}

impl Open {
    fn at(path: &Path, hold: Hold) -> io::Result<Self> {
        let device = File::options().read(true).write(true).open(path)?;
        bus_lock::lock(&device, path, hold)?;
        let functions = sys::i2c_functions(device.as_fd())?;
        let smbus = FUNC_READ_BYTE_DATA | FUNC_WRITE_I2C_BLOCK;
        let way = if functions & FUNC_I2C != 0 {
            Way::Plain
        } else if functions & smbus == smbus {
            Way::Smbus
        } else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // An adapter that does not know these keeps its own (a Jetson's, i2c-tegra, waits as
        // long as it always does): so transfers run on a thread of their own, see `Worker`.
        let _ = sys::i2c_patience(device.as_fd(), PATIENCE);
        Ok(Self { device, way })
    }

    fn plain(&self, address: u8, operations: &mut [Operation<'_>]) -> io::Result<()> {
        let mut parts: arrayvec::ArrayVec<I2cPart<'_>, MOST_I2C_PARTS> = arrayvec::ArrayVec::new();
        for operation in operations {
            let part = match operation {
                Operation::Read(buffer) => I2cPart::Read(buffer),
                Operation::Write(bytes) => I2cPart::Write(bytes),
            };
            parts
                .try_push(part)
                .map_err(|_| io::ErrorKind::InvalidInput)?;
        }
        sys::i2c_transfer(self.device.as_fd(), address, &mut parts)
    }

    /// Writes to registers, and reads of registers, of a device that counts them up.
    fn smbus(&self, address: u8, operations: &mut [Operation<'_>]) -> io::Result<()> {
        let bus = self.device.as_fd();
        match operations {
            [Operation::Write([register, bytes @ ..])] if !bytes.is_empty() => {
                let mut register = *register;
                for block in bytes.chunks(SMBUS_BLOCK) {
                    sys::smbus_write(bus, address, register, block)?;
                    register = register.wrapping_add(block.len() as u8);
                }
                Ok(())
            }
            [Operation::Write([register]), Operation::Read(buffer)] => {
                let mut register = *register;
                for byte in buffer.iter_mut() {
                    *byte = sys::smbus_read(bus, address, register)?;
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
            None => self.open.insert(Open::at(&self.path, self.hold)?),
        };
        let done = match open.way {
            Way::Plain => open.plain(address, operations),
            Way::Smbus => open.smbus(address, operations),
        };
        // As long as somebody holds the device of an adapter that is gone, the kernel makes
        // none of it when it comes back: `i2c_del_adapter` waits for the last.
        if done.is_err() && replaced(&open.device, &self.path) {
            self.open = None;
        }
        Ok(done?)
    }
}

/// Whether `path` names another device than the open one, or none.
fn replaced(device: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.rdev(), metadata.ino());
    match (device.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) != identity(there),
        _ => true,
    }
}

impl embedded_hal::i2c::Error for I2cError {
    fn kind(&self) -> ErrorKind {
        // As the kernel's Documentation/i2c/fault-codes.rst has them.
        match self.0.raw_os_error() {
            Some(libc::ENXIO) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Some(libc::EREMOTEIO) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            Some(libc::EAGAIN) => ErrorKind::ArbitrationLoss,
            Some(libc::EIO | libc::ETIMEDOUT) => ErrorKind::Bus,
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
    fn a_device_that_is_gone_or_another_is_known() {
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
