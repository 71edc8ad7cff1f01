//! A car in Donkeycar's simulator, for Pilotage: its camera as a stream of pictures, its motors as a
//! microcontroller on a serial port.
//!
//! In that simulator a connection is a car, with its camera and its controls. Here a pilot has the
//! camera and a guard the motors, in two processes. The relay holds the connection: the pilot's camera
//! is a socket, from which `pilotage-gym frames` copies, and the guard's port is a pseudo-terminal at
//! whose other end runs what the firmware of `docs/bridge.md` runs, dead-man and brake included.

mod frames;
mod motors;
mod simulator;

use std::io;
use std::net::ToSocketAddrs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread;

use frames::Latest;
pub use frames::copy;
use motors::Motors;
use simulator::Simulator;

/// The name of the camera's socket in the folder.
pub const FRAMES: &str = "frames";
/// The name of the motors' port in the folder.
pub const MOTORS: &str = "motors";

/// What a relay asks the simulator for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The scene.
    pub scene: String,
    /// Width of the pictures, pixels.
    pub width: u32,
    /// Height of the pictures, pixels.
    pub height: u32,
}

/// Removes what an earlier relay left at `path`; anything else is in the way.
fn remove_left(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() || found.is_symlink() => {
            std::fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "this file is in the way: name another folder",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why a relay ends.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// No connection.
    #[error("no simulator at {address}: {reason}; start it first")]
    Connect {
        /// The simulator's address.
        address: String,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The connection has ended.
    #[error("the simulator's connection ended: {0}")]
    Connection(io::Error),
    /// The simulator sent what is no message.
    #[error("the simulator sent what is no message: {0}")]
    Message(String),
    /// The scene is not there.
    #[error("the simulator has no scene `{name}`, but: {}", known.join(", "))]
    Scene {
        /// The scene that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A picture of another size, or none.
    #[error("the simulator's picture is {found}, and not {width} x {height} as was asked for")]
    Picture {
        /// What came.
        found: String,
        /// Asked for, pixels.
        width: u32,
        /// Asked for, pixels.
        height: u32,
    },
    /// The folder's files cannot be made.
    #[error("cannot use {}: {reason}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
}

/// Connects a car of the simulator with the files `frames` and `motors` in `folder`, until the
/// connection ends. `ready` is called with the first picture.
///
/// # Errors
/// Always in the end: see [`RelayError`].
pub fn relay(
    simulator: impl ToSocketAddrs + ToString,
    wanted: Wanted,
    folder: &Path,
    ready: impl FnOnce(),
) -> Result<(), RelayError> {
    let address = simulator.to_string();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |reason| RelayError::Folder { path, reason }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let connected = Simulator::connect(&simulator);
    let (mut simulator, sender) =
        connected.map_err(|reason| RelayError::Connect { address, reason })?;
    let latest = Latest::default();
    let path = folder.join(FRAMES);
    frames::listen(&path, latest.clone()).map_err(failed(&path))?;
    let path = folder.join(MOTORS);
    let motors = Motors::plug(&path, sender).map_err(failed(&path))?;
    thread::spawn(move || motors.run());
    let mut ready = Some(ready);
    loop {
        latest.put(simulator.picture(&wanted)?);
        if let Some(ready) = ready.take() {
            ready();
        }
    }
}
