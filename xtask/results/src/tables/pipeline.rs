//! The programs that make the tables, each run once for the same inputs. Results are in
//! target/tables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

use super::plans::PLANNED;
use super::results::{Engine, Made};
use super::rows::{self, Row};
use super::steps::{Inputs, Steps, remove_folder, shown, timed};
use super::{offline, recipe};
use crate::circuits::UNSEEN;
use crate::origin::read_json;

/// The folder of all results, from the checkout's root, where all programs run.
const FOLDER: &str = "target/tables";
/// The shipped network.
const SHIPPED: &str = "engines/pilotnet.onnx";
/// The seed of the recording to optimise with. `record` uses the seeds after its own for circuits, at
/// most one for each driven frame.
pub const TRAIN_SEED: u64 = 1000;
/// The seed of the recording in which the shipped network drives, to optimise with too.
pub const DRIVEN_SEED: u64 = 10_000_000;
/// The seed of the recording to measure on. Training never uses the circuits of these seeds.
pub const TEST_SEED: u64 = UNSEEN;
/// One frame of this many is recorded, so that the frames are of more circuits. The recorder drives
/// 32 cars in turn: with a divisor of 32, only some of them would be recorded.
pub const EVERY: u32 = 3;
/// From frame to command, ms. It is fixed, so that drives repeat bit for bit.
const LATENCY: &str = "10";
/// Limits of the gate that every engine keeps to.
const ANY_ERROR: &str = "speed=1e6,yaw_rate=1e6";

/// The strategy whose layers its gate chooses.
const MIXED: &str = "int8-mixed";
/// What `pilotage compile` prints when the gate refuses an engine.
const REFUSAL: &str = "the engine is too far from the model";

/// The outcome of `pilotage compile`.
#[derive(Debug, PartialEq, Eq)]
enum Compiled {
    Engine,
    /// The engine's error exceeds the gate.
    Refused,
    /// Anything else.
    Failed,
}

/// Who drives in a recording. The expert's controls are recorded in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Expert,
    Shipped,
}

/// A recording, and what it was made from.
#[derive(Debug)]
pub struct Recording {
    folder: String,
    fingerprint: String,
}

/// The built programs, and the results that there are.
#[derive(Debug)]
pub struct Pipeline {
    root: PathBuf,
    steps: Steps,
    /// `pilotage`, with the fingerprint of its file.
    runtime: (PathBuf, String),
    /// `pilotage-training`, the same.
    training: (PathBuf, String),
}

impl Pipeline {
    /// Builds both programs, and checks that each strategy has a row.
    ///
    /// # Errors
    /// When they do not build, or a strategy has no row.
    pub fn build(checkout: &Checkout) -> Result<Self> {
        let root = checkout.root().to_path_buf();
        let build =
            Invocation::new("cargo build --release --package pilotage --package pilotage-training");
        let build = build.within(&root);
        ensure!(
            timed("build", || shown(&build))?,
            "the programs do not build; the compiler's messages are above"
        );
        let program = |name: &str| {
            let file = checkout.builds().join("release").join(name);
            let fingerprint = Inputs::default().file(&file)?.fingerprint();
            anyhow::Ok((file, fingerprint))
        };
        let pipeline = Self {
            steps: Steps::new(root.join(FOLDER))?,
            runtime: program("pilotage")?,
            training: program("pilotage-training")?,
            root,
        };
        let help = pipeline.training("optimise --help").answer();
        rows::check_all_present(&help.context("`pilotage-training optimise --help` fails")?)?;
        Ok(pipeline)
    }

    fn runtime(&self, arguments: &str) -> Invocation {
        self.program(&self.runtime.0, arguments)
    }

    fn training(&self, arguments: &str) -> Invocation {
        self.program(&self.training.0, arguments)
    }

    fn program(&self, program: &Path, arguments: &str) -> Invocation {
        let command = Invocation::of(program).within(&self.root);
        let arguments = arguments.split_whitespace();
        arguments.fold(command, |command, argument| command.arg(argument))
    }

    /// Records drives on random circuits, of the expert or of the shipped network.
    ///
    /// # Errors
    /// When the recording fails.
    pub fn record(&self, name: &str, driver: Driver, seed: u64, frames: u32) -> Result<Recording> {
        let folder = format!("{FOLDER}/{name}");
        let mut command = self.training(&format!(
            "record {folder} --frames {frames} --every {EVERY} --jpeg 95 --seed {seed}"
        ));
        let mut inputs = Inputs::default().text(&self.training.1);
        if driver == Driver::Shipped {
            inputs = inputs.file(&self.root.join(SHIPPED))?;
            command = command.arg("--driver").arg(SHIPPED);
        }
        let inputs = inputs.text(&command.to_string());
        let output = self.root.join(&folder);
        let step = format!("record-{name}");
        let done = (self.steps).once(&step, &output.join("data.csv"), &inputs, || {
            // Frames of a longer recording would stay.
            remove_folder(&output)?;
            shown(&command)
        })?;
        ensure!(
            done,
            "the recording `{name}` failed; its message is above, and the same command continues"
        );
        Ok(Recording {
            folder,
            fingerprint: inputs.fingerprint(),
        })
    }

