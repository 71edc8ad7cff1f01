//! Raw frames from a command's standard output, such as `gst-launch-1.0 nvarguscamerasrc ! ... !
//! fdsink`.
//!
//! A thread reads without a pause, so that the command never waits for the pilot and a frame's
//! first byte gets its time stamp on arrival. Frames are separated by their length alone. A pause
//! within a frame means that the rest of it is lost, and that the following bytes are the next
//! frame.

mod assemble;
mod rows;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pilotage_vehicle::{Clock, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::config::{CameraConfig, PipeSource};
use super::{Camera, CameraError, Counters, Patience};
use assemble::Assembler;
use rows::Rows;

/// How often the reading thread checks whether to end.
const POLL_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// The pipe size that the system allows any user.
const PIPE: usize = 1 << 20;
/// GStreamer without a registry scans its plugins, then NVIDIA's daemon starts the sensor.
/// nvarguscamerasrc itself waits up to 5 s for a frame: a command that is restarted earlier does
/// not report what is wrong.
const FIRST_FRAME: Duration = Duration::from_secs(15);
/// The same for later frames.
const LATER_FRAME: Duration = Duration::from_secs(6);
/// How long the command may take to end after SIGINT. NVIDIA's daemon keeps the session of a
/// program that was killed, and may not open the camera again.
const END: Duration = Duration::from_secs(2);
/// How often the command is checked meanwhile.
const END_INTERVAL: Duration = Duration::from_millis(5);

/// A command that writes frames.
pub struct PipeCamera {
    command: String,
    child: Child,
    reader: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// The buffer that is swapped with the newest frame.
    spare: Vec<u8>,
    format: PixelFormat,
    rows: Rows,
    latency: Duration,
    size: (u32, u32),
    period: Duration,
    timeout: Duration,
    patience: Patience,
    counters: Counters,
}

/// State shared by the thread and the camera. The lock is only held for a swap.
struct Shared {
    newest: Mutex<Newest>,
    arrived: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Newest {
    data: Vec<u8>,
    captured: Time,
    number: u64,
    /// Not yet taken.
    fresh: bool,
    skipped: u64,
    broken: u64,
    /// As [`Assembler::unexpected_frame_len`].
    unexpected_frame_len: Option<usize>,
    ended: bool,
}

impl Shared {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PipeCamera {
    /// Starts the command.
    ///
    /// # Errors
    /// Fails if the command cannot be started, or the size does not fit the pixel format.
    pub fn start(source: &PipeSource, config: &CameraConfig) -> Result<Self, CameraError> {
        let size = (config.width, config.height);
        let rows = Rows::new(source.format, source.planar, size, source.stride)?;
        let len = rows.len();
        let command = source.command.join(" ");
        let failed = |reason| CameraError::Start {
            command: command.clone(),
            reason,
        };
        let (program, arguments) = source
            .command
            .split_first()
            .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // In a process group of its own, so that the command's children can be killed with it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let shared = Arc::new(Shared {
            newest: Mutex::new(Newest {
                data: vec![0; len],
                ..Newest::default()
            }),
            arrived: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let reader = child.stdout.take().map(|output| {
            // A frame that fits into the pipe arrives at once. If the size is not allowed, it
            // arrives in pieces.
            let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE);
            let (shared, period) = (Arc::clone(&shared), config.period());
            let assembler = Assembler::new(len, period);
            thread::spawn(move || watch(&output, assembler, &shared))
        });
        Ok(Self {
            command,
            child,
            reader,
            shared,
            spare: vec![0; len],
            format: source.format,
            rows,
            latency: source.latency,
            size,
            period: config.period(),
            timeout: config.timeout,
            patience: Patience {
                first_frame: config.first_frame.unwrap_or(FIRST_FRAME),
                frame: LATER_FRAME,
            },
            counters: Counters::default(),
        })
    }

