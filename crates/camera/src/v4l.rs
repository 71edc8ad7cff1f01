//! A V4L2 camera. The mode is chosen from those that the device offers, the requested controls are
//! set, and each read gives the newest frame.
//!
//! The kernel is accessed through the traits [`Device`] and [`Buffers`]; the code that uses them is
//! tested with scripted devices.

mod choose;
mod controls;
mod kernel;
mod newest;
mod pixels;

use std::io;
use std::time::Duration;

use pilotage_vehicle::{Clock, Monotonic};
use pilotage_vision::{Frame, PixelFormat};

pub use super::fourcc::{Fourcc, UnknownFourcc};
pub use choose::{Mode, Rates, Sizes};
pub use kernel::KernelDevice;
pub use newest::Metadata;
pub use v4l2_sys_mit::Description;

use super::config::{CameraConfig, V4lSource};
use super::{Camera, CameraError, Counters, Patience};
use newest::Newest;
use pixels::Pixels;

/// The number of buffers to request. While one is in use, the kernel fills the others.
const BUFFERS: u32 = 4;

/// An open capture device.
pub trait Device {
    /// The device's buffers, once the device is started.
    type Buffers: Buffers;

    /// The device's formats, including unsupported ones.
    ///
    /// # Errors
    /// The system's error.
    fn formats(&self) -> io::Result<Vec<[u8; 4]>>;

    /// The device's sizes in a format; empty if the device does not list them.
    ///
    /// # Errors
    /// The system's error.
    fn sizes(&self, format: [u8; 4]) -> io::Result<Vec<Sizes>>;

    /// The device's rates in a format and size; empty if the device does not list them.
    ///
    /// # Errors
    /// The system's error.
    fn rates(&self, format: [u8; 4], width: u32, height: u32) -> io::Result<Vec<Rates>>;

    /// Requests `mode`. The mode that the device selects may differ.
    ///
    /// # Errors
    /// The system's error.
    fn set(&mut self, mode: &Mode) -> io::Result<Granted>;

    /// The device's controls.
    ///
    /// # Errors
    /// The system's error.
    fn controls(&self) -> io::Result<Vec<Description>>;

    /// Sets a control.
    ///
    /// # Errors
    /// The system's error.
    fn set_control(&mut self, control: &Description, value: i64) -> io::Result<()>;

    /// Starts the device with `buffers` buffers, all queued in the kernel.
    ///
    /// # Errors
    /// The system's error.
    fn start(self, buffers: u32) -> io::Result<Self::Buffers>;
}

/// The mode that a device selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Granted {
    /// The pixel format.
    pub format: [u8; 4],
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Frames per second, if the device reports it.
    pub rate: Option<f64>,
}

/// The buffers of a running device, with the interface of the crate `v4l`: the content of a buffer
/// is only accessible when it is taken in exchange for another.
pub trait Buffers {
    /// The number of buffers.
    fn count(&self) -> usize;

    /// Waits until a filled buffer can be taken; false if none was filled in time.
    ///
    /// # Errors
    /// The system's error.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool>;

    /// Takes a filled buffer, whose content is not accessible.
    ///
    /// # Errors
    /// The system's error; `WouldBlock` if there is none.
    fn take(&mut self) -> io::Result<()>;

    /// Returns the held buffer to the kernel, then takes a filled one and gives access to its
    /// content.
    ///
    /// # Errors
    /// The system's error: EINVAL if the kernel already has the buffer to return, `WouldBlock` if
    /// there is no filled buffer to take. In both cases the kernel then has all buffers.
    fn exchange(&mut self) -> io::Result<(&[u8], Metadata)>;
}

/// Frames of a V4L2 device, always the newest one.
pub struct V4lCamera<B = kernel::KernelBuffers, C = Monotonic> {
    name: String,
    mode: Mode,
    newest: Newest<B, C>,
    pixels: Pixels,
    timeout: Duration,
    patience: Patience,
}

impl V4lCamera {
    /// Opens the device that `source` names.
    ///
    /// # Errors
    /// Fails if the device cannot be opened, or lacks what `source` and `config` request.
    pub fn open(source: &V4lSource, config: &CameraConfig) -> Result<Self, CameraError> {
        let device = KernelDevice::open(&source.device)?;
        Self::with_device(device, Monotonic, source, config)
    }
}

impl<B: Buffers, C: Clock> V4lCamera<B, C> {
    /// Sets up `device` and starts it; `clock` is the clock of the device's time stamps.
    ///
    /// # Errors
    /// Fails if the device lacks what `source` and `config` request, or does not start.
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
        let default = Patience::default();
        Ok(Self {
            newest: Newest::new(buffers, clock),
            name,
            mode,
            pixels,
            timeout: config.timeout,
            patience: Patience {
                first_frame: config.first_frame.unwrap_or(default.first_frame),
                ..default
            },
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
        self.check_format(frame)?;
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
                Ok(Some(_)) => self.newest.mark_last_broken(),
                Ok(None) => {
                    return Err(CameraError::NoFrame {
                        camera: self.name.clone(),
                        waited: self.timeout,
                        hint: self.newest.hint_for_missing_frame(),
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

    fn patience(&self) -> Patience {
        self.patience
    }

    fn counters(&self) -> Counters {
        self.newest.counters()
    }
}

#[cfg(test)]
mod tests;
