//! Who drives while the expert labels: a network in training, or a compiled engine of any kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_engine::{
    Bundle, CpuEngine, CpuError, CpuOptions, ElementType, Engine, EngineError, InputRules, Inputs,
    InputsError, Meaning, Output, Port, TensorMut,
};
use pilotage_vision::{Crop, Preprocess, Vision, VisionError};
use rayon::prelude::*;
use serde::Deserialize;

use crate::rollout::{Drive, FIRST_ROW};
use crate::student::Student;

/// A car at a frame.
pub struct Seen<'a> {
    /// The car.
    pub drive: &'a Drive,
    /// The number of its drive: another drive begins without memory.
    pub number: u64,
    /// Whether there is a frame; none was lost.
    pub has_frame: bool,
}

/// Drives cars, the same number at each call and in the same order.
pub trait Driver {
    /// The number of pictures that a car keeps for it.
    fn pictures(&self) -> usize;

    /// The speed (m/s) and the yaw rate (rad/s) for each car. Those of a car without a frame are of no
    /// use.
    ///
    /// # Errors
    /// If the driver cannot answer.
    fn answers(&mut self, seen: &[Seen<'_>]) -> Result<Vec<(f32, f32)>, DriverError>;
}

impl Driver for Student {
    fn pictures(&self) -> usize {
        self.form().pictures
    }

    fn answers(&mut self, seen: &[Seen<'_>]) -> Result<Vec<(f32, f32)>, DriverError> {
        let observed: Vec<_> = seen.iter().map(|it| it.drive.observation()).collect();
        Ok(Student::answers(self, &observed))
    }
}

/// Why an engine cannot drive while the expert labels.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The engine is not for the simulator's car or its camera.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What does not fit, and what does.
        reason: &'static str,
    },
    /// The pictures do not fit.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The engine's inputs are not what its recipe makes.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// The engine cannot be set up.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The engine does not run, or its answer is not finite.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A compiled engine, with a memory for each car.
pub struct EngineDriver {
    bundle: Bundle,
    preprocess: Preprocess,
    rules: InputRules,
    /// The outputs that are speed and yaw rate, with their places among all elements.
    outputs: [(Output, usize); 2],
    lanes: Vec<Lane>,
}

struct Lane {
    engine: CpuEngine,
    vision: Vision,
    inputs: Inputs,
    answers: Vec<f32>,
    /// The drive whose memory this is.
    number: Option<u64>,
    /// Whether frames of this drive were lost since the last answer.
    has_skipped: bool,
}

impl EngineDriver {
    /// Reads an engine file.
    ///
    /// # Errors
    /// If it is none, or not for this.
    pub fn read(path: &Path) -> Result<Self, DriverError> {
        let read = |reason: String| DriverError::Read {
            path: path.to_owned(),
            reason,
        };
        let bytes = fs::read(path).map_err(|error| read(error.to_string()))?;
        let bundle = Bundle::read(&bytes).map_err(|error| read(error.to_string()))?;
        let manifest = &bundle.manifest;
        let preprocess = Preprocess::deserialize(&manifest.preprocessing);
        let preprocess = preprocess.map_err(|error| read(error.to_string()))?;
        let unfit = |reason| DriverError::Unfit {
            path: path.to_owned(),
            reason,
        };
        let rules = manifest
            .input_rules()
            .map_err(|error| read(error.to_string()))?;
        if rules.scan.is_some() || preprocess.is_none() {
            return Err(unfit(
                "it gets a scan, or no picture: the expert drives cars with a camera alone",
            ));
        }
        let top = FIRST_ROW as u32;
        let crop = preprocess.crop.filter(|crop| crop.y >= top);
        let crop = crop.ok_or_else(|| {
            unfit("its `crop` begins above row 240: the cars of the training see the lower half of 640x480")
        })?;
        let engine = CpuEngine::new(&bundle.plan, CpuOptions::default())?;
        let find = |meaning| {
            let output = manifest.outputs.iter().find(|it| it.meaning == meaning)?;
            let mut before = 0;
            let start = engine.outputs().iter().find_map(|port| {
                let start = before;
                before += port.len();
                (port.name == output.name).then_some(start)
            });
            Some((output.clone(), start? + output.index))
        };
        let (Some(speed), Some(yaw_rate)) = (find(Meaning::Speed), find(Meaning::YawRate)) else {
            return Err(unfit("its outputs are not `speed` and `yaw_rate`"));
        };
        let is_float = |port: &Port| port.element_type == ElementType::F32;
        if !engine.outputs().iter().all(is_float) {
            return Err(unfit("an output is not float32"));
        }
        Ok(Self {
            preprocess: Preprocess {
                crop: Some(Crop {
                    y: crop.y - top,
                    ..crop
                }),
                ..preprocess
            },
            rules,
            outputs: [speed, yaw_rate],
            lanes: Vec::new(),
            bundle,
        })
    }

    fn lane(&self, drive: &Drive) -> Result<Lane, DriverError> {
        let engine = CpuEngine::new(&self.bundle.plan, CpuOptions::default())?;
        let frame = drive.frame();
        let inputs = Inputs::new(
            &self.rules,
            self.preprocess.picture_form(),
            (engine.inputs(), engine.outputs()),
            &self.bundle.manifest.outputs,
        )?;
        Ok(Lane {
            vision: Vision::new(&self.preprocess, frame.width, frame.height, frame.format)?,
            inputs,
            answers: vec![0.0; engine.outputs().iter().map(Port::len).sum()],
            number: None,
            has_skipped: false,
            engine,
        })
    }
}

impl Lane {
    /// Answers a frame, unless it was lost.
    fn answer(&mut self, seen: &Seen<'_>) -> Result<(), DriverError> {
        if self.number != Some(seen.number) {
            self.inputs.reset();
            self.number = Some(seen.number);
            self.has_skipped = false;
        }
        if !seen.has_frame {
            self.has_skipped = true;
            return Ok(());
        }
        let frame = seen.drive.frame();
        match self.inputs.picture() {
            TensorMut::I8(picture) => self.vision.run_i8(frame, picture)?,
            TensorMut::F32(picture) => self.vision.run(frame, picture)?,
            // `Inputs` has no other pictures.
            _ => {}
        }
        // The cars' sensors give all numbers, and none is old.
        let measured = seen.drive.world.measured();
        let _ = self.inputs.measure(&measured, Duration::ZERO);
        self.inputs.advance(std::mem::take(&mut self.has_skipped));
        let mut tensors = Vec::new();
        let mut behind = self.answers.as_mut_slice();
        for port in self.engine.outputs() {
            let (elements, others) = behind.split_at_mut(port.len());
            tensors.push(TensorMut::F32(elements));
            behind = others;
        }
        self.engine.infer(&self.inputs.tensors(), &mut tensors)?;
        match self.inputs.remember(&self.answers) {
            true => Ok(()),
            false => Err(EngineError::NotFinite.into()),
        }
    }
}

impl Driver for EngineDriver {
    /// It keeps its own.
    fn pictures(&self) -> usize {
        1
    }

    fn answers(&mut self, seen: &[Seen<'_>]) -> Result<Vec<(f32, f32)>, DriverError> {
        for new in seen.iter().skip(self.lanes.len()) {
            let lane = self.lane(new.drive)?;
            self.lanes.push(lane);
        }
        let each = self.lanes.par_iter_mut().zip(seen);
        each.try_for_each(|(lane, seen)| lane.answer(seen))?;
        let number = |lane: &Lane, (output, place): &(Output, usize)| {
            let elements = lane.answers.get(*place..).unwrap_or_default();
            output.scale * output.number(elements) + output.offset
        };
        let [speed, yaw_rate] = &self.outputs;
        let lanes = self.lanes.iter();
        Ok(lanes
            .map(|lane| (number(lane, speed), number(lane, yaw_rate)))
            .collect())
    }
}
