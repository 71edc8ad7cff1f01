//! Sends every picture of a recording through a pilot.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use pilotage_camera::{Camera, CameraError};
use pilotage_dataset::{DatasetError, Decoded, Picture, Record, Recording};
use pilotage_guard::{CommandLink, LinkError, Status};
use pilotage_vehicle::{Command, Controls, Domain, Fault, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat, for_recorded};

use crate::car::Car;
use crate::engines;
use crate::pilot::{Parts, Pilot};
use crate::replay::progress::Progress;
use crate::times::{Times, nanos};

/// The answer to one picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The record's index.
    pub index: usize,
    /// In the engine's units.
    pub controls: Controls,
    /// Steering and throttle as they would be sent to the guard.
    pub command: (f32, f32),
}

/// All answers of one engine.
#[derive(Debug)]
pub(crate) struct Answers {
    pub engine: String,
    /// What ran the engine.
    pub backend: String,
    pub domain: Domain,
    /// What an operator should know of how the engine was loaded.
    pub notes: Vec<String>,
    /// In the order of the recording; bad pictures have none.
    pub answers: Vec<Answer>,
    /// Answers of the fallback in the engine's place.
    pub fallback: usize,
    pub vision: Times,
    pub inference: Times,
    pub decoded: Decoded,
}

impl Answers {
    /// Runs the engine of `car` over all pictures of `recording`, as fast as it goes, on the backend
    /// that `drive` would use.
    ///
    /// # Errors
    /// When the engine cannot be loaded or fails, does not fit the pictures, or too many pictures are
    /// bad or of different sizes.
    pub fn of(recording: &Recording, car: &Car) -> anyhow::Result<Self> {
        let loaded = engines::load(car)?;
        let backend = loaded.engine.describe();
        let (width, height) = first_size(recording)?;
        let misfit = loaded.fit_pictures((width, height))?;
        let (engine, domain, mut notes) = (loaded.name, loaded.domain, loaded.notes);
        notes.extend(misfit.map(|misfit| misfit.to_string()));
        let next = Rc::default();
        let camera = Fed {
            next: Rc::clone(&next),
            size: (width, height),
            given: 0,
        };
        let mut pilot = Pilot::new(Parts {
            camera: Box::new(camera),
            preprocess: for_recorded(&loaded.preprocess, (width, height)),
            engine: loaded.engine,
            decoder: loaded.decoder,
            mixer: car.mixer.clone(),
            link: Box::new(NoGuard),
            clock: Box::new(Monotonic),
        })
        .with_context(|| format!("engine `{engine}`, pictures of {width}x{height}"))?;
        pilot
            .prepare()
            .with_context(|| format!("engine `{engine}`"))?;
        let mut pass = Pass {
            recording,
            size: (width, height),
            next,
            pilot,
            answers: Vec::with_capacity(recording.records().len()),
            vision: Vec::new(),
            inference: Vec::new(),
            fallback: 0,
            progress: Progress::new(&engine, recording.records().len()),
        };
        let decoded = pass.all().with_context(|| format!("engine `{engine}`"))?;
        Ok(Self {
            engine,
            backend,
            domain,
            notes,
            answers: pass.answers,
            fallback: pass.fallback,
            vision: Times::of(&mut pass.vision),
            inference: Times::of(&mut pass.inference),
            decoded,
        })
    }

    /// Whether the engine answers with speed and yaw rate.
    pub fn is_twist(&self) -> bool {
        let first = self.answers.first();
        first.is_some_and(|answer| matches!(answer.controls, Controls::Twist { .. }))
    }
}

/// The size of the first picture that is not bad.
fn first_size(recording: &Recording) -> anyhow::Result<(u32, u32)> {
    let mut records = recording.records().iter();
    let picture = records
        .find_map(|record| recording.decode(record).ok())
        .with_context(|| {
            let folder = recording.folder().display();
            format!("{folder}: none of its pictures can be used; `pilotage data show` lists why")
        })?;
    Ok((picture.width, picture.height))
}

/// A pass over the recording.
struct Pass<'a> {
    recording: &'a Recording,
    size: (u32, u32),
    next: Rc<RefCell<Option<Picture>>>,
    pilot: Pilot<NoGuard>,
    answers: Vec<Answer>,
    /// Nanoseconds.
    vision: Vec<u64>,
    inference: Vec<u64>,
    fallback: usize,
    progress: Progress,
}

/// Why decoding ended.
enum Ended {
    Dataset(DatasetError),
    /// After an error of the pilot.
    Stopped,
}

impl From<DatasetError> for Ended {
    fn from(error: DatasetError) -> Self {
        Self::Dataset(error)
    }
}

impl Pass<'_> {
    /// Pictures are decoded on all cores, some at a time; while the pilot runs, nothing is decoded.
    fn all(&mut self) -> anyhow::Result<Decoded> {
        let recording = self.recording;
        let all: Vec<usize> = (0..recording.records().len()).collect();
        let stopped = AtomicBool::new(false);
        let mut result = Ok(());
        let pass_on = |_: &Record, picture| match stopped.load(Ordering::Relaxed) {
            true => Err(Ended::Stopped),
            false => Ok(picture),
        };
        let decoded = recording.for_each_picture(&all, pass_on, |index, picture| {
            if result.is_ok() {
                let name = || recording.records()[index].picture.display().to_string();
                result = self.one(index, picture).with_context(name);
                stopped.store(result.is_err(), Ordering::Relaxed);
            }
        });
        result?;
        match decoded {
            Ok(decoded) => Ok(decoded),
            Err(Ended::Dataset(error)) => Err(error.into()),
            Err(Ended::Stopped) => anyhow::bail!("the replay was stopped"),
        }
    }

    fn one(&mut self, index: usize, picture: Picture) -> anyhow::Result<()> {
        let (width, height) = self.size;
        ensure!(
            (picture.width, picture.height) == self.size,
            "is {}x{} pixels, but the first picture {width}x{height}: a camera has one size; \
             replay the pictures of each camera by themselves",
            picture.width,
            picture.height
        );
        self.next.replace(Some(picture));
        let step = self.pilot.step()?;
        self.vision.push(nanos(step.vision));
        self.inference.push(nanos(step.inference));
        self.fallback += usize::from(step.fallback);
        self.progress.frame();
        self.answers.push(Answer {
            index,
            controls: step.controls,
            command: (step.command.steering, step.command.throttle),
        });
        Ok(())
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
