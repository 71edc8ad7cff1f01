//! A short film of a drive log or a recording: the camera's pictures, with what was asked of the car,
//! what the guard granted, and the guard's state.
//!
//! [`footage`] reads the pictures and the states, [`plan`] chooses which of them are shown when,
//! [`render`] draws a frame, and [`output`] writes the frames as a GIF ([`gif`], [`palette`]) or as
//! numbered PNG files. [`saliency`] colours what an engine steers by.

mod error;
pub(crate) mod footage;
mod gif;
pub(crate) mod output;
mod palette;
pub(crate) mod plan;
mod render;
pub(crate) mod saliency;
mod state;

pub(crate) use error::FilmError;

use std::sync::atomic::{AtomicBool, Ordering};

use footage::Footage;
use output::{Finished, Output, Target};
use palette::Palette;
use plan::Plan;
use render::Renderer;
use saliency::Saliency;

use crate::progress::Progress;

/// Frames that the palette is made of.
const SAMPLES: usize = 24;

/// The end of making a film.
#[derive(Debug)]
pub(crate) enum Made {
    /// It is written.
    Film(Finished),
    /// A signal came; nothing is left of the film.
    Interrupted,
}

/// Makes the film that `plan` describes, `width` pixels wide.
///
/// # Errors
/// When too many pictures cannot be used, the engine fails, or the film cannot be written.
pub(crate) fn make(
    footage: &Footage,
    plan: &Plan,
    width: u32,
    target: &Target,
    saliency: Option<Saliency>,
    signalled: &AtomicBool,
) -> anyhow::Result<Made> {
    let mut output = Output::create(target)?;
    let mut renderer = Renderer::new(footage, width, saliency)?;
    let palette = match target.is_gif() {
        true => Some(sampled(&mut renderer, plan, signalled)?),
        false => None,
    };
    output.begin(renderer.size(), palette, plan.rate)?;
    let mut progress = Progress::new("film".to_owned(), plan.frames.len());
    for frame in &plan.frames {
        if signalled.load(Ordering::Relaxed) {
            return Ok(Made::Interrupted);
        }
        output.write(&renderer.draw(*frame)?)?;
        progress.frame();
    }
    drop(progress);
    renderer.check()?;
    Ok(Made::Film(output.finish()?))
}

/// The palette of some frames, evenly chosen.
fn sampled(
    renderer: &mut Renderer<'_>,
    plan: &Plan,
    signalled: &AtomicBool,
) -> anyhow::Result<Palette> {
    let mut samples = Vec::new();
    for index in pilotage_dataset::evenly(plan.frames.len(), SAMPLES) {
        // The loop over all frames ends then.
        if signalled.load(Ordering::Relaxed) {
            break;
        }
        samples.push(renderer.draw(plan.frames[index])?);
    }
    renderer.restart();
    Ok(Palette::of(&samples))
}
