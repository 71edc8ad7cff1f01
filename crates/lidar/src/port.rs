//! An open lidar: its port, the packets and the turn that has begun.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use pilotage_linux::serial;
use pilotage_vehicle::{Time, monotonic};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;

use crate::packet::{Counts, Packet, Parser};
use crate::turn::{Assembly, TurnEnd};
use crate::{LidarConfig, LidarError};

/// Bits per second.
const BAUD: u32 = 230_400;
/// Bytes per read: 44 ms of a lidar's packets.
const READ: usize = 1024;

/// An open port.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    parser: Parser,
    speed: u16,
    /// Whether the latest turn had no echo.
    is_blind: bool,
}

impl Port {
    /// Opens the port of `config`, to read only.
    pub(crate) fn open(config: &LidarConfig) -> Result<Self, LidarError> {
        let failed = |reason| LidarError::open(&config.port, reason);
        let open = || -> io::Result<File> {
            let file = serial::open(&config.port, false)?;
            // Root may open a port that another process has for itself.
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            serial::take(&file, BAUD)?;
            Ok(file)
        };
        Ok(Self {
            file: open().map_err(failed)?,
            parser: Parser::default(),
            speed: 0,
            is_blind: false,
        })
    }

    /// Waits at most `patience` for bytes, and adds the points that arrived to `assembly`. Passes each
    /// scan that is whole, with its time, to `each`. Allocates nothing.
    pub(crate) fn read(
        &mut self,
        assembly: &mut Assembly,
        patience: Duration,
        mut each: impl FnMut(&Assembly, Time),
    ) -> io::Result<()> {
        let patience = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut waited = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut waited, Some(&patience)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; READ];
        let length = match self.file.read(&mut bytes) {
            // The other end hung up.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = monotonic();
        let (speed, is_blind) = (&mut self.speed, &mut self.is_blind);
        self.parser.take(&bytes[..length], |packet: &Packet| {
            *speed = packet.speed;
            let ended = assembly.take(packet);
            if let Some(end) = ended {
                *is_blind = end == TurnEnd::Blind;
            }
            if ended == Some(TurnEnd::Whole) {
                each(assembly, now);
            }
        });
        Ok(())
    }

    /// What arrived so far.
    pub(crate) fn counts(&self) -> Counts {
        self.parser.counts()
    }

    /// Why there was no scan, if so much arrived.
    pub(crate) fn without_scan(&self, path: &Path) -> LidarError {
        let path = path.to_owned();
        let counts = self.counts();
        match counts.good {
            0 if counts.skipped == 0 => LidarError::Silent { path },
            0 => LidarError::Strange {
                path,
                bytes: counts.skipped,
            },
            _ if self.is_blind => LidarError::Blind { path },
            _ => LidarError::NoTurn { path, counts },
        }
    }

    /// The speed of the turning head, degrees per second.
    pub(crate) fn speed(&self) -> u16 {
        self.speed
    }
}
