//! Whether an engine fits the frames and the car that it is to be used with.

use std::fmt;

use pilotage_engine::FrameSize;
use pilotage_vehicle::Domain;
use pilotage_vision::{Crop, Preprocess, resized_already};

use super::{Fetched, Loaded};
use crate::car::Car;

/// The largest relative difference of two aspect ratios that count as the same. Cameras round their
/// modes: 1640x1232 is a mode of 4:3.
const SAME_SHAPE: f64 = 0.01;

/// Something that does not fit, and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {fix}")]
pub struct Misfit {
    /// What does not fit.
    pub problem: String,
    /// How to correct it.
    pub fix: String,
}

/// Where frames come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameSource {
    /// The car's camera.
    Camera,
    /// A recording.
    Recording,
}

impl fmt::Display for FrameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Camera => "the camera's frames",
            Self::Recording => "the recording's pictures",
        })
    }
}

impl FrameSource {
    /// The correction for an engine that was compiled for frames of `size`.
    fn fix(self, size: FrameSize, found: FrameSize) -> String {
        let FrameSize { width, height } = size;
        match self {
            Self::Camera => format!(
                "set `camera.width` to {width} and `camera.height` to {height} in car.toml, or \
                 compile the engine with frames of {found} and a crop for them"
            ),
            Self::Recording => format!(
                "replay a recording of {size}, or compile the engine with frames of {found} and a \
                 crop for them"
            ),
        }
    }

    /// The correction for frames that the crop exceeds.
    fn larger(self, crop: Crop) -> String {
        let (right, bottom) = crop.end();
        match self {
            Self::Camera => format!(
                "set `camera.width` and `camera.height` in car.toml to the size that it was trained \
                 on, at least {right}x{bottom}, or name an engine for this camera (`engine.file`, \
                 --engine)"
            ),
            Self::Recording => "name an engine for pictures of this size with --engine".to_owned(),
        }
    }
}

/// Checks an engine for frames of `size` from `source`. Returns what makes it drive badly.
///
/// # Errors
/// If it would see another part of the picture than in training, or none.
fn fit_frames(
    (name, preprocess, compiled): (&str, &Preprocess, Option<FrameSize>),
    source: FrameSource,
    size: FrameSize,
) -> Result<Option<Misfit>, Misfit> {
    let recorded = source == FrameSource::Recording;
    if recorded && resized_already(preprocess, (size.width, size.height)) {
        return Ok(None);
    }
    if let Some(compiled) = compiled.filter(|compiled| *compiled != size) {
        let fix = source.fix(compiled, size);
        if preprocess.crop.is_some() {
            let problem = format!(
                "engine `{name}` was compiled for frames of {compiled} and crops them by pixels, so \
                 that it would use another part of {source} of {size}"
            );
            return Err(Misfit { problem, fix });
        }
        let ratio = |size: FrameSize| f64::from(size.width) / f64::from(size.height.max(1));
        if (ratio(compiled) / ratio(size) - 1.0).abs() > SAME_SHAPE {
            let problem = format!(
                "engine `{name}` was compiled for frames of {compiled}, and {source} of {size} have \
                 another aspect ratio, so that it uses distorted pictures"
            );
            return Ok(Some(Misfit { problem, fix }));
        }
    }
    let is_outside = |crop: &Crop| !crop.lies_within((size.width, size.height));
    let Some(crop) = preprocess.crop.filter(is_outside) else {
        return Ok(None);
    };
    let Crop {
        x,
        y,
        width,
        height,
    } = crop;
    Err(Misfit {
        problem: format!(
            "engine `{name}` crops {width}x{height} pixels at ({x}, {y}), which do not lie within \
             {source} of {size}"
        ),
        fix: source.larger(crop),
    })
}

/// The size of the frames of the car's camera.
fn camera_size(car: &Car) -> FrameSize {
    FrameSize {
        width: u32::try_from(car.camera.width).unwrap_or(u32::MAX),
        height: u32::try_from(car.camera.height).unwrap_or(u32::MAX),
    }
}

/// Checks the car's engine for the car's camera, as [`Loaded::fit_car`] does, without loading the
/// engine for a backend.
///
/// # Errors
/// As [`Loaded::fit_car`]; also if the engine does not exist or is not valid.
pub(crate) fn fit_camera(car: &Car) -> anyhow::Result<Option<Misfit>> {
    let Fetched { name, bytes, .. } = super::fetch(&car.engine, &car.trust)?;
    let (bundle, preprocess) = super::parse(&name, &bytes)?;
    let manifest = &bundle.manifest;
    let engine = (manifest.name.as_str(), &preprocess, manifest.frame_size);
    Ok(fit_frames(engine, FrameSource::Camera, camera_size(car))?)
}

impl Loaded {
    /// Checks the engine for `car`: for its camera, and whether its guard will arm it. Returns what an
    /// operator should know.
    ///
    /// # Errors
    /// If the engine would use another part of the camera's frames than in training, or none.
    pub fn fit_car(&self, car: &Car) -> Result<Vec<Misfit>, Misfit> {
        let frames = fit_frames(self.described(), FrameSource::Camera, camera_size(car))?;
        let domains = (self.domain, car.limits.spec().actuator);
        let domain = (domains == (Domain::Simulated, Domain::Physical)).then(|| Misfit {
            problem: format!(
                "engine {} was trained in the simulator, so the guard will not arm this car for it",
                self.name
            ),
            fix: "name one that was trained on what its camera sees, `engine.file`".to_owned(),
        });
        Ok(domain.into_iter().chain(frames).collect())
    }

    /// Checks the engine for the pictures of a recording. Returns what an operator should know.
    ///
    /// # Errors
    /// If the engine would use another part of the pictures than in training, or none.
    pub fn fit_pictures(&self, (width, height): (u32, u32)) -> Result<Option<Misfit>, Misfit> {
        let size = FrameSize { width, height };
        fit_frames(self.described(), FrameSource::Recording, size)
    }

    fn described(&self) -> (&str, &Preprocess, Option<FrameSize>) {
        (&self.name, &self.preprocess, self.frame_size)
    }
}
