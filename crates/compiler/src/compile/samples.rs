//! The samples that a model is calibrated and validated on: frames, with what its other inputs get.

use pilotage_engine::{Gate, GateResult, Output};

use super::{CompileError, Model};
use crate::frames::{Frames, Taken};
use crate::network::{Network, RolledOut, Rules};
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
    pub(super) calibration: Vec<RolledOut>,
    pub(super) held_back: Vec<RolledOut>,
    /// The held-back frames in their sequences.
    pub(super) sequences: Vec<Vec<Taken<'a>>>,
}

impl Samples<'_> {
    /// The samples of both parts.
    pub(super) fn split(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        (samples(&self.calibration), samples(&self.held_back))
    }
}

fn samples(rolled_out: &[RolledOut]) -> Vec<&[u8]> {
    rolled_out.iter().map(|it| &it.sample[..]).collect()
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
        let rolled_out = |sequences: &[Vec<Taken<'_>>]| {
            let rolled_out = self.roll_out(
                reference,
                &self.outputs,
                sequences,
                run.of(Stage::Reference),
            );
            rolled_out.map(|runs| runs.into_iter().flatten().collect())
        };
        Ok(Samples {
            calibration: rolled_out(&calibration)?,
            held_back: rolled_out(&sequences)?,
            sequences,
        })
    }

    fn roll_out(
        &self,
        network: &Network,
        meanings: &[Output],
        sequences: &[Vec<Taken<'_>>],
        run: Run<'_>,
    ) -> Result<Vec<Vec<RolledOut>>, CompileError> {
        let rules = Rules {
            inputs: &self.recipe.input_rules(),
            channels: self.recipe.input.colour.channels(),
            meanings,
        };
        let rolled_out = network.roll_out(rules, sequences, run);
        rolled_out.map_err(|reason| self.error(reason))
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
                let rolled_out = self.roll_out(network, &meanings, held_back.sequences, run)?;
                rolled_out
                    .into_iter()
                    .flatten()
                    .map(|it| it.answer)
                    .collect()
            }
            false => {
                let answers = network.answers_observed(held_back.samples, run);
                answers.map_err(|reason| self.error(reason))?
            }
        };
        Ok(gate.results(form, &answers, units))
    }
}
