//! The pilot: converts each frame to one command.

mod decode;
mod dropped;

pub use decode::{DecodeError, Decoder};
pub use dropped::Dropped;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_engine::{
    AfterGap, ElementType, Engine, EngineError, InputRules, Inputs, InputsError, NoPath, NoScan,
    TensorMut, Timing, Unmeasured,
};
use pilotage_guard::{CommandLink, LinkError, OperatorLink, State};
use pilotage_tap::{FaultDetail, Gap, Sensed};
use pilotage_vehicle::{Clock, Command, Controls, Fault, Measurements, Mixer, Scan, Time};
use pilotage_vision::{Frame, FrameView, Preprocess, Vision, VisionError};

use pilotage_camera::{Camera, CameraError};

use crate::high_level::Commands;
use crate::sensors::{self, Sensors, Unfit};

/// The components of a pilot.
pub struct Parts<L: ?Sized = dyn OperatorLink> {
    /// The source of frames.
    pub camera: Box<dyn Camera>,
    /// Converts a frame to the engine's input.
    pub preprocess: Preprocess,
    /// Runs the network.
    pub engine: Box<dyn Engine>,
    /// Converts the network's outputs to controls.
    pub decoder: Decoder,
    /// What the engine gets besides the present picture.
    pub rules: InputRules,
    /// What measures on the car; `None` if nothing does.
    pub sensors: Option<Box<dyn Sensors>>,
    /// The high-level commands, if the engine gets one.
    pub commands: Option<Arc<Commands>>,
    /// The car's geometry.
    pub mixer: Mixer,
    /// The connection to the guard.
    pub link: Box<L>,
    /// The clock that all components share.
    pub clock: Box<dyn Clock>,
}

/// Joins camera, engine and the link to the guard. The loop body, [`step`](Self::step), allocates
/// nothing unless it fails. A camera that decodes JPEG or PNG pictures may allocate.
///
/// A pilot needs a [`CommandLink`]: it sends commands, and arms nothing. The link of a drive also
/// carries its operator's requests.
pub struct Pilot<L: CommandLink + ?Sized = dyn OperatorLink> {
    parts: Parts<L>,
    /// `None` if the network gets no picture.
    vision: Option<Vision>,
    frame: Frame,
    /// The sequence number of the latest frame.
    seen: Option<u64>,
    /// Whether the latest frame was not answered, so that the network's memory lacks it.
    unfinished: bool,
    /// The latest command that was sent to the guard.
    sent: Option<Command>,
    inputs: Inputs,
    /// All outputs, concatenated. Values of integer outputs are stored without scaling.
    answers: Vec<f32>,
    /// As long as `answers`: the engine writes integer outputs here.
    integers: Vec<i8>,
    /// The sensors' latest numbers.
    measured: Measurements,
    /// How long ago they were measured.
    measured_age: Duration,
    /// The lidar's latest scan.
    scan: Scan,
    /// How long ago it was complete.
    scan_age: Duration,
}

/// The result of one iteration of the loop.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The network's controls.
    pub controls: Controls,
    /// The command that was sent to the guard.
    pub command: Command,
    /// When the loop received the frame.
    pub arrived: Time,
    /// The time from the frame's arrival to the filled input of the network.
    pub vision: Duration,
    /// The time that the engine took.
    pub inference: Duration,
    /// The share of `inference` that the device (a GPU) took; `None` if it does not differ.
    pub device: Option<Duration>,
    /// Whether the fallback answered in the engine's place.
    pub fallback: bool,
    /// The time from the frame's arrival until the command was sent, without the wait for the
    /// frame.
    pub thinking: Duration,
    /// The number of frames that were missed since the previous one.
    pub missed: u64,
    /// What the car's sensors measured.
    pub measured: Measurements,
    /// The place of the high-level command, if the engine gets one.
    pub high_level: Option<u8>,
    /// For the previous command: the time from its frame's capture until the guard accepted it.
    /// `None` if the guard did not accept it, or has not reported so.
    pub reaction: Option<Duration>,
}

