//! The recipe that `pilotage compile` compiles: that of a file, that in a model's metadata, or a
//! draft for a model; with the settings that the command line replaces.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pilotage_compiler::{
    CalibrationRecipe, DraftOptions, Precision, Recipe, ThrottleRecipe, draft, embedded_recipe,
    read_recipe_text,
};
use pilotage_config::{FileKind, Source, write_atomically};
use pilotage_console::say_always;
use pilotage_engine::Meaning;
use pilotage_vehicle::Domain;
use serde_json::Value as Json;
use toml_edit::{DocumentMut, Item, Table, Value};

use super::{Options, spelled};

/// A recipe, and its text for messages.
pub(super) struct Chosen {
    pub(super) recipe: Recipe,
    /// Paths in the recipe are relative to this.
    pub(super) folder: PathBuf,
    /// What the text is called in messages.
    name: String,
    text: String,
}

impl Chosen {
    pub(super) fn source(&self) -> Source<'_> {
        Source::new(&self.name, &self.text)
    }
}

/// The recipe for `made`: a recipe file or a model.
pub(super) fn choose(options: &Options, made: &Path) -> anyhow::Result<Chosen> {
    match made.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => of_file(options, made),
        Some("onnx") => match embedded_recipe(made)? {
            Some(text) => of_metadata(options, made, text),
            None => drafted(options, made),
        },
        _ => bail!(
            "{}: neither a recipe (.toml) nor a model (.onnx)",
            made.display()
        ),
    }
}

fn of_file(options: &Options, path: &Path) -> anyhow::Result<Chosen> {
    for (given, option) in [
        (!options.outputs.is_empty(), "--outputs"),
        (options.domain.is_some(), "--domain"),
        (options.save_recipe.is_some(), "--save-recipe"),
    ] {
        if given {
            bail!("{option} is for models; a recipe has this setting itself");
        }
    }
    let text = read_recipe_text(path)?;
    let name = path.display().to_string();
    let mut recipe: Recipe = Source::new(&name, &text).parse_as(FileKind::EngineRecipe)?;
    replace_settings(options, &mut recipe)?;
    Ok(Chosen {
        recipe,
        folder: folder_of(path),
        name,
        text,
    })
}

/// The recipe that `pilotage-training` wrote into the model.
fn of_metadata(options: &Options, model: &Path, text: String) -> anyhow::Result<Chosen> {
    let shown = model.display();
    let name = format!("{shown} (the recipe in its metadata)");
    let without = "; to compile the model without it, write a recipe file (docs/recipes.md)";
    let mut recipe: Recipe = match Source::new(&name, &text).parse() {
        Ok(recipe) => recipe,
        // The text is untrusted: it must not control a terminal.
        Err(error) => bail!(
            "{}{without}",
            error.to_string().replace(char::is_control, "?")
        ),
    };
    // The file may have another name by now, and a model never means another one.
    recipe.model = model.file_name().unwrap_or_default().into();
    match (recipe.domain, options.domain) {
        (Domain::Simulated, Some(Domain::Physical)) => bail!(
            "{shown}: its metadata states that it was trained in the simulator, so --domain \
             physical is refused: an engine of the simulated domain never arms a physical car"
        ),
        (_, domain) => recipe.domain = domain.unwrap_or(recipe.domain),
    }
    replace_meanings(&mut recipe, &options.outputs)?;
    replace_settings(options, &mut recipe)?;
    let folder = folder_of(model);
    let mut pictures = String::new();
    if let Some(calibration) = &recipe.calibration {
        let frames = folder.join(&calibration.frames);
        if !frames.exists() {
            bail!(
                "{shown}: the recipe in its metadata names the pictures in {:?}, and there is no \
                 {frames:?}: name their folder with --calibration FOLDER",
                calibration.frames
            );
        }
        pictures = format!(", with the pictures in {frames:?}");
    }
    say_always(format_args!(
        "{shown}: compiled by the recipe in its metadata{pictures}; options replace its settings"
    ));
    let chosen = Chosen {
        recipe,
        folder,
        name,
        text,
    };
    if let Some(file) = &options.save_recipe {
        chosen.recipe.check(&chosen.source())?;
        write_atomically(file, saved(&chosen, model)?.as_bytes())?;
    }
    Ok(chosen)
}

/// The text of a recipe file that compiles the same from any folder.
fn saved(chosen: &Chosen, model: &Path) -> anyhow::Result<String> {
    let mut recipe = chosen.recipe.clone();
    recipe.model = absolute(model)?;
    if let Some(calibration) = &mut recipe.calibration {
        calibration.frames = absolute(&chosen.folder.join(&calibration.frames))?;
    }
    let mut document = DocumentMut::new();
    let keys = serde_json::to_value(&recipe).context("--save-recipe")?;
    for (key, found) in keys.as_object().into_iter().flatten() {
        if let Some(item) = item(found) {
            document.insert(key, item);
        }
    }
    Ok(format!(
        "# From the metadata of the model; docs/recipes.md explains every key.\n{document}"
    ))
}

