//! Runs of the engines in the emulator.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use tooling::invocation::Invocation;

use super::blocks::{Block, Profile};
use super::machine::Machine;

/// The engines of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// This project's.
    Pilotage,
    /// ONNX Runtime's wheel, with MLAS.
    OnnxRuntime,
    /// LiteRT's wheel, with XNNPACK.
    LiteRt,
}

pub const ENGINES: [Engine; 3] = [Engine::Pilotage, Engine::OnnxRuntime, Engine::LiteRt];
pub const PRECISIONS: [&str; 2] = ["fp32", "int8"];

/// The multiply-adds of the shipped network.
pub const MULTIPLY_ADDS: f64 = 28_218_480.0;

impl Engine {
    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pilotage => "Pilotage",
            Self::OnnxRuntime => super::table::REFERENCE,
            Self::LiteRt => "LiteRT",
        }
    }

    /// The name in benches/peers/runners.py; none for this project's.
    fn script(self) -> Option<&'static str> {
        match self {
            Self::Pilotage => None,
            Self::OnnxRuntime => Some("onnxruntime"),
            Self::LiteRt => Some("litert"),
        }
    }
}

/// Everything that runs in the emulator.
pub struct Emulated {
    /// The folder of this task, under target/.
    pub folder: PathBuf,
    /// An arm64 Debian with Python.
    pub root: PathBuf,
    /// The other engines' packages.
    pub site: PathBuf,
    /// Models and frames.
    pub models: PathBuf,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// This project's runner.
    pub repeat: PathBuf,
    /// QEMU's plugin.
    pub plugin: PathBuf,
    /// The engines' versions, for the head of the table.
    pub versions: String,
}

/// The blocks of one inference, and whether the answers were right.
pub struct Inference {
    pub blocks: Vec<Block>,
    pub right: bool,
}

/// The largest difference of an answer from that of Pilotage in fp32, in the unit of the network's
/// outputs: as in benches/peers/table.py for fp32; for INT8 the shipped recipe's, 0.6 of 17.5 m/s.
const LIMITS: [(&str, f64); 2] = [("fp32", 1e-4), ("int8", 0.034)];

impl Emulated {
    /// The first line of QEMU's version.
    pub fn emulator(&self) -> String {
        let text = Invocation::new("qemu-aarch64 --version").answer();
        let text = text.unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        line.split(" (").next().unwrap_or_default().to_owned()
    }

    /// Counts the blocks of two runs of the engine. The second has `inferences` more.
    ///
    /// # Errors
    /// When a run fails.
    pub fn counted(
        &self,
        machine: &Machine,
        engine: Engine,
        precision: &str,
        inferences: u64,
    ) -> Result<Inference> {
        let (shorter, answers) = self.run(machine, engine, precision, inferences)?;
        let (longer, _) = self.run(machine, engine, precision, 2 * inferences)?;
        let blocks = shorter.per_inference(&longer, inferences)?;
        let reference = self.answers(machine, Engine::Pilotage, "fp32")?;
        let error = worst(&answers, &reference)?;
        let limit = LIMITS.iter().find(|(name, _)| *name == precision);
        let right = limit.is_some_and(|&(_, limit)| error <= limit);
        if !right {
            println!("{}, {precision}: wrong by {error:.1e}", engine.name());
        }
        Ok(Inference { blocks, right })
    }

    /// The answers to the frames.
    fn answers(&self, machine: &Machine, engine: Engine, precision: &str) -> Result<Vec<f64>> {
        let command = self
            .command(engine, precision, 0)
            .under(emulator(machine).path(&self.root));
        parsed(&command)
    }

    fn run(
        &self,
        machine: &Machine,
        engine: Engine,
        precision: &str,
        inferences: u64,
    ) -> Result<(Profile, Vec<f64>)> {
        let file = self.folder.join("blocks.txt");
        // The counts of a run before this one must not be taken for its own.
        let _ = fs::remove_file(&file);
        let plugin = format!("{},out={}", self.plugin.display(), file.display());
        let wrapper = emulator(machine)
            .path(&self.root)
            .arg("-plugin")
            .arg(plugin);
        let command = self.command(engine, precision, inferences).under(wrapper);
        let answers = parsed(&command)?;
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let profile = Profile::parse(&text).with_context(|| file.display().to_string())?;
        Ok((profile, answers))
    }

    /// The command for an arm64 system.
    fn command(&self, engine: Engine, precision: &str, inferences: u64) -> Invocation {
        let Some(script) = engine.script() else {
            return Invocation::of(&self.repeat)
                .path(&self.models.join(format!("{precision}.engine")))
                .arg(inferences.to_string());
        };
        Invocation::of(&self.root.join("usr/bin/python3"))
            .env("PYTHONPATH", &self.site)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Two runs must not differ in what Python does before the inferences.
            .env("PYTHONHASHSEED", "0")
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("OMP_NUM_THREADS", "1")
            .path(&self.scripts.join("arm.py"))
            .arg("run")
            .arg(script)
            .arg(precision)
            .arg(inferences.to_string())
            .path(&self.models)
    }
}

/// The emulator up to its last option, which takes the root.
fn emulator(machine: &Machine) -> Invocation {
    Invocation::new("timeout 1200 qemu-aarch64 -cpu")
        .arg(machine.emulated)
        .arg("-L")
}

/// Runs a command that prints its answers in a line of JSON. Returns all of them, frame by frame.
fn parsed(command: &Invocation) -> Result<Vec<f64>> {
    let (mut last, mut all) = (String::new(), String::new());
    let succeeded = command.listen(|line| {
        all.push_str(line);
        if line.starts_with('{') {
            line.clone_into(&mut last);
        }
    })?;
    ensure!(succeeded, "`{command}` failed:\n{all}");
    let found: serde_json::Value =
        serde_json::from_str(&last).with_context(|| format!("`{command}` printed:\n{all}"))?;
    let frames = found["answers"].as_array().into_iter().flatten();
    let numbers = frames.flat_map(|frame| frame.as_array().into_iter().flatten());
    let numbers: Option<Vec<f64>> = numbers.map(serde_json::Value::as_f64).collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() => Ok(numbers),
        _ => bail!("`{command}` printed no answers:\n{all}"),
    }
}

/// The largest difference.
fn worst(answers: &[f64], reference: &[f64]) -> Result<f64> {
    ensure!(
        answers.len() == reference.len(),
        "{} answers instead of {}",
        answers.len(),
        reference.len()
    );
    let differences = answers.iter().zip(reference).map(|(a, b)| (a - b).abs());
    Ok(differences.fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_numbers_of_the_last_object() {
        let command = Invocation::new("echo").arg("warning\n{\"answers\": [[1, 2.5], [-3, 4]]}");
        assert_eq!(parsed(&command).unwrap(), [1.0, 2.5, -3.0, 4.0]);
        for text in ["nothing", "{\"answers\": []}", "{\"answers\": [[null]]}"] {
            assert!(
                parsed(&Invocation::new("echo").arg(text)).is_err(),
                "{text}"
            );
        }
        assert!(parsed(&Invocation::new("false")).is_err());
    }

    #[test]
    fn the_worst_answer_counts() {
        assert_eq!(worst(&[1.0, 2.0], &[1.5, 2.0]).unwrap(), 0.5);
        assert!(worst(&[1.0], &[1.0, 2.0]).is_err());
    }
}
