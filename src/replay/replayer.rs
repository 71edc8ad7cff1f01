//! An engine that answers to single pictures as it would to those of a camera: with the vision, the
//! decoder and the mixer of a drive, and no guard.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pilotage_camera::{Camera, CameraError};
use pilotage_compiler::FrameNumbers;
use pilotage_dataset::Picture;
use pilotage_engine::InputRules;
use pilotage_guard::{CommandLink, LinkError, Status};
use pilotage_vehicle::{Command, Domain, Fault, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat, for_recorded};

use crate::car::Car;
use crate::engines;
use crate::high_level::Commands;
use crate::pilot::{Parts, Pilot, Step, StepError};
use crate::sensors::RecordedSensors;

/// An engine that is ready to answer.
pub(crate) struct Replayer {
    pub engine: String,
    /// What runs the engine.
    pub backend: String,
    pub domain: Domain,
    /// What an operator should know of how the engine was loaded.
    pub notes: Vec<String>,
    /// Of the pictures.
    pub size: (u32, u32),
    has_memory: bool,
    rules: InputRules,
    sensors: RecordedSensors,
    commands: Option<Arc<Commands>>,
    next: Rc<RefCell<Option<Picture>>>,
    pilot: Pilot<NoGuard>,
}

impl Replayer {
    /// The engine of `car`, on the backend that `drive` would use, for pictures of `size`.
    ///
    /// # Errors
    /// When the engine cannot be loaded, or does not fit the pictures.
    pub fn new(car: &Car, size: (u32, u32)) -> anyhow::Result<Self> {
        let loaded = engines::load(car)?;
        let backend = loaded.engine.describe();
        let misfit = loaded.fit_pictures(size)?;
        let (engine, domain, mut notes) = (loaded.name, loaded.domain, loaded.notes);
        notes.extend(misfit.map(|misfit| misfit.to_string()));
        let has_memory = !loaded.rules.is_none();
        let (rules, sensors) = (loaded.rules.clone(), RecordedSensors::default());
        let commands = rules.command.as_ref().map(Commands::of).map(Arc::new);
        let next = Rc::default();
        let camera = Fed {
            next: Rc::clone(&next),
            size,
            given: 0,
        };
        let (width, height) = size;
        let mut pilot = Pilot::new(Parts {
            camera: Box::new(camera),
            preprocess: for_recorded(&loaded.preprocess, size),
            engine: loaded.engine,
            decoder: loaded.decoder,
            rules: loaded.rules,
            sensors: Some(Box::new(sensors.clone())),
            commands: commands.clone(),
            mixer: car.mixer.clone(),
            link: Box::new(NoGuard),
            clock: Box::new(Monotonic),
        })
        .with_context(|| format!("engine `{engine}`, pictures of {width}x{height}"))?;
        pilot
            .prepare()
            .with_context(|| format!("engine `{engine}`"))?;
        Ok(Self {
            engine,
            backend,
            domain,
            notes,
            size,
            has_memory,
            rules,
            sensors,
            commands,
            next,
            pilot,
        })
    }

    /// What the engine gets besides the present picture.
    pub fn rules(&self) -> &InputRules {
        &self.rules
    }

    /// Sets what was measured and commanded at the next picture.
    pub fn give(&mut self, numbers: FrameNumbers) {
        self.sensors.set(numbers.measured, numbers.scan);
        if let (Some(commands), Some(place)) = (&self.commands, numbers.command) {
            commands.choose(place);
        }
    }

    /// Whether the answer to a picture depends on more than the picture.
    pub fn has_memory(&self) -> bool {
        self.has_memory
    }

    /// The next picture does not follow the latest one.
    pub fn forget(&mut self) {
        self.pilot.forget();
    }

    /// The answer to a picture, which must have the size.
    ///
    /// # Errors
    /// When the picture has another size, or the engine fails.
    pub fn answer(&mut self, picture: Picture) -> Result<Step, StepError> {
        self.next.replace(Some(picture));
        self.pilot.step()
    }
}

/// A camera that gives the picture that was put into `next`.
struct Fed {
    next: Rc<RefCell<Option<Picture>>>,
    size: (u32, u32),
    given: u64,
}

impl Camera for Fed {
    fn describe(&self) -> String {
        "the pictures of a recording".to_owned()
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (PixelFormat::Rgb8, self.size.0, self.size.1)
    }

    fn frame_period(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        let (width, height) = self.size;
        let picture = self
            .next
            .take()
            .ok_or(CameraError::FrameSize { width, height })?;
        if picture.rgb.len() != frame.data().len() {
            return Err(CameraError::FrameSize { width, height });
        }
        frame.data_mut().copy_from_slice(&picture.rgb);
        frame.sequence = self.given;
        self.given += 1;
        Ok(())
    }
}

/// The end of a pilot's commands: nothing moves, and there is no guard.
struct NoGuard;

impl CommandLink for NoGuard {
    fn report(&mut self, _: Time, _: Fault) -> Result<(), LinkError> {
        Ok(())
    }

    fn send_at(&mut self, _: Time, _: Command) -> Result<(), LinkError> {
        Ok(())
    }

    fn advance_to(&mut self, _: Time) -> Result<(), LinkError> {
        Ok(())
    }

    fn status(&self) -> Status {
        Status::disarmed()
    }
}
