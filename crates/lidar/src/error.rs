//! Why a lidar does not work.

use std::io;
use std::path::{Path, PathBuf};

use crate::packet::Counts;

/// The lidar cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LidarError {
    /// The port cannot be opened.
    #[error("the lidar's port {} cannot be opened ({reason}): {fix}", path.display())]
    Open {
        /// The port.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
        /// How to fix it.
        fix: &'static str,
    },
    /// The port was open, and is gone.
    #[error("the lidar's port {} is gone ({reason}): check its cable", path.display())]
    Gone {
        /// The port.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// Nothing arrives.
    #[error(
        "the lidar at {} sends nothing: check its supply (5 V) and the wire from its TX to the port's RX, and \
         that its head turns", path.display()
    )]
    Silent {
        /// The port.
        path: PathBuf,
    },
    /// What arrives is not a lidar's.
    #[error(
        "{} sends {} bytes, and no whole packet of an LD06, LD19 or STL-19P (230400 bits a second): name the \
         lidar's port in car.toml's [lidar], or check its ground and wires", path.display(), bytes
    )]
    Strange {
        /// The port.
        path: PathBuf,
        /// The bytes that arrived.
        bytes: u64,
    },
    /// Packets arrive, and no whole turn.
    #[error(
        "the lidar at {} gives no whole turn: {} packets arrived, and {} were damaged; let its head turn freely \
         (5 to 13 turns a second), and check its ground and wires", path.display(), counts.good, counts.bad
    )]
    NoTurn {
        /// The port.
        path: PathBuf,
        /// What arrived.
        counts: Counts,
    },
    /// Whole turns arrive, without an echo.
    #[error(
        "the lidar at {} sees nothing in any direction: take off what covers it, and clean it", path.display()
    )]
    Blind {
        /// The port.
        path: PathBuf,
    },
    /// The system has no thread.
    #[error("the system has no thread for the lidar: {0}")]
    Thread(io::Error),
}

impl LidarError {
    pub(crate) fn open(path: &Path, reason: io::Error) -> Self {
        let fix = match reason.kind() {
            io::ErrorKind::NotFound => "connect it; its name is in /dev/serial/by-id",
            io::ErrorKind::PermissionDenied => {
                "sudo usermod -aG dialout $USER, then log in again; the service needs the drop-in lidar.conf: \
                 docs/car.md, `[lidar]`"
            }
            io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => {
                "another program has it, such as a drive: end that (`sudo fuser -v` and the port)"
            }
            _ => "name the lidar's serial port in car.toml's [lidar]",
        };
        let path = path.to_owned();
        Self::Open { path, reason, fix }
    }
}
