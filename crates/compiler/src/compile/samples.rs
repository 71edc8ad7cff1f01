//! The samples that a model is calibrated and validated on: frames, with what its other inputs get.

use pilotage_engine::{Gate, GateResult, Output};

use super::{CompileError, Model};
use crate::frames::{Frames, Taken};
use crate::network::{Network, Rules, Told};
use crate::progress::{Run, Stage};

/// What is held back from calibration.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldBack<'a> {
    /// Every sample on its own.
    pub(super) samples: &'a [&'a [u8]],
    /// The frames of a model with more inputs than a picture, in their sequences.
    pub(super) sequences: &'a [Vec<Taken<'a>>],
}

/// Samples of a model with more inputs than a picture, with the answers of fp32.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    pub(super) calibration: Vec<Told>,
    pub(super) held_back: Vec<Told>,
    /// The held-back frames in their sequences.
    pub(super) sequences: Vec<Vec<Taken<'a>>>,
}

impl Samples<'_> {
    /// The samples of both parts.
    pub(super) fn split(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        (samples(&self.calibration), samples(&self.held_back))
    }
}

fn samples(told: &[Told]) -> Vec<&[u8]> {
    told.iter().map(|it| &it.sample[..]).collect()
}

impl Model {
    /// The samples of a model with more inputs than a picture, as fp32 meets them: the answers of fp32
    /// are its states and signals.
    pub(super) fn samples<'a>(
        &self,
        frames: &'a Frames,
        reference: &Network,
        run: Run<'_>,
    ) -> Result<Samples<'a>, CompileError> {
        let [calibration, sequences] = frames.split_runs();
        let told = |sequences: &[Vec<Taken<'_>>]| {
            let told = self.roll_out(
                reference,
                &self.outputs,
                sequences,
                run.of(Stage::Reference),
            );
            told.map(|runs| runs.into_iter().flatten().collect())
        };
        Ok(Samples {
            calibration: told(&calibration)?,
            held_back: told(&sequences)?,
            sequences,
        })
    }

    fn roll_out(
        &self,
        network: &Network,
        meanings: &[Output],
        sequences: &[Vec<Taken<'_>>],
        run: Run<'_>,
    ) -> Result<Vec<Vec<Told>>, CompileError> {
        let rules = Rules {
            inputs: &self.recipe.input_rules(),
            channels: self.recipe.input.colour.channels(),
            meanings,
        };
        let told = network.roll_out(rules, sequences, run);
        told.map_err(|reason| self.error(reason))
    }

    /// The errors of `network`, a form of the model, on what is held back; see [`Gate::results`].
    /// With a memory, each sequence runs with the network's own answers as its states and signals,
    /// as it will drive.
    pub(super) fn results(
        &self,
        gate: &Gate,
        (held_back, run): (HeldBack<'_>, Run<'_>),
        form: &str,
        network: &Network,
        units: &[(String, f32)],
    ) -> Result<Vec<GateResult>, CompileError> {
        let run = run.of(Stage::Gate);
        let answers = match self.recipe.memory.depends_on_answers() {
            true => {
                let meanings = self.outputs_in(units);
                let told = self.roll_out(network, &meanings, held_back.sequences, run)?;
                told.into_iter().flatten().map(|it| it.answer).collect()
            }
            false => {
                let answers = network.answers_observed(held_back.samples, run);
                answers.map_err(|reason| self.error(reason))?
            }
        };
        Ok(gate.results(form, &answers, units))
    }
}
