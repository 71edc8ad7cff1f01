//! The pilot thinks: frame in, command out, once per frame.

mod decode;
mod dropped;

pub use decode::{DecodeError, Decoder};
pub use dropped::Dropped;

use std::time::{Duration, Instant};

use pilotage_engine::{ElementType, Engine, EngineError, TensorMut, TensorRef, Timing};
use pilotage_guard::{Fault, Link, LinkError, State};
use pilotage_vehicle::{Clock, Command, Controls, Mixer, Time};
use pilotage_vision::{Frame, Preprocess, Vision, VisionError};

use crate::camera::{Camera, CameraError};

/// The parts a pilot is made of.
pub struct Parts {
    /// Where frames come from.
    pub camera: Box<dyn Camera>,
    /// How a frame becomes the engine's input.
    pub preprocess: Preprocess,
    /// Runs the network.
    pub engine: Box<dyn Engine>,
    /// What the network's outputs mean.
    pub decoder: Decoder,
    /// The car's geometry.
    pub mixer: Mixer,
    /// The way to the guard.
    pub link: Box<dyn Link>,
    /// The one clock.
    pub clock: Box<dyn Clock>,
}

/// A camera, an engine and a guard's link, joined into a loop body that
/// allocates nothing: [`step`](Self::step).
pub struct Pilot {
    parts: Parts,
    vision: Vision,
    frame: Frame,
    /// The number of the frame seen last.
    seen: Option<u64>,
    /// What the guard was sent last.
    sent: Option<Command>,
    input: Input,
    /// All outputs, one after the other; those of integer outputs as they are.
    answers: Vec<f32>,
    /// As long as `answers`: where integer outputs are lent.
    integers: Vec<i8>,
}

/// The engine's picture.
enum Input {
    F32(Vec<f32>),
    /// Pixels less 128.
    I8(Vec<i8>),
}

/// What one turn of the loop did.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What the network said.
    pub controls: Controls,
    /// What the guard was sent.
    pub command: Command,
    /// From the frame handed over to the network's input filled.
    pub vision: Duration,
    /// The engine's own time.
    pub inference: Duration,
    /// Of it on the device, where that differs (a GPU).
    pub device: Option<Duration>,
    /// The fallback answered in the engine's place.
    pub fallback: bool,
    /// From the frame handed over to the command sent: waiting not counted.
    pub thinking: Duration,
    /// Frames that went by since the last one seen.
    pub missed: u64,
    /// Of the command before: from its frame's capture to the guard's acting on it, where
    /// it did and that is heard.
    pub reaction: Option<Duration>,
}