/// Why a pilot cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The engine's inputs are not what its recipe makes.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// Nothing measures what the engine gets.
    #[error(transparent)]
    Sensors(#[from] Unfit),
    /// An output is neither f32 nor i8.
    #[error("output `{0}` is neither f32 nor i8; compile the engine again")]
    Output(String),
    /// The recipe's input does not fit the camera.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The recipe's outputs do not fit the engine.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why an iteration of the loop sent no command. [`Pilot::step`] reports the fault to the guard.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// No frame.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The frame's format is not the camera's.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// Frames were missed or not answered, and the network's memory must not go on without them.
    #[error(
        "{missed} frame(s) were missed, and the recipe's `memory.after_gap` is \"stop\"; with \
         \"reset\" the network's memory would start anew"
    )]
    Gap {
        /// How many.
        missed: u64,
    },
    /// A number that the network gets is missing or too old.
    #[error(
        "the sensors give no `{}`{}, and the recipe's `missing` is \"stop\"; check the sensor \
         (`pilotage doctor` reads an inertial unit; a VESC needs firmware that answers COMM_GET_VALUES_SELECTIVE)",
        .0.measurement.name(),
        .0.age.map_or(String::new(), |age| format!(" that is recent enough (it is {} ms old)", age.as_millis()))
    )]
    Unmeasured(Unmeasured),
    /// The scan that the network gets is missing or too old.
    #[error(
        "the lidar gives no scan{}, and the recipe's `scan.missing` is \"stop\"; check the lidar",
        .0.age.map_or(String::new(), |age| format!(" that is recent enough (it is {} ms old)", age.as_millis()))
    )]
    NoScan(NoScan),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine's answer is no path that the car can follow.
    #[error(transparent)]
    Path(#[from] NoPath),
    /// The command could not be sent to the guard.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl StepError {
    /// The fault that is reported to the guard.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Camera(error) => error.fault(),
            Self::Vision(_) | Self::Gap { .. } => Fault::Camera,
            Self::Engine(_) | Self::Path(_) => Fault::Engine,
            Self::Unmeasured(_) | Self::NoScan(_) | Self::Link(_) => Fault::Pilot,
        }
    }

    /// What exactly failed, for the drive log.
    pub const fn detail(&self) -> FaultDetail {
        match self {
            Self::Camera(error) => match error {
                CameraError::Simulation(_) => FaultDetail::GuardGone,
                CameraError::NoFrame { .. } | CameraError::NoFirstFrame { .. } => {
                    FaultDetail::NoFrame
                }
                CameraError::Frozen { .. } => FaultDetail::FrozenPicture,
                CameraError::Black { .. } => FaultDetail::BlackPicture,
                CameraError::FrameSize { .. }
                | CameraError::Length { .. }
                | CameraError::Size(_)
                | CameraError::Changed { .. }
                | CameraError::Folder(_)
                | CameraError::Sizes { .. } => FaultDetail::BadFrame,
                _ => FaultDetail::CameraGone,
            },
            Self::Vision(_) => FaultDetail::BadFrame,
            Self::Gap { .. } => FaultDetail::NoFrame,
            Self::Unmeasured(_) => FaultDetail::NoMeasurement,
            Self::NoScan(_) => FaultDetail::NoScan,
            Self::Engine(error) => match error {
                EngineError::Late { .. } | EngineError::Stuck { .. } => FaultDetail::EngineLate,
                EngineError::NotFinite => FaultDetail::NotFinite,
                _ => FaultDetail::EngineFailed,
            },
            Self::Path(NoPath::NotFinite) => FaultDetail::NotFinite,
            Self::Path(_) => FaultDetail::NoPath,
            Self::Link(LinkError::Gone | LinkError::Replaced) => FaultDetail::GuardGone,
            Self::Link(_) => FaultDetail::GuardSilent,
        }
    }
}