    /// The command that optimises by a strategy, with results of this name.
    fn optimising(
        &self,
        recipe: &str,
        strategy: &str,
        name: &str,
        data: &[Recording],
    ) -> Invocation {
        let mut command = self.training(&format!(
            "optimise --recipe {recipe} --strategy {strategy} --out {FOLDER}/{name} --force --data"
        ));
        for recording in data {
            command = command.arg(&recording.folder);
        }
        command
    }

    /// What every optimisation depends on.
    fn with_data(&self, inputs: Inputs, data: &[Recording]) -> Inputs {
        let inputs = inputs.text(&self.training.1);
        data.iter()
            .fold(inputs, |inputs, it| inputs.text(&it.fingerprint))
    }

    /// Optimises the shipped network by a row's strategy, and compiles the result.
    ///
    /// # Errors
    /// When a file cannot be read or written. A strategy that fails is no error.
    pub fn engine(&self, row: &Row, epochs: Option<u32>, data: &[Recording]) -> Result<Made> {
        let Row { name, strategy, .. } = row;
        let epochs = epochs.unwrap_or(row.epochs);
        let (recipe, inputs) = self.recipe(name, epochs, row.settings)?;
        let command = self.optimising(&recipe, strategy, name, data);
        let inputs = self.with_data(inputs, data).text(&command.to_string());
        let output = format!("{FOLDER}/{name}.toml");
        let step = format!("optimise-{name}");
        let optimised =
            (self.steps).once(&step, &self.root.join(&output), &inputs, || shown(&command))?;
        if !optimised {
            return Ok(Made::Failed("not optimised"));
        }
        self.compiled(row, &output, &inputs)
    }

    /// Compiles what was optimised for a row.
    fn compiled(&self, row: &Row, output: &str, inputs: &Inputs) -> Result<Made> {
        let Row { name, strategy, .. } = row;
        let engine = format!("{FOLDER}/{name}.engine");
        let step = format!("compile-{name}");
        let refused = format!("{step}-refused");
        if !self.steps.is_done(&refused, inputs) {
            match self.compile(&step, output, &engine, "", inputs)? {
                Compiled::Engine => return Ok(Made::Engine(engine)),
                Compiled::Failed => return Ok(Made::Failed("not compiled")),
                Compiled::Refused => self.steps.set_done(&refused, inputs)?,
            }
        }
        // With wider limits, no layer would be kept in floating point.
        if *strategy == MIXED {
            return Ok(Made::Failed("refused by its gate"));
        }
        println!("    the same without the gate, to measure what it refuses");
        let engine = format!("{FOLDER}/refused/{name}.engine");
        let folder = self.root.join(FOLDER).join("refused");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let wide = format!(" --gate {ANY_ERROR}");
        let step = format!("{step}-without-gate");
        Ok(match self.compile(&step, output, &engine, &wide, inputs)? {
            Compiled::Engine => Made::Refused(engine),
            Compiled::Failed | Compiled::Refused => Made::Failed("not compiled"),
        })
    }

    /// Writes the recipe that optimises the shipped network, for results of this name. Returns it with
    /// what it depends on.
    fn recipe(&self, name: &str, epochs: u32, settings: &str) -> Result<(String, Inputs)> {
        let engines = self.root.join("engines");
        let shipped = engines.join("pilotnet.toml");
        let text = fs::read_to_string(&shipped)
            .with_context(|| format!("reading {}", shipped.display()))?;
        let text = recipe::optimising(&text, &engines, epochs, settings)?;
        let recipe = format!("{FOLDER}/base-{name}.toml");
        let file = self.root.join(&recipe);
        fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
        let mut inputs = Inputs::default().text(&text);
        inputs = inputs.file(&self.root.join(SHIPPED))?;
        // Those that calibrate, and that the gate compares on.
        for frame in files(&engines.join("frames"))? {
            inputs = inputs.file(&frame)?;
        }
        Ok((recipe, inputs))
    }

    fn compile(
        &self,
        step: &str,
        recipe: &str,
        engine: &str,
        options: &str,
        optimised: &Inputs,
    ) -> Result<Compiled> {
        let command = self.runtime(&format!("compile {recipe} --out {engine}{options}"));
        let inputs = (optimised.clone().text(&self.runtime.1)).text(&command.to_string());
        let output = self.root.join(engine);
        let mut refused = false;
        let done = (self.steps).once(step, &output, &inputs, || {
            println!("    {command}");
            command.stream(|line| refused |= line.contains(REFUSAL))
        })?;
        Ok(match (done, refused) {
            (true, _) => Compiled::Engine,
            (false, true) => Compiled::Refused,
            (false, false) => Compiled::Failed,
        })
    }

