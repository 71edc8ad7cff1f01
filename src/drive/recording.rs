//! The recording of a drive, by the thread that takes the camera's frames or by the loop.

use std::sync::Arc;

use pilotage_camera::BoxedCamera;
use pilotage_vehicle::Mixer;
use pilotage_vision::{FrameView, PixelFormat};

use super::watch::say;
use crate::high_level::Commands;
use crate::recorder::{
    Folder, FrameTaker, Numbers, Recorder, RecorderError, RecordingCounts, RecordingReport, Steered,
};
use crate::sensors::Sensors;
use crate::simulation::SimulatedClock;

/// The recording of a drive.
pub enum Recording {
    /// By hand, the loop does not wait for the physical camera: a thread takes its frames.
    Thread(FrameTaker, Arc<Steered>),
    /// The loop has each frame, with the command that answers it.
    Loop(Recorder, Steered, Option<SimulatedClock>),
}

impl Recording {
    /// Records the frames of a physical `camera` while an operator drives, with `numbers`: the high-level
    /// command, and what the sensors measure.
    ///
    /// # Errors
    /// Fails if the recording or its thread cannot be created.
    pub fn of_camera(
        camera: BoxedCamera,
        folder: Folder,
        mixer: Mixer,
        numbers: (Option<Arc<Commands>>, Option<Box<dyn Sensors + Send>>),
        always: bool,
    ) -> Result<Self, RecorderError> {
        let steered = Arc::new(Steered::new(always));
        let shared = Arc::clone(&steered);
        let taker = FrameTaker::start(camera, folder, mixer, numbers, shared, say)?;
        Ok(Self::Thread(taker, steered))
    }

    /// Records the loop's frames. Where time is simulated by `clock`, a slow disk delays the loop,
    /// which takes no simulated time and loses nothing.
    ///
    /// # Errors
    /// Fails if the recording or its thread cannot be created.
    pub fn of_loop(
        format: (PixelFormat, u32, u32),
        folder: Folder,
        mixer: Mixer,
        commands: Option<Arc<Commands>>,
        (always, clock): (bool, Option<SimulatedClock>),
    ) -> Result<Self, RecorderError> {
        let recorder = Recorder::start(format, folder, mixer, commands, clock.is_some(), say)?;
        Ok(Self::Loop(recorder, Steered::new(always), clock))
    }

    /// Writes at most this many frames. Call it before the first frame.
    #[must_use]
    pub fn keep(self, most: Option<u64>) -> Self {
        match self {
            Self::Thread(taker, steered) => Self::Thread(taker.keep(most), steered),
            Self::Loop(recorder, steered, clock) => Self::Loop(recorder.keep(most), steered, clock),
        }
    }

    /// Sets the values in effect from now on; not `driven` means that nothing drives. If the loop
    /// records, records its new `frame` with them, and with `numbers`.
    pub fn take(
        &mut self,
        (driven, steering, throttle): (bool, f32, f32),
        numbers: Numbers<'_>,
        frame: Option<FrameView<'_>>,
    ) {
        match self {
            Self::Thread(_, steered) => steered.set(driven, steering, throttle),
            Self::Loop(recorder, steered, clock) => {
                steered.set(driven, steering, throttle);
                let (Some(frame), Some(values)) = (frame, steered.get()) else {
                    return;
                };
                match clock {
                    Some(clock) => clock.outside(|| recorder.take(frame, values, numbers)),
                    None => recorder.take(frame, values, numbers),
                }
            }
        }
    }

    /// Counters of the frames so far.
    pub fn counts(&self) -> RecordingCounts {
        match self {
            Self::Thread(taker, _) => taker.counts(),
            Self::Loop(recorder, ..) => recorder.counts(),
        }
    }

    /// Whether the camera has no more pictures.
    pub fn ended(&self) -> bool {
        match self {
            Self::Thread(taker, _) => taker.ended(),
            // The loop itself ends then.
            Self::Loop(..) => false,
        }
    }

    /// Waits until the frames in flight are written, and returns the result.
    pub fn finish(self) -> RecordingReport {
        match self {
            Self::Thread(taker, _) => taker.finish(),
            Self::Loop(recorder, ..) => recorder.finish(),
        }
    }
}