impl<L: CommandLink + ?Sized> Pilot<L> {
    /// Joins `parts`.
    ///
    /// # Errors
    /// Fails if two components do not fit together.
    pub fn new(mut parts: Parts<L>) -> Result<Self, BuildError> {
        let (format, width, height) = parts.camera.format();
        let vision = match parts.preprocess.is_none() {
            true => None,
            false => Some(Vision::new(&parts.preprocess, width, height, format)?),
        };
        let frame = Frame::new(format, width, height)?;
        let supported = [ElementType::F32, ElementType::I8];
        if let Some(port) = parts
            .engine
            .outputs()
            .iter()
            .find(|port| !supported.contains(&port.element_type))
        {
            return Err(BuildError::Output(port.name.clone()));
        }
        parts.decoder.bind(parts.engine.outputs())?;
        sensors::check(&parts.rules, parts.sensors.as_deref())?;
        let inputs = Inputs::new(
            &parts.rules,
            parts.preprocess.picture_form(),
            (parts.engine.inputs(), parts.engine.outputs()),
            &parts.decoder.outputs(),
        )?;
        let answers = parts.engine.outputs().iter().map(|port| port.len()).sum();
        Ok(Self {
            parts,
            vision,
            frame,
            seen: None,
            unfinished: false,
            sent: None,
            inputs,
            answers: vec![0.0; answers],
            integers: vec![0; answers],
            measured: Measurements::default(),
            measured_age: Duration::ZERO,
            scan: Scan::default(),
            scan_age: Duration::ZERO,
        })
    }

    /// Runs vision and engine on a frame whose bytes are zero, so that the first frame takes no
    /// longer than the others. To be called before the first [`step`](Self::step). Nothing is sent.
    ///
    /// # Errors
    /// Fails if vision or the engine fails.
    pub fn prepare(&mut self) -> Result<(), StepError> {
        self.parts.engine.prepare()?;
        for _ in 0..3 {
            self.preprocess()?;
            self.inputs.advance(false);
            self.infer()?;
        }
        self.forget();
        Ok(())
    }

    /// Starts the network's memory anew: the next frame does not follow the latest one.
    pub fn forget(&mut self) {
        self.inputs.reset();
        self.seen = None;
        self.unfinished = false;
    }

    /// The connection to the guard.
    pub fn link(&mut self) -> &mut L {
        &mut self.parts.link
    }

    /// The source of frames.
    pub fn camera(&self) -> &dyn Camera {
        &*self.parts.camera
    }

