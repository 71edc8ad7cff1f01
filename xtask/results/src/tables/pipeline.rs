//! The programs that make the tables, each run once for the same inputs. Results are in
//! target/tables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

use super::recipe;
use super::results::{Engine, Made};
use super::rows::{self, Row};
use super::steps::{Inputs, Steps, remove_folder, shown, timed};
use crate::circuits::UNSEEN;
use crate::origin::read_json;

/// The folder of all results, from the checkout's root, where all programs run.
const FOLDER: &str = "target/tables";
/// `record` draws circuits from the seeds that follow its own, fewer than frames are driven. These
/// are for optimising.
pub const TRAIN_SEED: u64 = 1000;
/// And these for measuring: training never draws them.
pub const TEST_SEED: u64 = UNSEEN;
/// One of so many frames is recorded, so that the same number of frames is of more circuits. The
/// recorder drives 32 cars by turns: a divisor of 32 would record some of them only.
pub const EVERY: u32 = 3;
/// From frame to command, ms. It is fixed, so that drives repeat bit for bit.
const LATENCY: &str = "10";
/// Limits of the gate that every engine keeps to.
const ANY_ERROR: &str = "speed=1e6,yaw_rate=1e6";

/// A result, and what it was made from.
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

    /// Records the expert's driving on random circuits.
    ///
    /// # Errors
    /// When the recording fails.
    pub fn record(&self, name: &str, seed: u64, frames: u32) -> Result<Recording> {
        let folder = format!("{FOLDER}/{name}");
        let command = self.training(&format!(
            "record {folder} --frames {frames} --every {EVERY} --jpeg 95 --seed {seed}"
        ));
        let inputs = Inputs::default().text(&self.training.1);
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

    /// Optimises the shipped network by a strategy, and compiles the result.
    ///
    /// # Errors
    /// When a file cannot be read or written. A strategy that fails is no error.
    pub fn engine(&self, row: &Row, epochs: Option<u32>, train: &Recording) -> Result<Made> {
        let Row { name, strategy, .. } = row;
        let (recipe, inputs) = self.recipe(row, epochs)?;
        let command = self.training(&format!(
            "optimise --recipe {recipe} --data {} --strategy {strategy} --out {FOLDER}/{name} --force",
            train.folder
        ));
        let inputs = (inputs.text(&self.training.1))
            .text(&train.fingerprint)
            .text(&command.to_string());
        let output = format!("{FOLDER}/{name}.toml");
        let step = format!("optimise-{name}");
        let optimised =
            (self.steps).once(&step, &self.root.join(&output), &inputs, || shown(&command))?;
        if !optimised {
            return Ok(Made::Failed("not optimised"));
        }
        let engine = format!("{FOLDER}/{name}.engine");
        if self.compile(&format!("compile-{name}"), &output, &engine, "", &inputs)? {
            return Ok(Made::Engine(engine));
        }
        // Its figures show what the gate refuses.
        println!("    the same without the gate, to measure it");
        let engine = format!("{FOLDER}/refused/{name}.engine");
        let folder = self.root.join(FOLDER).join("refused");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let wide = format!(" --gate {ANY_ERROR}");
        let step = format!("compile-{name}-without-gate");
        Ok(
            match self.compile(&step, &output, &engine, &wide, &inputs)? {
                true => Made::Refused(engine),
                false => Made::Failed("not compiled"),
            },
        )
    }

    /// Writes the recipe of a row's optimisation. Returns it with what it depends on.
    fn recipe(&self, row: &Row, epochs: Option<u32>) -> Result<(String, Inputs)> {
        let engines = self.root.join("engines");
        let shipped = engines.join("pilotnet.toml");
        let text = fs::read_to_string(&shipped)
            .with_context(|| format!("reading {}", shipped.display()))?;
        let text = recipe::optimising(&text, &engines, epochs, row.settings)?;
        let recipe = match row.settings {
            "" => format!("{FOLDER}/base.toml"),
            _ => format!("{FOLDER}/base-{}.toml", row.name),
        };
        let file = self.root.join(&recipe);
        fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
        let inputs = Inputs::default().text(&text);
        Ok((recipe, inputs.file(&engines.join("pilotnet.onnx"))?))
    }

    fn compile(
        &self,
        step: &str,
        recipe: &str,
        engine: &str,
        options: &str,
        optimised: &Inputs,
    ) -> Result<bool> {
        let command = self.runtime(&format!("compile {recipe} --out {engine}{options}"));
        let inputs = (optimised.clone().text(&self.runtime.1)).text(&command.to_string());
        let output = self.root.join(engine);
        (self.steps).once(step, &output, &inputs, || shown(&command))
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
        read_json(&output)
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
            self.remove_other_race(&folder, offline)?;
            shown(&command)
        })?;
        ensure!(
            done,
            "a drive has no result; the message is above, and the same command continues"
        );
        read_json(&output)
    }

    /// Removes the drives of other engines or of another program, which `pilotage race` refuses or
    /// does not notice. It continues those that are left.
    fn remove_other_race(&self, folder: &Path, offline: &Value) -> Result<()> {
        let program = self.root.join(FOLDER).join("race.program");
        let plan = folder.join("race-plan.json");
        let is_same = fs::read_to_string(&program).is_ok_and(|it| it == self.runtime.1);
        if plan.exists() && (!is_same || has_other_engines(&read_json(&plan)?, offline)) {
            println!("    {} is of other engines: driving anew", folder.display());
            remove_folder(folder)?;
        }
        fs::write(&program, &self.runtime.1).with_context(|| program.display().to_string())
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

/// Whether the plan of a race has an engine of the same name as one of `offline`, and another
/// content.
fn has_other_engines(plan: &Value, offline: &Value) -> bool {
    let engines = |of: &Value| of["engines"].as_array().cloned().unwrap_or_default();
    let present = engines(offline);
    engines(plan).iter().any(|known| {
        let same = present.iter().find(|it| it["name"] == known["name"]);
        same.is_some_and(|it| it["sha256"] != known["sha256"])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_race_of_changed_engines_is_driven_anew() {
        let of = |name: &str, sha256: &str| json!({ "name": name, "sha256": sha256 });
        let plan = json!({ "engines": [of("qat", "1"), of("int8", "2")] });
        let more = json!({ "engines": [of("qat", "1"), of("prune", "3")] });
        assert!(!has_other_engines(&plan, &more));
        let changed = json!({ "engines": [of("int8", "4")] });
        assert!(has_other_engines(&plan, &changed));
    }

    #[test]
    fn the_recordings_have_different_circuits() {
        assert_eq!(TEST_SEED, pilotage_simulator::Circuit::UNSEEN);
        let most = TRAIN_SEED + 200_000 * u64::from(EVERY);
        assert!(most < TEST_SEED);
    }
}
