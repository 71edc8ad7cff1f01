//! Sends every picture of a recording through a pilot.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use pilotage_compiler::Numbered;
use pilotage_dataset::{DatasetError, Decoded, Picture, Record, Recording};
use pilotage_vehicle::{Controls, Domain};

use crate::car::Car;
use crate::pilot::StepError;
use crate::progress::Progress;
use crate::replay::replayer::Replayer;
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
        let mut replayer = Replayer::new(car, first_size(recording)?)?;
        let (engine, backend) = (replayer.engine.clone(), replayer.backend.clone());
        let (domain, notes) = (replayer.domain, std::mem::take(&mut replayer.notes));
        let rules = replayer.rules().clone();
        let numbers = Numbered::new(recording, &rules);
        let numbers = numbers.with_context(|| format!("engine `{engine}`"))?;
        let mut pass = Pass {
            recording,
            numbers,
            replayer,
            answers: Vec::with_capacity(recording.records().len()),
            vision: Vec::new(),
            inference: Vec::new(),
            fallback: 0,
            progress: Progress::new(format!("replay of {engine}"), recording.records().len()),
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
    numbers: Numbered<'a>,
    replayer: Replayer,
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
        let (width, height) = self.replayer.size;
        ensure!(
            (picture.width, picture.height) == (width, height),
            "is {}x{} pixels, but the first picture {width}x{height}: a camera has one size; \
             replay the pictures of each camera by themselves",
            picture.width,
            picture.height
        );
        let records = self.recording.records();
        let before = self.answers.last().map(|answer| answer.index);
        let follows = before
            .is_some_and(|before| before + 1 == index && records[index].follows(&records[before]));
        if !follows {
            self.replayer.forget();
        }
        self.progress.frame();
        self.replayer.give(self.numbers.of(&records[index])?);
        let step = match self.replayer.answer(picture) {
            // The car would stop. The answer counts as one that is not a number.
            Err(StepError::Path(_)) => {
                self.answers.push(Answer {
                    index,
                    controls: Controls::Twist {
                        speed: f32::NAN,
                        yaw_rate: f32::NAN,
                    },
                    command: (f32::NAN, f32::NAN),
                });
                return Ok(());
            }
            step => step?,
        };
        self.vision.push(nanos(step.vision));
        self.inference.push(nanos(step.inference));
        self.fallback += usize::from(step.fallback);
        self.answers.push(Answer {
            index,
            controls: step.controls,
            command: (step.command.steering, step.command.throttle),
        });
        Ok(())
    }
}
