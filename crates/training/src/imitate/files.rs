//! The files of a network of the simulator: NAME.onnx, its recipe NAME.toml for `pilotage compile`,
//! and the folder NAME-frames for calibration.

use std::fmt::Write;
use std::num::NonZeroUsize;

use pilotage_config::write_atomically;
use pilotage_graph::RECIPE_KEY;

use super::{ImitateError, Plan};
use crate::cloning::Target;
use crate::cloning::export::quoted;
use crate::dataset::Dataset;
use crate::network::{HEIGHT, WIDTH};
use crate::observation::Number;
use crate::recording::{self, Encoding};
use crate::rollout::FIRST_ROW;
use crate::student::Student;

/// The frames for calibration.
const FRAMES: usize = 576;
/// The consecutive frames among them that a network of several pictures needs: as many as
/// `pilotage compile` lets a network run on.
const RUN: NonZeroUsize = NonZeroUsize::new(32).unwrap();
/// The quality of their JPEG files.
const QUALITY: u8 = 90;

/// Writes the files of a trained network. The frames are of the last round, in which it drove itself.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    target: &Target,
    student: &Student,
    data: &Dataset,
    plan: &Plan,
) -> Result<(), ImitateError> {
    let frames = target.frames();
    let folder = frames.file_name().unwrap_or_default().to_string_lossy();
    let text = recipe(plan, &target.model_name(), &folder);
    let model = student.graph()?.write_with_metadata(&[(RECIPE_KEY, &text)]);
    write_atomically(&target.onnx(), &model)?;
    write_atomically(&target.toml(), text.as_bytes())?;
    let latest = if plan.frames > 0 {
        plan.frames
    } else {
        data.len()
    };
    let run = if plan.inputs.pictures > 1 {
        RUN
    } else {
        NonZeroUsize::MIN
    };
    let chosen = data.runs(latest, FRAMES, run);
    let encoding = Encoding::Jpeg(QUALITY);
    Ok(recording::write(&frames, &chosen, encoding, None)?)
}

/// The text of the recipe. `model` is the name of the ONNX file, and `frames` that of the folder.
pub fn recipe(plan: &Plan, model: &str, frames: &str) -> String {
    let latency = match plan.latency {
        Some(latency) => format!("for {} ms of latency", latency.as_millis()),
        None => "for any latency up to 100 ms".to_owned(),
    };
    let mut text = format!(
        "# Trained in the simulator by pilotage-training imitate, {latency}.\n\
         # docs/recipes.md explains every key.\n\
         model = {}\nprecision = \"int8\"\ndomain = \"simulated\"\non_gate_failure = \"mixed\"\n\n\
         [input]\ncrop = {{ x = 0, y = {FIRST_ROW}, width = 640, height = {} }}\n\
         width = {WIDTH}\nheight = {HEIGHT}\n",
        quoted(model),
        480 - FIRST_ROW
    );
    // Writing to a string cannot fail.
    let inputs = &plan.inputs;
    if inputs.pictures > 1 {
        let _ = write!(text, "\n[memory]\npictures = {}\n", inputs.pictures);
    }
    for &measurement in &inputs.measurements {
        text += &Number::simulated(measurement).table();
    }
    text += "\n[[output]]\nindex = 0\nmeaning = \"speed\"\nscale = 17.5\noffset = 6.5\n\
             gate = { mse = 0.05, worst = 1.0 } # (m/s)2, m/s\n\
             \n[[output]]\nindex = 1\nmeaning = \"yaw_rate\"\nscale = 14.2\noffset = -7.1\n\
             gate = { mse = 0.0025, worst = 0.3 } # (rad/s)2, rad/s\n";
    let _ = write!(text, "\n[calibration]\nframes = {}\n", quoted(frames));
    text
}
