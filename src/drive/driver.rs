//! What drives a car: an engine, or an operator's hand.

use std::time::Duration;

use pilotage_engine::ScanRule;
use pilotage_guard::OperatorLink;
use pilotage_tap::{EngineInputs, FrameRecord, Sensed, flags};
use pilotage_vehicle::{Domain, Measurement, Scan, Time};
use pilotage_vision::{FrameView, PixelFormat};

use crate::pilot::{Pilot, Step, StepError};
use crate::report::{DriveReport, EnginePart};
use crate::sensors::Lidar;
use pilotage_gamepad::DriveRequest;

/// What drives a car.
pub trait Driver {
    /// Does the work that would otherwise delay the first iteration. Nothing is sent.
    ///
    /// # Errors
    /// Fails if a component fails.
    fn prepare(&mut self) -> Result<(), StepError> {
        Ok(())
    }

    /// Waits for the next frame or the gamepad, decides, and sends a command. Allocates nothing,
    /// except to report a failure or an operator's request.
    ///
    /// # Errors
    /// Fails if a component fails. An engine's driver has then reported the fault to the guard,
    /// an operator's driver has not.
    fn step(&mut self) -> Result<Iteration, StepError>;

    /// The connection to the guard.
    fn link(&mut self) -> &mut dyn OperatorLink;

    /// The present time, on the clock of the connection.
    fn now(&self) -> Time;

    /// Where this driver was trained; physical for an operator.
    fn domain(&self) -> Domain;

    /// The frame of the latest iteration, if this driver took one.
    fn frame(&self) -> Option<FrameView<'_>>;

    /// Format, width and height of the frames, if this driver takes any.
    fn frame_format(&self) -> Option<(PixelFormat, u32, u32)>;

    /// What drives, in words.
    fn name(&self) -> String;

    /// The network's outputs of the latest iteration; none by hand.
    fn outputs(&self) -> &[f32] {
        &[]
    }

    /// What the engine gets besides the present picture; nothing by hand.
    fn inputs(&self) -> EngineInputs {
        EngineInputs::default()
    }

    /// The lidar, if the car has one.
    fn lidar(&self) -> Option<Lidar> {
        None
    }

    /// What the car's sensors gave at the latest frame, and what the engine lacked.
    fn sensed(&self) -> Sensed {
        Sensed::default()
    }

    /// The lidar's scan at the latest frame, if the car has a lidar.
    fn scan(&self) -> Option<&Scan> {
        None
    }

    /// Adds this driver's part to a report.
    fn describe(&mut self, report: &mut DriveReport);
}

/// The result of one iteration.
#[derive(Debug, Clone, Copy)]
pub enum Iteration {
    /// An engine answered a frame.
    Engine(Step),
    /// An operator's gamepad was read.
    Hand {
        /// The operator's request.
        request: DriveRequest,
        /// Whether the stop button was pressed since the gamepad was opened.
        stop_tested: bool,
    },
}

impl Iteration {
    /// Fills an observer's record of the iteration's frame.
    pub fn fill(&self, record: &mut FrameRecord) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match self {
            Self::Engine(step) => {
                record.arrived = step.arrived.as_nanos();
                record.vision = nanos(step.vision);
                record.inference = nanos(step.inference);
                record.device = step.device.map_or(0, nanos);
                record.sent = nanos(step.thinking);
                record.reaction = step.reaction.map_or(0, nanos);
                record.missed = step.missed;
                record.set_controls(step.controls);
                record.set_asked(&step.command);
                if step.fallback {
                    record.flags |= flags::FALLBACK;
                }
            }
            Self::Hand { request, .. } => {
                record.asked = [request.steering, request.throttle];
                record.flags |= flags::BY_HAND;
                if request.driven {
                    record.flags |= flags::DEAD_MAN;
                }
            }
        }
    }

    /// Steering and throttle as requested.
    pub const fn command(&self) -> (f32, f32) {
        match self {
            Self::Engine(step) => (step.command.steering, step.command.throttle),
            Self::Hand { request, .. } => (request.steering, request.throttle),
        }
    }

    /// Whether anything drives: an operator only while the dead-man button is held.
    pub const fn drives(&self) -> bool {
        match self {
            Self::Engine(_) => true,
            Self::Hand { request, .. } => request.driven,
        }
    }
}

/// An engine that drives from a camera's frames.
pub struct EngineDriver {
    /// The loop body.
    pub pilot: Pilot,
    /// Where the engine was trained.
    pub domain: Domain,
    /// The engine's name.
    pub engine: String,
    /// What runs the engine, and its precision.
    pub backend: String,
    /// The physical camera, for the report.
    pub camera: Option<String>,
}

impl Driver for EngineDriver {
    fn prepare(&mut self) -> Result<(), StepError> {
        self.pilot.prepare()
    }

    fn step(&mut self) -> Result<Iteration, StepError> {
        self.pilot.step().map(Iteration::Engine)
    }

    fn link(&mut self) -> &mut dyn OperatorLink {
        self.pilot.link()
    }

    fn now(&self) -> Time {
        self.pilot.now()
    }

    fn domain(&self) -> Domain {
        self.domain
    }

    fn frame(&self) -> Option<FrameView<'_>> {
        Some(self.pilot.frame())
    }

    fn frame_format(&self) -> Option<(PixelFormat, u32, u32)> {
        Some(self.pilot.camera().format())
    }

    fn name(&self) -> String {
        format!("engine {}, {}", self.engine, self.backend)
    }

    fn outputs(&self) -> &[f32] {
        self.pilot.outputs()
    }

    fn inputs(&self) -> EngineInputs {
        let rules = self.pilot.rules();
        let mut inputs = EngineInputs {
            commands: rules
                .command
                .as_ref()
                .map_or_else(Vec::new, |it| it.values.clone()),
            scan: rules.scan.as_ref().and_then(ScanRule::directions),
            scan_replacement: rules.scan.as_ref().and_then(|it| it.missing.number()),
            memory: !rules.memory.is_none(),
            ..EngineInputs::default()
        };
        for (measurement, rule) in rules.measured() {
            let all = inputs.measured.iter_mut().zip(Measurement::ALL);
            all.for_each(|(gets, it)| *gets |= it == measurement);
            inputs.replacements.set(measurement, rule.missing.number());
        }
        inputs
    }

    fn lidar(&self) -> Option<Lidar> {
        self.pilot.sensors()?.lidar()
    }

    fn sensed(&self) -> Sensed {
        self.pilot.sensed()
    }

    fn scan(&self) -> Option<&Scan> {
        self.pilot.scan()
    }

    fn describe(&mut self, report: &mut DriveReport) {
        report.engine = Some(EnginePart {
            engine: self.engine.clone(),
            backend: self.backend.clone(),
        });
        report.camera.clone_from(&self.camera);
        if self.camera.is_some() {
            report.frames = Some(self.pilot.camera().counters().into());
        }
    }
}
