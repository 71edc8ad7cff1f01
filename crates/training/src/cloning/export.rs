//! The files of a trained network: NAME.onnx and the recipe NAME.toml for `pilotage compile`.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use pilotage_config::write_atomically;
use pilotage_engine::{AfterGap, Meaning};
use pilotage_graph::RECIPE_KEY;
use pilotage_learning::Network;
use pilotage_vehicle::Domain;
use pilotage_vision::{ColourOrder, Layout, Preprocess};

use super::fit::{FitError, Task};
use super::recipe::LearnedOutput;

/// Why the files cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The network cannot be expressed as ONNX.
    #[error(transparent)]
    Network(#[from] FitError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] pilotage_config::WriteError),
}

/// The text of the recipe for `pilotage compile`: everything that the training determined.
/// `model` is the name of the ONNX file, `calibration` the folder of frames, as the recipe is to
/// name it. `comment` is a line of text without line ends.
pub fn recipe(task: &Task<'_>, model: &str, calibration: &str, comment: &str) -> String {
    let recipe = task.recipe;
    // An unknown domain, which `train` refuses, must not arm a physical car.
    let domain = recipe.domain.unwrap_or(Domain::Simulated).name();
    // Writing to a string cannot fail.
    let mut text = format!(
        "# {comment}\n# docs/recipes.md explains every key.\nmodel = {}\nprecision = \"int8\"\n\
         domain = \"{domain}\"\non_gate_failure = \"mixed\"\n",
        quoted(model)
    );
    if let Some(constant) = recipe.throttle.and_then(|throttle| throttle.constant) {
        let _ = writeln!(text, "throttle = {{ constant = {constant:?} }}");
    }
    text += &input(&recipe.input);
    if recipe.memory.pictures > 1 {
        let after = match recipe.memory.after_gap {
            AfterGap::Hold => "hold",
            AfterGap::Reset => "reset",
            AfterGap::Stop => "stop",
        };
        let pictures = recipe.memory.pictures;
        let _ = write!(
            text,
            "\n[memory]\npictures = {pictures}\nafter_gap = \"{after}\"\n"
        );
    }
    for number in &task.numbers {
        text += &number.table();
    }
    let model = |meaning| LearnedOutput {
        meaning,
        scale: 1.0,
        offset: 0.0,
    };
    let port = |index: usize| (task.ports[index].output.as_str(), task.ports[index].index);
    let outputs = match task.by_steering() {
        // The model computes both.
        Some(_) => vec![
            (model(Meaning::Steering), (port(0).0, 0)),
            (model(Meaning::Throttle), (port(0).0, 1)),
        ],
        None => {
            let outputs = task.outputs.iter().enumerate();
            outputs
                .map(|(index, output)| (*output, port(index)))
                .collect()
        }
    };
    for (output, (name, index)) in outputs {
        let _ = write!(
            text,
            "\n[[output]]\nname = {}\nindex = {index}\nmeaning = \"{}\"\n\
             scale = {:?}\noffset = {:?}\n",
            quoted(name),
            output.meaning.name(),
            output.scale,
            output.offset
        );
    }
    let _ = write!(text, "\n[calibration]\nframes = {}\n", quoted(calibration));
    text
}

fn input(input: &Preprocess) -> String {
    let mut text = "\n[input]\n".to_owned();
    if let Some(crop) = input.crop {
        let _ = writeln!(
            text,
            "crop = {{ x = {}, y = {}, width = {}, height = {} }}",
            crop.x, crop.y, crop.width, crop.height
        );
    }
    let colour = match input.colour {
        ColourOrder::Rgb => "rgb",
        ColourOrder::Bgr => "bgr",
        ColourOrder::Grey => "grey",
    };
    let layout = match input.layout {
        Layout::Nchw => "nchw",
        Layout::Nhwc => "nhwc",
    };
    let _ = write!(
        text,
        "width = {}\nheight = {}\ncolour = \"{colour}\"\nlayout = \"{layout}\"\nscale = {:?}\n\
         mean = {:?}\nstd = {:?}\n",
        input.width, input.height, input.scale, input.mean, input.std
    );
    text
}

/// Writes the model with the parameters of `network`, and with the recipe in its metadata (`pilotage_graph::RECIPE_KEY`), then the recipe.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    task: &Task<'_>,
    network: &Network,
    recipe: &str,
    onnx: &Path,
    toml: &Path,
) -> Result<(), WriteError> {
    let graph = task.exported(network)?;
    let kept = task.metadata.iter();
    let kept = kept.map(|(key, value)| (key.as_str(), value.as_str()));
    let entries: Vec<(&str, &str)> = kept.chain([(RECIPE_KEY, recipe)]).collect();
    write_atomically(onnx, &graph.write_with_metadata(&entries))?;
    Ok(write_atomically(toml, recipe.as_bytes())?)
}

/// `folder` relative to `from`, both absolute and without `..`, if they have a common folder below
/// the root; otherwise `folder`.
pub fn relative(folder: &Path, from: &Path) -> PathBuf {
    let common = folder
        .components()
        .zip(from.components())
        .take_while(|(a, b)| a == b)
        .count();
    if common < 2 {
        return folder.to_owned();
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(folder.components().skip(common)).collect();
    match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path,
    }
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_relative_to_the_recipe() {
        let relative = |folder, from| {
            let path = relative(Path::new(folder), Path::new(from));
            path.to_str().unwrap().to_owned()
        };
        assert_eq!(relative("/home/me/tub", "/home/me"), "tub");
        assert_eq!(relative("/home/me/tub", "/home/me/models/new"), "../../tub");
        assert_eq!(relative("/home/me", "/home/me"), ".");
        assert_eq!(relative("/mnt/tub", "/home/me"), "/mnt/tub");
    }

    #[test]
    fn strings_are_quoted() {
        assert_eq!(quoted("a \"b\" \\c\n"), r#""a \"b\" \\c\u000A""#);
    }
}