/// A key of a recipe as TOML: tables for objects, and inline tables in these.
fn item(found: &Json) -> Option<Item> {
    let table = |members: &serde_json::Map<String, Json>| {
        let mut table = Table::new();
        for (key, found) in members {
            if let Some(value) = value(found) {
                table.insert(key, Item::Value(value));
            }
        }
        table
    };
    match found {
        Json::Object(members) => Some(Item::Table(table(members))),
        Json::Array(elements) if elements.iter().any(Json::is_object) => {
            let tables = elements.iter().filter_map(Json::as_object).map(table);
            Some(Item::ArrayOfTables(tables.collect()))
        }
        found => value(found).map(Item::Value),
    }
}

fn value(found: &Json) -> Option<Value> {
    Some(match found {
        Json::Null => return None,
        Json::Bool(on) => (*on).into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(elements) => Value::Array(elements.iter().filter_map(value).collect()),
        Json::Object(members) => {
            let members = members.iter();
            let members = members.filter_map(|(key, found)| Some((key, value(found)?)));
            Value::InlineTable(members.collect())
        }
    })
}

/// Replaces the meanings of the outputs by those of --outputs, if it is given.
fn replace_meanings(recipe: &mut Recipe, words: &[String]) -> anyhow::Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    let meanings = meanings(words)?;
    if meanings.len() != recipe.output.len() {
        bail!(
            "--outputs: the recipe in the model's metadata has {} outputs, not {}",
            recipe.output.len(),
            meanings.len()
        );
    }
    let outputs = recipe.output.drain(..).zip(meanings);
    let kept = outputs.filter_map(|(mut output, meaning)| {
        output.meaning = meaning?;
        Some(output)
    });
    recipe.output = kept.collect();
    Ok(())
}

/// The meanings of --outputs.
fn meanings(words: &[String]) -> anyhow::Result<Vec<Option<Meaning>>> {
    let meanings = words.iter().map(|word| match word.as_str() {
        "-" => Ok(None),
        word => spelled::<Meaning>(word).map(Some),
    });
    let meanings: Result<Vec<_>, String> = meanings.collect();
    meanings.map_err(anyhow::Error::msg).context("--outputs")
}

/// Replaces the settings of a recipe that have an option.
fn replace_settings(options: &Options, recipe: &mut Recipe) -> anyhow::Result<()> {
    if let Some(precision) = options.precision {
        recipe.precision = precision;
    }
    if let Some(constant) = options.throttle {
        recipe.throttle = Some(ThrottleRecipe { constant });
    }
    if let Some(folder) = &options.calibration {
        let frames = absolute(folder)?;
        recipe.calibration = Some(match recipe.calibration.take() {
            Some(settings) => CalibrationRecipe { frames, ..settings },
            None => CalibrationRecipe::new(frames),
        });
    }
    set_calibration(options, recipe.calibration.as_mut())?;
    if let Some(what) = options.on_gate_failure {
        recipe.on_gate_failure = what;
    }
    for (meaning, limits) in &options.gate {
        let mut outputs = recipe.output.iter_mut();
        match outputs.find(|output| output.meaning == *meaning) {
            Some(output) => output.gate = *limits,
            None => bail!(
                "--gate {}: no [[output]] of the recipe has this meaning",
                meaning.name()
            ),
        }
    }
    Ok(())
}

/// A recipe for a model that has none.
fn drafted(options: &Options, model: &Path) -> anyhow::Result<Chosen> {
    let precision = match (options.precision, &options.calibration) {
        (Some(precision), _) => precision,
        (None, Some(_)) => Precision::Int8,
        (None, None) => Precision::Fp32,
    };
    let frames = options.calibration.as_deref().map(absolute).transpose()?;
    let mut calibration = frames.map(CalibrationRecipe::new);
    set_calibration(options, calibration.as_mut())?;
    let draft_options = DraftOptions {
        meanings: meanings(&options.outputs)?,
        precision,
        domain: options.domain,
        throttle: options.throttle,
        on_gate_failure: options.on_gate_failure.unwrap_or_default(),
        gate: options.gate.iter().copied().collect(),
        calibration,
    };
    let text = draft(model, &absolute(model)?, &draft_options)?;
    if let Some(file) = &options.save_recipe {
        write_atomically(file, text.as_bytes())?;
    }
    let name = format!("the recipe for {}", model.display());
    Ok(Chosen {
        recipe: Source::new(&name, &text).parse()?,
        folder: PathBuf::new(),
        name,
        text,
    })
}

/// Replaces the settings of the calibration that have an option.
fn set_calibration(
    options: &Options,
    calibration: Option<&mut CalibrationRecipe>,
) -> anyhow::Result<()> {
    match calibration {
        Some(settings) => {
            settings.method = options.method.or(settings.method);
            settings.max_frames = options.max_frames.unwrap_or(settings.max_frames);
        }
        None if options.method.is_some() => {
            bail!("--method needs frames: --calibration FOLDER")
        }
        None if options.max_frames.is_some() => {
            bail!("--max-frames needs frames: --calibration FOLDER")
        }
        None => {}
    }
    Ok(())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_owned()
}
