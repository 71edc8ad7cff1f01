//! Access to a V4L2 device through the crate `v4l`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_vehicle::Time;
use v4l::buffer::{Flags, Type};
use v4l::control::{Control, Value};
use v4l::format::{Format, FourCC};
use v4l::fraction::Fraction;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;

use super::{Buffers, Description, Device, Granted, Metadata, Mode, Rates, Sizes};
use crate::CameraError;

/// With fewer buffers the kernel would have none to fill while one is in use.
const FEWEST: usize = 2;
/// `poll`'s flag for "data to read".
const POLLIN: i16 = 1;

/// An open V4L2 device.
pub struct KernelDevice {
    device: v4l::Device,
    /// A second file descriptor, for calls that `v4l` has no safe function for.
    file: File,
}

impl KernelDevice {
    /// Opens the node at `path`.
    ///
    /// # Errors
    /// Fails if the node does not exist, or this user may not read and write it.
    pub fn open(path: &Path) -> Result<Self, CameraError> {
        let failed = |reason: io::Error| CameraError::Open {
            camera: path.display().to_string(),
            hint: hint(&reason),
            reason,
        };
        // This also rejects a path that contains a NUL byte.
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(failed)?;
        let device = v4l::Device::with_path(path).map_err(failed)?;
        Ok(Self { device, file })
    }
}

/// A hint for the user on how to fix `reason`.
pub(super) fn hint(reason: &io::Error) -> String {
    match reason.kind() {
        io::ErrorKind::NotFound => {
            let existing = nodes();
            match existing.is_empty() {
                true => "; no video device was found: is the camera plugged in?".to_owned(),
                false => format!("; existing devices: {}", existing.join(", ")),
            }
        }
        io::ErrorKind::PermissionDenied => {
            "; this user has no permission: add the user to the group `video`".to_owned()
        }
        io::ErrorKind::ResourceBusy => "; another program uses it".to_owned(),
        _ => String::new(),
    }
}

/// The nodes such as /dev/video0.
fn nodes() -> Vec<String> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut nodes: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    nodes.retain(|path| path.to_string_lossy().starts_with("/dev/video"));
    nodes.sort();
    nodes
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

/// Converts a panic of `v4l` to an error. `v4l` panics on unknown values: a name that is not UTF-8,
/// a newer colour space. An unusual camera must not end the program.
fn catch_panic<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let what = "the driver returned a value that the crate `v4l` does not support";
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    })
}

/// An empty list if the driver does not implement the query.
fn listed<T>(answer: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    match answer {
        Err(error) if not_implemented(&error) => Ok(Vec::new()),
        answer => answer,
    }
}

/// ENOTTY and EINVAL: the driver does not implement the call.
fn not_implemented(error: &io::Error) -> bool {
    const ENOTTY: i32 = 25;
    error.raw_os_error() == Some(ENOTTY) || error.kind() == io::ErrorKind::InvalidInput
}

impl Device for KernelDevice {
    type Buffers = KernelBuffers;

    fn formats(&self) -> io::Result<Vec<[u8; 4]>> {
        let formats = catch_panic(|| self.device.enum_formats())?;
        Ok(formats.iter().map(|format| format.fourcc.repr).collect())
    }

    fn sizes(&self, format: [u8; 4]) -> io::Result<Vec<Sizes>> {
        let code = FourCC::new(&format);
        let sizes = listed(catch_panic(|| self.device.enum_framesizes(code)))?;
        let sizes = sizes.into_iter().map(|size| match size.size {
            FrameSizeEnum::Discrete(size) => Sizes::One(size.width, size.height),
            FrameSizeEnum::Stepwise(size) => Sizes::Steps {
                width: (size.min_width, size.max_width, size.step_width),
                height: (size.min_height, size.max_height, size.step_height),
            },
        });
        Ok(sizes.collect())
    }

    fn rates(&self, format: [u8; 4], width: u32, height: u32) -> io::Result<Vec<Rates>> {
        let code = FourCC::new(&format);
        let rates = catch_panic(|| self.device.enum_frameintervals(code, width, height));
        let interval = |part: Fraction| (part.numerator, part.denominator);
        let rates = listed(rates)?.into_iter().map(|rate| match rate.interval {
            FrameIntervalEnum::Discrete(one) => Rates::One(interval(one)),
            FrameIntervalEnum::Stepwise(steps) => {
                Rates::Between(interval(steps.min), interval(steps.max))
            }
        });
        Ok(rates.collect())
    }