    /// The command's frames have another length than expected.
    fn length_error(&self, bytes: usize) -> CameraError {
        let hint = match self.rows.stride_of(bytes) {
            Some(stride) => format!(
                "; if its rows are padded to {stride} bytes, set `camera.stride = {stride}`, or a \
                 width without padding"
            ),
            None => "; make these those of its pictures".to_owned(),
        };
        CameraError::Length {
            command: self.command.clone(),
            bytes,
            expected: self.rows.len(),
            hint,
        }
    }

    /// The command's exit status, if it has ended; waits a moment for a command that is about to
    /// end.
    fn status(&mut self) -> Option<ExitStatus> {
        const PATIENCE: u32 = 20;
        for _ in 0..PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Camera for PipeCamera {
    fn describe(&self) -> String {
        let (width, height) = self.size;
        let rate = 1.0 / self.period.as_secs_f64();
        format!(
            "`{}`, {:?} {width}x{height} at {rate:.4} Hz",
            self.command, self.format
        )
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (self.format, self.size.0, self.size.1)
    }

    fn frame_period(&self) -> Duration {
        self.period
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        self.check_format(frame)?;
        let until = Instant::now() + self.timeout;
        let mut newest = self.shared.newest();
        while !newest.fresh && !newest.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if let Some(bytes) = newest.unexpected_frame_len {
                    return Err(self.length_error(bytes));
                }
                return Err(CameraError::NoFrame {
                    camera: format!("`{}`", self.command),
                    waited: self.timeout,
                    hint: "",
                });
            }
            let waited = self.shared.arrived.wait_timeout(newest, left);
            newest = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.counters.skipped = newest.skipped;
        self.counters.broken = newest.broken;
        if !newest.fresh {
            drop(newest);
            return Err(CameraError::Exited {
                status: self.status(),
                command: self.command.clone(),
            });
        }
        newest.fresh = false;
        // The picture is sheared: its rows begin at other places.
        if let Some(bytes) = newest.unexpected_frame_len {
            return Err(self.length_error(bytes));
        }
        frame.captured = newest.captured - self.latency;
        frame.sequence = newest.number;
        std::mem::swap(&mut newest.data, &mut self.spare);
        drop(newest);
        self.rows.copy(&self.spare, frame.data_mut());
        self.counters.frames += 1;
        Ok(())
    }

    fn patience(&self) -> Patience {
        self.patience
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for PipeCamera {
    fn drop(&mut self) {
        // The process group exists at least until the child has been waited for.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::INT);
            // The thread continues to read, so that the command does not block on its output.
            let until = Instant::now() + END;
            while runs(group) && Instant::now() < until {
                thread::sleep(END_INTERVAL);
            }
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.shared.stopping.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Whether a child runs. It is not reaped, so that its process ID is not given to another process.
fn runs(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(child), options), Ok(None))
}

/// Reads until the command closes its output or the camera is dropped.
fn watch(output: &ChildStdout, mut assembler: Assembler, shared: &Shared) {
    while !shared.stopping.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(output, PollFlags::IN)];
        match poll(&mut fds, Some(&POLL_INTERVAL)) {
            Ok(0) | Err(Errno::INTR | Errno::AGAIN) => continue,
            Ok(_) => {}
            Err(_) => break,
        }
        let now = Monotonic.now();
        let broken = assembler.broken;
        let count = match read(output.as_fd(), assembler.room(now)) {
            Ok(0) => break,
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => break,
        };
        let whole = assembler.received(count);
        if whole || assembler.broken != broken {
            let mut newest = shared.newest();
            newest.broken = assembler.broken;
            newest.unexpected_frame_len = assembler.unexpected_frame_len;
            if whole {
                newest.skipped += u64::from(newest.fresh);
                (newest.captured, newest.number) = assembler.swap(&mut newest.data);
                newest.fresh = true;
                drop(newest);
                shared.arrived.notify_one();
            }
        }
    }
    shared.newest().ended = true;
    shared.arrived.notify_one();
}

#[cfg(test)]
mod tests;