    /// Measures the engines offline. Returns the JSON of `pilotage evaluate`.
    ///
    /// # Errors
    /// When an engine cannot be evaluated.
    pub fn evaluate(&self, engines: &[Engine], test: &Recording) -> Result<Value> {
        let folder = format!("{FOLDER}/evaluate");
        let command = format!("evaluate --data {} --out {folder}", test.folder);
        let (command, inputs) = self.over(engines, &command)?;
        let inputs = inputs.text(&test.fingerprint);
        let output = self.root.join(folder).join("evaluate.json");
        let done = (self.steps).once("evaluate", &output, &inputs, || shown(&command))?;
        ensure!(done, "`pilotage evaluate` failed; its message is above");
        let offline = read_json(&output)?;
        if offline::is_disturbed(&offline) {
            println!("    other programs used the processor: the next run measures again");
            self.steps.forget("evaluate")?;
        }
        Ok(offline)
    }

    /// Drives the engines over the circuits. Returns the JSON of `pilotage race`. `offline` is that
    /// of [`evaluate`](Self::evaluate) for the same engines.
    ///
    /// # Errors
    /// When a drive gives no result.
    pub fn race(
        &self,
        engines: &[Engine],
        offline: &Value,
        circuits: &[String],
        seeds: &str,
    ) -> Result<Value> {
        let folder = self.root.join(FOLDER).join("race");
        // One drive at a time: others would make the times longer.
        let command = format!(
            "race --circuits {} --seeds {seeds} --latency {LATENCY} --jobs 1 --out {FOLDER}/race",
            circuits.join(",")
        );
        let (command, inputs) = self.over(engines, &command)?;
        let output = folder.join("race.json");
        let done = (self.steps).once("race", &output, &inputs, || {
            self.remove_other_race(&folder, offline, circuits, seeds)?;
            shown(&command)
        })?;
        ensure!(
            done,
            "a drive has no result; the message is above, and the same command continues"
        );
        read_json(&output)
    }

    /// Builds plans of TensorRT, where NVIDIA's library is installed. Returns a line for each.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub fn plans(&self, engines: &[Engine]) -> Result<Vec<Value>> {
        let example = "cargo run --release --quiet --package pilotage-gpu --example plan_sizes --";
        let mut command = Invocation::new(example).within(&self.root).arg(SHIPPED);
        for engine in engines.iter().filter(|it| PLANNED.contains(&it.row.name)) {
            if let Some(file) = engine.made.file() {
                command = command.arg(file);
            }
        }
        println!("==> plans\n    {command}");
        let Some(lines) = command.answer() else {
            println!("    no plans: NVIDIA's library is missing, or cannot build them");
            return Ok(Vec::new());
        };
        (lines.lines())
            .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}")))
            .collect()
    }

    /// Removes the drives of other engines, circuits or seeds, or of another program. `pilotage race`
    /// would add them to these. It continues a race that was interrupted.
    fn remove_other_race(
        &self,
        folder: &Path,
        offline: &Value,
        circuits: &[String],
        seeds: &str,
    ) -> Result<()> {
        let race = self.root.join(FOLDER).join("race.of");
        let engines = offline["engines"].as_array().into_iter().flatten();
        let engines = engines.map(|it| format!("{} {}\n", it["name"], it["sha256"]));
        let of = format!(
            "{}\n{}\n{seeds}\n{}",
            self.runtime.1,
            circuits.join(","),
            engines.collect::<String>()
        );
        let is_same = fs::read_to_string(&race).is_ok_and(|it| it == of);
        if folder.exists() && !is_same {
            println!("    {} is of another race: driving anew", folder.display());
            remove_folder(folder)?;
        }
        fs::write(&race, &of).with_context(|| race.display().to_string())
    }

    /// A command of `pilotage` over all engines, with what it depends on.
    fn over(&self, engines: &[Engine], command: &str) -> Result<(Invocation, Inputs)> {
        let mut command = self.runtime(command);
        let mut inputs = Inputs::default().text(&self.runtime.1);
        for file in engines.iter().filter_map(|it| it.made.file()) {
            command = command.arg(file);
            inputs = inputs.file(&self.root.join(file))?;
        }
        let inputs = inputs.text(&command.to_string());
        Ok((command, inputs))
    }
}

/// The files in a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest recordings have no circuit in common.
    #[test]
    fn the_recordings_have_different_circuits() {
        let most = u64::from(super::super::MOST_FRAMES) * u64::from(EVERY);
        assert!(TRAIN_SEED + most < DRIVEN_SEED);
        assert!(DRIVEN_SEED + most < TEST_SEED);
    }

    /// The message is that of the compiler.
    #[test]
    fn a_refusal_is_recognized() {
        let error = include_str!("../../../../crates/compiler/src/compile/error.rs");
        assert!(error.contains(REFUSAL));
    }
}
