//! A V4L2 camera: mode and controls chosen from what the device offers, then always
//! its newest frame.
//!
//! What talks to the kernel is behind [`Device`] and [`Buffers`]; everything above is
//! tested with devices that follow a script.

mod choose;
mod controls;
mod fourcc;
mod kernel;
mod newest;
mod pixels;

use std::io;
use std::time::Duration;

use pilotage_vehicle::Clock;
use pilotage_vision::{Frame, PixelFormat};

pub use choose::{Mode, Rates, Sizes};
pub use fourcc::{Fourcc, UnknownFourcc};
pub use kernel::KernelDevice;
pub use newest::Metadata;
pub use v4l2_sys_mit::Description;

use super::config::{CameraConfig, V4lSource};
use super::{Camera, CameraError, Counters, Monotonic};
use newest::Newest;
use pixels::Pixels;

/// Buffers that the kernel fills while one is looked at.
const BUFFERS: u32 = 4;

/// A capture device, opened.
pub trait Device {
    /// Its buffers, once it runs.
    type Buffers: Buffers;

    /// The formats it has, also those that nobody here can read.
    ///
    /// # Errors
    /// The system's.
    fn formats(&self) -> io::Result<Vec<[u8; 4]>>;

    /// The sizes it has in a format; none when it does not say.
    ///
    /// # Errors
    /// The system's.
    fn sizes(&self, format: [u8; 4]) -> io::Result<Vec<Sizes>>;

    /// The rates it has in a format and size; none when it does not say.
    ///
    /// # Errors
    /// The system's.
    fn rates(&self, format: [u8; 4], width: u32, height: u32) -> io::Result<Vec<Rates>>;

    /// Asks for `mode`; what it took instead may differ.
    ///
    /// # Errors
    /// The system's.
    fn set(&mut self, mode: &Mode) -> io::Result<Granted>;

    /// What can be set.
    ///
    /// # Errors
    /// The system's.
    fn controls(&self) -> io::Result<Vec<Description>>;

    /// Sets a control.
    ///
    /// # Errors
    /// The system's.
    fn set_control(&mut self, control: &Description, value: i64) -> io::Result<()>;

    /// Starts it with `buffers` buffers, all of them the kernel's.
    ///
    /// # Errors
    /// The system's.
    fn start(self, buffers: u32) -> io::Result<Self::Buffers>;
}

/// The mode a device took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Granted {
    /// Its format.
    pub format: [u8; 4],
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Frames a second, where it says.
    pub rate: Option<f64>,
}

/// The buffers of a running device, as the crate `v4l` hands them out: what a buffer
/// holds can be seen only as it is taken in exchange for another.
pub trait Buffers {
    /// How many there are.
    fn count(&self) -> usize;

    /// Waits until a filled one can be taken; false when none was in time.
    ///
    /// # Errors
    /// The system's.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool>;

    /// Takes a filled one, unseen.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when there is none.
    fn take(&mut self) -> io::Result<()>;

    /// Gives the one taken last back, then takes another, and shows it.
    ///
    /// # Errors
    /// The system's: EINVAL when the one to give back is the kernel's already,
    /// `WouldBlock` when there is none to take; the kernel has them all then.
    fn exchange(&mut self) -> io::Result<(&[u8], Metadata)>;
}

/// A V4L2 device's frames, the newest there is each time.
pub struct V4lCamera<B = kernel::KernelBuffers, C = Monotonic> {
    name: String,
    mode: Mode,
    newest: Newest<B, C>,
    pixels: Pixels,
    timeout: Duration,
}

impl V4lCamera {
    /// Opens the device that `source` names.
    ///
    /// # Errors
    /// When it is not there, or lacks what `source` and `config` ask for.
    pub fn open(source: &V4lSource, config: &CameraConfig) -> Result<Self, CameraError> {
        let device = KernelDevice::open(&source.device)?;
        Self::with_device(device, Monotonic, source, config)
    }
}

impl<B: Buffers, C: Clock> V4lCamera<B, C> {
    /// Sets up `device` and starts it; `clock` is the one its time stamps are on.
    ///
    /// # Errors
    /// When it lacks what `source` and `config` ask for.
    pub fn with_device<D: Device<Buffers = B>>(
        mut device: D,
        clock: C,
        source: &V4lSource,
        config: &CameraConfig,
    ) -> Result<Self, CameraError> {
        let name = source.device.display().to_string();
        let failed = |what| {
            let camera = name.clone();
            move |reason| CameraError::SetUp {
                camera,
                what,
                reason,
            }
        };
        let mode = choose::mode(&device, &name, source.format, config)?;
        let granted = device.set(&mode).map_err(failed("take a mode"))?;
        choose::granted(&name, &mode, &granted)?;
        let pixels = Pixels::new(&mode, granted.stride)?;
        controls::set(&mut device, &name, &source.controls)?;
        let buffers = device.start(BUFFERS).map_err(|reason| CameraError::Open {
            camera: name.clone(),
            hint: kernel::hint(&reason),
            reason,
        })?;
        Ok(Self {
            newest: Newest::new(buffers, clock),
            name,
            mode,
            pixels,
            timeout: config.timeout,
        })
    }
}

impl<B: Buffers, C: Clock> Camera for V4lCamera<B, C> {
    fn describe(&self) -> String {
        format!("{}, {}", self.name, self.mode)
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        let Mode {
            format,
            width,
            height,
            ..
        } = self.mode;
        (format.pixels(), width, height)
    }

    fn frame_period(&self) -> Duration {
        self.mode.period()
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        let (format, width, height) = self.format();
        if (frame.format(), frame.width(), frame.height()) != (format, width, height) {
            return Err(CameraError::FrameSize { width, height });
        }
        let until = self.newest.now() + self.timeout;
        loop {
            let left = until.since(self.newest.now());
            let pixels = &mut self.pixels;
            let put = &mut |bytes: &[u8]| pixels.put(bytes, frame.data_mut());
            match self.newest.next(left, put) {
                Ok(Some(taken)) if self.pixels.finish(frame.data_mut()) => {
                    frame.captured = taken.captured;
                    frame.sequence = taken.sequence;
                    return Ok(());
                }
                Ok(Some(_)) => self.newest.was_broken(),
                Ok(None) => {
                    return Err(CameraError::NoFrame {
                        camera: self.name.clone(),
                        waited: self.timeout,
                        hint: self.newest.excuse(),
                    });
                }
                Err(reason) => {
                    return Err(CameraError::Gone {
                        camera: self.name.clone(),
                        reason,
                    });
                }
            }
        }
    }

    fn counters(&self) -> Counters {
        self.newest.counters()
    }
}

#[cfg(test)]
mod tests;