    /// The latest frame; before the first, a frame whose bytes are zero.
    pub fn frame(&self) -> FrameView<'_> {
        self.frame.view()
    }

    /// The network's latest outputs, concatenated.
    pub fn outputs(&self) -> &[f32] {
        &self.answers
    }

    /// What the car's sensors gave at the latest frame, and what the engine lacked.
    pub fn sensed(&self) -> Sensed {
        let lacking = self.inputs.lacking();
        Sensed {
            measured: self.measured,
            measured_age: self.measured_age,
            scan_age: self.scan_age,
            lacking: lacking.measured,
            scan_lacking: lacking.scan,
            gap: match lacking.after_gap {
                Some(AfterGap::Hold) => Some(Gap::Held),
                Some(AfterGap::Reset) => Some(Gap::Reset),
                // The fault says so.
                Some(AfterGap::Stop) | None => None,
            },
        }
    }

    /// The lidar's scan at the latest frame, if there is one.
    pub fn scan(&self) -> Option<&Scan> {
        Some(&self.scan).filter(|scan| scan.is_whole())
    }

    /// The high-level command that is set, if the engine gets one.
    fn high_level_command(&self) -> Option<u8> {
        self.parts.commands.as_ref()?.place()
    }

    /// What the engine gets besides the present picture.
    pub fn rules(&self) -> &InputRules {
        &self.parts.rules
    }

    /// What measures on the car.
    pub fn sensors(&self) -> Option<&dyn Sensors> {
        self.parts.sensors.as_deref()
    }

    /// The present time.
    pub fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// Waits for a frame, runs the network, and sends a command to the guard.
    ///
    /// # Errors
    /// Fails if a component fails. The fault is then reported to the guard, which stops the car; if
    /// the report is lost, the guard stops the car at its deadline.
    pub fn step(&mut self) -> Result<Step, StepError> {
        let result = self.process_frame();
        if let Err(error) = &result {
            // If the report does not reach the guard, the guard stops the car at its deadline.
            let _ = self
                .parts
                .link
                .report(self.parts.clock.now(), error.fault());
        }
        result
    }

    fn process_frame(&mut self) -> Result<Step, StepError> {
        self.parts.camera.next(&mut self.frame)?;
        let start = Instant::now();
        let arrived = self.parts.clock.now();
        let reaction = self.reaction();
        let (missed, is_next) = self
            .seen
            .replace(self.frame.sequence)
            .map_or((0, true), |seen| {
                let missed = self.frame.sequence.saturating_sub(seen + 1);
                (missed, self.frame.sequence == seen + 1)
            });
        let unanswered = std::mem::replace(&mut self.unfinished, true);
        self.preprocess()?;
        let high_level = self.high_level_command();
        self.numbers(high_level)?;
        if !self.inputs.advance(unanswered || !is_next) {
            self.unfinished = false;
            let missed = missed + u64::from(unanswered);
            return Err(StepError::Gap { missed });
        }
        let vision = start.elapsed();
        let timing = self.infer()?;
        self.unfinished = false;
        let controls = self.parts.decoder.decode(&self.answers)?;
        let (steering, throttle) = self.parts.mixer.mix(controls);
        let command = Command {
            steering,
            throttle,
            captured: self.frame.captured,
            sequence: self.frame.sequence,
        };
        self.parts.link.send_at(self.parts.clock.now(), command)?;
        self.sent = Some(command);
        Ok(Step {
            controls,
            command,
            arrived,
            vision,
            inference: timing.total,
            device: timing.device,
            fallback: timing.fallback,
            thinking: start.elapsed(),
            missed,
            measured: self.measured,
            high_level,
            reaction,
        })
    }

    /// The reaction time of the latest command.
    fn reaction(&self) -> Option<Duration> {
        let sent = self.sent?;
        match self.parts.link.status().state {
            State::Driving(driving) if driving.sequence == sent.sequence => {
                Some(driving.accepted.since(sent.captured))
            }
            _ => None,
        }
    }

    /// Fills the engine's inputs that are measured or commanded.
    fn numbers(&mut self, high_level: Option<u8>) -> Result<(), StepError> {
        if let Some(place) = high_level {
            self.inputs.command(usize::from(place));
        }
        if let Some(sensors) = &mut self.parts.sensors {
            if let Some(speed) = sensors.guard_speed() {
                speed.set(self.parts.link.status().speed);
            }
            (self.measured, self.measured_age) = sensors.read();
            self.scan_age = sensors.scan(&mut self.scan);
        }
        let measured = self.inputs.measure(&self.measured, self.measured_age);
        measured.map_err(StepError::Unmeasured)?;
        let scanned = self.inputs.scan(&self.scan, self.scan_age);
        scanned.map_err(StepError::NoScan)
    }

    /// Fills the engine's input from the frame.
    fn preprocess(&mut self) -> Result<(), VisionError> {
        let Some(vision) = &mut self.vision else {
            return Ok(());
        };
        match self.inputs.picture() {
            TensorMut::I8(picture) => vision.run_i8(self.frame.view(), picture),
            TensorMut::F32(picture) => vision.run(self.frame.view(), picture),
            // `Inputs` has no other pictures.
            _ => Ok(()),
        }
    }

    fn infer(&mut self) -> Result<Timing, EngineError> {
        let engine = &mut self.parts.engine;
        let mut tensors = arrayvec::ArrayVec::<TensorMut<'_>, MOST_OUTPUTS>::new();
        let mut floats = self.answers.as_mut_slice();
        let mut integers = self.integers.as_mut_slice();
        for port in engine.outputs() {
            let (float, floats_behind) = floats.split_at_mut(port.len());
            let (integer, integers_behind) = integers.split_at_mut(port.len());
            (floats, integers) = (floats_behind, integers_behind);
            tensors.push(match port.element_type {
                ElementType::I8 => TensorMut::I8(integer),
                _ => TensorMut::F32(float),
            });
        }
        let timing = engine.infer(&self.inputs.tensors(), &mut tensors)?;
        drop(tensors);
        // The values stay integers here; the decoder's scale converts them to the car's unit.
        let mut start = 0;
        for port in engine.outputs() {
            let place = start..start + port.len();
            start = place.end;
            if port.element_type == ElementType::I8 {
                for (float, &integer) in self.answers[place.clone()]
                    .iter_mut()
                    .zip(&self.integers[place])
                {
                    *float = f32::from(integer);
                }
            }
        }
        match self.inputs.remember(&self.answers) {
            true => Ok(timing),
            false => Err(EngineError::NotFinite),
        }
    }
}

/// The largest number of outputs; binding the decoder refuses more.
pub(crate) const MOST_OUTPUTS: usize = 8;