    fn set(&mut self, mode: &Mode) -> io::Result<Granted> {
        let code = FourCC::new(&mode.format.letters());
        let requested = Format::new(mode.width, mode.height, code);
        let got = catch_panic(|| self.device.set_format(&requested))?;
        let (seconds, parts) = mode.interval;
        let requested = Parameters::new(Fraction::new(seconds, parts));
        let rate = match catch_panic(|| self.device.set_params(&requested)) {
            Ok(got) if got.interval.numerator > 0 && got.interval.denominator > 0 => {
                let Fraction {
                    numerator,
                    denominator,
                } = got.interval;
                Some(f64::from(denominator) / f64::from(numerator))
            }
            Ok(_) => None,
            Err(error) if not_implemented(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Granted {
            format: got.fourcc.repr,
            width: got.width,
            height: got.height,
            stride: got.stride,
            rate,
        })
    }

    fn controls(&self) -> io::Result<Vec<Description>> {
        v4l2_sys_mit::controls(&self.file)
    }

    fn set_control(&mut self, control: &Description, value: i64) -> io::Result<()> {
        self.device.set_control(Control {
            id: control.id,
            value: Value::Integer(value),
        })
    }

    fn start(self, buffers: u32) -> io::Result<KernelBuffers> {
        catch_panic(|| {
            let stream = Stream::with_buffers(&self.device, Type::VideoCapture, buffers)?;
            let mut running = KernelBuffers {
                count: 0,
                stream: Some(stream),
            };
            running.fill(buffers as usize)?;
            Ok(running)
        })
    }
}

/// The mapped buffers of a running device, which is closed with them.
pub struct KernelBuffers {
    /// `None` only during `drop`.
    stream: Option<Stream<'static>>,
    count: usize,
}

impl KernelBuffers {
    /// Queues the `requested` buffers in the kernel, and starts. If the driver has allocated fewer,
    /// it refuses the first buffer beyond them.
    fn fill(&mut self, requested: usize) -> io::Result<()> {
        let stream = self.stream()?;
        let mut count = 0;
        while count < requested {
            match CaptureStream::queue(stream, count) {
                Ok(()) => count += 1,
                Err(error) if count > 0 && error.kind() == io::ErrorKind::InvalidInput => break,
                Err(error) => return Err(error),
            }
        }
        if count < FEWEST {
            let what = "the driver allocated fewer than two buffers, and one is always in use";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        stream.start()?;
        self.count = count;
        Ok(())
    }

    fn stream(&mut self) -> io::Result<&mut Stream<'static>> {
        self.stream
            .as_mut()
            .ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl Buffers for KernelBuffers {
    fn count(&self) -> usize {
        self.count
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        // Rounded up: `poll` would not wait at all for less than a millisecond.
        let millis = timeout.as_micros().div_ceil(1000);
        let millis = i32::try_from(millis).unwrap_or(i32::MAX);
        Ok(self.stream()?.handle().poll(POLLIN, millis)? > 0)
    }

    fn take(&mut self) -> io::Result<()> {
        CaptureStream::dequeue(self.stream()?).map(|_| ())
    }

    fn exchange(&mut self) -> io::Result<(&[u8], Metadata)> {
        let (bytes, kernels) = CaptureStream::next(self.stream()?)?;
        let monotonic = kernels.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
        let metadata = Metadata {
            sequence: kernels.sequence,
            captured: monotonic.then(|| moment(kernels.timestamp)),
            damaged: kernels.flags.contains(Flags::ERROR),
            len: kernels.bytesused as usize,
        };
        Ok((bytes, metadata))
    }
}

fn moment(stamp: v4l::Timestamp) -> Time {
    let seconds = u64::try_from(stamp.sec).unwrap_or(0);
    let micros = u64::try_from(stamp.usec).unwrap_or(0);
    Time::from_nanos(
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(micros * 1000),
    )
}

impl Drop for KernelBuffers {
    fn drop(&mut self) {
        let stream = self.stream.take();
        // `v4l` panics if a failed device cannot be stopped.
        let _ = catch_panic(|| {
            drop(stream);
            Ok(())
        });
    }
}
