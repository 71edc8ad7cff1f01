//! The frames that a recipe names.

use std::io::ErrorKind;
use std::path::Path;

use pilotage_config::Source;
use pilotage_dataset::DatasetError;

use super::CompileError;
use crate::frames::{Choice, FEW, Frames, FramesError};
use crate::progress::{Run, Stage};
use crate::recipe::Recipe;

/// Reads the frames that `recipe`, whose text is `source`, names relative to `folder`. `None` if it
/// names none.
pub(super) fn read(
    recipe: &Recipe,
    source: &Source<'_>,
    folder: &Path,
    run: Run<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Frames>, CompileError> {
    let Some(settings) = &recipe.calibration else {
        return Ok(None);
    };
    let path = folder.join(&settings.frames);
    let rules = recipe.input_rules();
    let choice = match (rules.memory.is_none(), rules.has_numbers()) {
        (true, false) => Choice::Evenly(settings.max_frames),
        (true, true) => Choice::Single(settings.max_frames),
        (false, _) => Choice::Runs(settings.max_frames),
    };
    let run = run.of(Stage::Frames);
    let frames = Frames::read_for(&path, (&recipe.input, &rules), choice, run);
    let mut frames = frames.map_err(|error| located(error, &path, source))?;
    warnings.append(&mut frames.notes);
    let found = frames.pixels.len();
    if found < FEW {
        warnings.push(format!(
            "{}: only {found} pictures; with fewer than {FEW} the ranges may be too narrow and the \
             gate is unreliable",
            path.display()
        ));
    }
    Ok(Some(frames))
}

/// The error of reading the frames in `path`. A missing folder is an error in the recipe.
fn located(error: FramesError, path: &Path, recipe: &Source<'_>) -> CompileError {
    match error {
        FramesError::Recording(DatasetError::File { path: lost, reason })
            if lost == path && reason.kind() == ErrorKind::NotFound =>
        {
            CompileError::MissingFrames {
                path: lost,
                recipe: recipe.name().to_owned(),
                reason,
            }
        }
        error => error.into(),
    }
}
