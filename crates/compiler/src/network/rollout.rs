//! Runs a network with more inputs than a picture on frames in the order of a drive.

use std::sync::Mutex;

use std::time::Duration;

use pilotage_engine::{
    AxisOrder, ElementType, InputRules, Inputs, Output, PictureForm, Port, TensorMut, TensorRef,
};

use pilotage_vehicle::Scan;

use super::runner::Runner;
use super::{Network, NetworkError, on_all_cores};
use crate::frames::Taken;
use crate::progress::Run;

/// How a network's inputs follow from frames and answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) inputs: &'a InputRules,
    /// The channels of a picture.
    pub(crate) channels: usize,
    /// What the outputs mean.
    pub(crate) meanings: &'a [Output],
}

/// A frame as a network with a memory got it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RolledOut {
    /// The sample: see [`Network`].
    pub(crate) sample: Vec<u8>,
    /// The network's answer, all outputs concatenated.
    pub(crate) answer: Vec<f32>,
}

impl Network {
    /// Runs every sequence of frames from the start of the memory, with the network's own answers
    /// as its states and signals. Sequences run on all cores. `run` is informed of each frame.
    ///
    /// # Errors
    /// If the engine cannot be built, or the frames or rules do not fit its inputs.
    pub(crate) fn roll_out(
        &self,
        rules: Rules<'_>,
        sequences: &[Vec<Taken<'_>>],
        run: Run<'_>,
    ) -> Result<Vec<Vec<RolledOut>>, NetworkError> {
        run.pass(sequences.iter().map(Vec::len).sum());
        let done = Mutex::new(vec![Vec::new(); sequences.len()]);
        let new = || Runner::new(self);
        on_all_cores(sequences.len(), new, |runner, index| {
            let rolled_out = sequence(runner, rules, &sequences[index], run)?;
            if let Ok(mut done) = done.lock() {
                done[index] = rolled_out;
            }
            Ok(())
        })?;
        Ok(done.into_inner().unwrap_or_default())
    }
}

fn sequence(
    runner: &mut Runner,
    rules: Rules<'_>,
    frames: &[Taken<'_>],
    run: Run<'_>,
) -> Result<Vec<RolledOut>, NetworkError> {
    let mut inputs = sample_inputs(runner, rules)?;
    let none = Scan::default();
    let mut rolled_out = Vec::with_capacity(frames.len());
    for frame in frames {
        if let TensorMut::I8(picture) = inputs.picture() {
            if picture.len() != frame.pixels.len() {
                return Err(NetworkError::Input {
                    expected: picture.len(),
                    found: frame.pixels.len(),
                });
            }
            for (to, &pixel) in picture.iter_mut().zip(frame.pixels) {
                *to = pixel.cast_signed();
            }
        }
        // Frames without a number that the network needs are refused when they are read.
        if let Some(numbers) = frame.numbers {
            let _ = inputs.measure(&numbers.measured, Duration::ZERO);
            if let Some(command) = numbers.command {
                inputs.command(command);
            }
            let _ = inputs.scan(numbers.scan.as_deref().unwrap_or(&none), Duration::ZERO);
        }
        inputs.advance(false);
        let mut sample = match inputs.tensors().first() {
            Some(TensorRef::I8(pixels)) => pixels.iter().map(|p| p.cast_unsigned()).collect(),
            _ => Vec::new(),
        };
        sample.extend(inputs.other_bytes());
        runner.run(&sample)?;
        let answer = runner.answer();
        inputs.remember(&answer);
        rolled_out.push(RolledOut { sample, answer });
        run.frame();
    }
    Ok(rolled_out)
}

/// Inputs whose first tensor is the pictures of a sample: bytes of interleaved channels.
fn sample_inputs(runner: &Runner, rules: Rules<'_>) -> Result<Inputs, NetworkError> {
    let (ports, outputs) = runner.ports();
    let mut ports = ports.to_vec();
    let mut form = PictureForm {
        len: 0,
        channels: rules.channels,
        interleaved: true,
    };
    if let Some(first) = ports.first_mut() {
        form.len = first.len() / rules.inputs.memory.pictures.max(1);
        *first = Port {
            element_type: ElementType::I8,
            layout: AxisOrder::Nhwc,
            ..first.clone()
        };
    }
    Ok(Inputs::new(
        rules.inputs,
        form,
        (&ports, outputs),
        rules.meanings,
    )?)
}