/// Why a pilot could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The engine's input is not one picture.
    #[error(
        "the engine must have one f32 or i8 input of {expected} elements (what its recipe's \
         `[input]` makes), but has {found}; compile it again"
    )]
    Input {
        /// What vision makes.
        expected: usize,
        /// What the engine has.
        found: String,
    },
    /// An output is neither f32 nor i8.
    #[error("output `{0}` is neither f32 nor i8; compile the engine again")]
    Output(String),
    /// The recipe's input does not fit the camera.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The outputs' meaning does not fit the engine.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a turn of the loop sent no command. The guard has been told.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// No frame.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The frame is not what the camera promised.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The engine gave no answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The guard is out of reach.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Pilot {
    /// Joins `parts`.
    ///
    /// # Errors
    /// When a part does not fit the next.
    pub fn new(mut parts: Parts) -> Result<Self, BuildError> {
        let (format, width, height) = parts.camera.format();
        let vision = Vision::new(&parts.preprocess, width, height, format)?;
        let frame = Frame::new(format, width, height)?;
        let wanted = vision.output_len();
        let input = match parts.engine.inputs() {
            [port] if port.len() == wanted => match port.element_type {
                ElementType::F32 => Some(Input::F32(vec![0.0; wanted])),
                ElementType::I8 => Some(Input::I8(vec![0; wanted])),
                _ => None,
            },
            _ => None,
        };
        let Some(input) = input else {
            return Err(BuildError::Input {
                expected: wanted,
                found: format!("{:?}", parts.engine.inputs()),
            });
        };
        let spoken = [ElementType::F32, ElementType::I8];
        if let Some(port) = parts
            .engine
            .outputs()
            .iter()
            .find(|port| !spoken.contains(&port.element_type))
        {
            return Err(BuildError::Output(port.name.clone()));
        }
        parts.decoder.bind(parts.engine.outputs())?;
        let answers = parts.engine.outputs().iter().map(|port| port.len()).sum();
        Ok(Self {
            parts,
            vision,
            frame,
            seen: None,
            sent: None,
            input,
            answers: vec![0.0; answers],
            integers: vec![0; answers],
        })
    }

    /// Warms everything up on a black picture, so that the first frame costs what
    /// the others do. Nothing is sent.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn prepare(&mut self) -> Result<(), StepError> {
        self.parts.engine.prepare()?;
        for _ in 0..3 {
            self.see()?;
            self.infer()?;
        }
        Ok(())
    }

    /// The way to the guard, to arm and disarm.
    pub fn link(&mut self) -> &mut dyn Link {
        &mut *self.parts.link
    }

    /// Where its frames come from.
    pub fn camera(&self) -> &dyn Camera {
        &*self.parts.camera
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// Waits for a frame, thinks, and sends the guard a command.
    ///
    /// # Errors
    /// When a part fails; the guard has then been told to stop the car.
    pub fn step(&mut self) -> Result<Step, StepError> {
        let result = self.think();
        if let Err(error) = &result {
            let fault = match error {
                StepError::Camera(error) => error.fault(),
                StepError::Vision(_) => Fault::Camera,
                StepError::Engine(_) => Fault::Engine,
                StepError::Link(_) => Fault::Pilot,
            };
            // A guard that cannot be told stops by itself at its deadline.
            let _ = self.parts.link.report(self.parts.clock.now(), fault);
        }
        result
    }

    fn think(&mut self) -> Result<Step, StepError> {
        self.parts.camera.next(&mut self.frame)?;
        let start = Instant::now();
        let reaction = self.reaction();
        self.see()?;
        let vision = start.elapsed();
        let timing = self.infer()?;
        let controls = self.parts.decoder.decode(&self.answers);
        let (steering, throttle) = self.parts.mixer.mix(controls);
        let command = Command {
            steering,
            throttle,
            captured: self.frame.captured,
            sequence: self.frame.sequence,
        };
        self.parts.link.send_at(self.parts.clock.now(), command)?;
        self.sent = Some(command);
        let missed = self
            .seen
            .replace(self.frame.sequence)
            .map_or(0, |seen| self.frame.sequence.saturating_sub(seen + 1));
        Ok(Step {
            controls,
            command,
            vision,
            inference: timing.total,
            device: timing.device,
            fallback: timing.fallback,
            thinking: start.elapsed(),
            missed,
            reaction,
        })
    }

    /// What became of the command sent last.
    fn reaction(&self) -> Option<Duration> {
        let sent = self.sent?;
        match self.parts.link.status().state {
            State::Driving(driving) if driving.sequence == sent.sequence => {
                Some(driving.accepted.since(sent.captured))
            }
            _ => None,
        }
    }

    /// Fills the engine's input from the frame.
    fn see(&mut self) -> Result<(), VisionError> {
        match &mut self.input {
            Input::F32(input) => self.vision.run(self.frame.view(), input),
            Input::I8(input) => self.vision.run_i8(self.frame.view(), input),
        }
    }

    fn infer(&mut self) -> Result<Timing, EngineError> {
        let engine = &mut self.parts.engine;
        let mut lent = arrayvec::ArrayVec::<TensorMut<'_>, MOST_OUTPUTS>::new();
        let mut floats = self.answers.as_mut_slice();
        let mut integers = self.integers.as_mut_slice();
        for port in engine.outputs() {
            let (float, floats_behind) = floats.split_at_mut(port.len());
            let (integer, integers_behind) = integers.split_at_mut(port.len());
            (floats, integers) = (floats_behind, integers_behind);
            lent.push(match port.element_type {
                ElementType::I8 => TensorMut::I8(integer),
                _ => TensorMut::F32(float),
            });
        }
        let input = match &self.input {
            Input::F32(input) => TensorRef::F32(input),
            Input::I8(input) => TensorRef::I8(input),
        };
        let timing = engine.infer(&[input], &mut lent)?;
        drop(lent);
        // The decoder's scale takes integers to the car's unit.
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
        Ok(timing)
    }
}

/// More outputs than this are refused when the decoder is bound.
pub(crate) const MOST_OUTPUTS: usize = 8;
