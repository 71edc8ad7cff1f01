//! The validation set of a plan, and the plan's answers to it.

use pilotage_engine::{
    Bundle, ElementType, Engine, EngineError, Port, TensorMut, TensorRef, ValidationSet,
};
use sha2::{Digest, Sha256};

use crate::engine::TensorRtEngine;
use crate::nhwc::NhwcAdapter;

/// The digest of the validation set: the frames, the fp32 answers, and the limits.
pub(crate) fn digest(bundle: &Bundle) -> [u8; 32] {
    let mut digest = Sha256::new();
    let others = bundle.sections.get_key_value("gate.inputs");
    for name in ["gate.frames", "gate.answers"]
        .into_iter()
        .chain(others.map(|(name, _)| &**name))
    {
        let section = bundle.sections.get(name).map_or(&[][..], Vec::as_slice);
        digest.update((section.len() as u64).to_le_bytes());
        digest.update(section);
    }
    for (limits, output) in bundle.manifest.gate.iter().zip(&bundle.manifest.outputs) {
        for limit in [limits.most_mse, limits.most_worst] {
            digest.update(limit.to_le_bytes());
        }
        // The output's index in the answer, its scale and its unit.
        let output = format!("{output:?}");
        digest.update((output.len() as u64).to_le_bytes());
        digest.update(output);
    }
    // The scale of the fp32 answers, which may differ from the engine's.
    let outputs = bundle.manifest.recipe.get("output");
    digest.update(outputs.map(ToString::to_string).unwrap_or_default());
    digest.finalize().into()
}

/// Runs the plan on the validation frames and returns its answers.
pub(crate) fn answers(
    engine: &mut NhwcAdapter<TensorRtEngine>,
    validation: &ValidationSet,
) -> Result<Vec<Vec<f32>>, EngineError> {
    // An INT8 model takes pixels minus 128. The floating-point model that is made of it does too.
    let picture = engine.inputs().first();
    let is_int8 = picture.is_some_and(|port| port.element_type == ElementType::I8);
    let pixels = picture.map_or(0, Port::len);
    let others: Vec<usize> = engine.inputs().iter().skip(1).map(Port::len).collect();
    let lengths: Vec<_> = (engine.outputs().iter())
        .map(|port| (port.element_type, port.len()))
        .collect();
    let mut all = Vec::new();
    for frame in validation.frames() {
        let (bytes, floats): (Vec<i8>, Vec<f32>);
        let (frame, numbers) = frame.split_at(pixels.min(frame.len()));
        let mut numbers = numbers.as_chunks::<4>().0.iter();
        let number = |len: &usize| -> Vec<f32> {
            let numbers = numbers.by_ref().take(*len);
            numbers.map(|&word| f32::from_le_bytes(word)).collect()
        };
        let others: Vec<Vec<f32>> = others.iter().map(number).collect();
        let picture = match is_int8 {
            true => {
                bytes = frame
                    .iter()
                    .map(|&pixel| (pixel ^ 0x80).cast_signed())
                    .collect();
                TensorRef::I8(&bytes)
            }
            false => {
                floats = frame.iter().map(|&pixel| f32::from(pixel)).collect();
                TensorRef::F32(&floats)
            }
        };
        let mut outputs: Vec<Output> = lengths
            .iter()
            .map(|&(element_type, length)| Output::new(element_type, length))
            .collect();
        let mut views: Vec<_> = outputs.iter_mut().map(Output::view).collect();
        let others = others.iter().map(|other| TensorRef::F32(other));
        let inputs: Vec<TensorRef<'_>> = [picture].into_iter().chain(others).collect();
        engine.infer(&inputs, &mut views)?;
        all.push(outputs.iter().flat_map(Output::to_f32).collect());
    }
    Ok(all)
}

/// The buffer of an output.
enum Output {
    Floats(Vec<f32>),
    Quantized(Vec<i8>),
}

impl Output {
    fn new(element_type: ElementType, length: usize) -> Self {
        match element_type {
            ElementType::I8 => Self::Quantized(vec![0; length]),
            _ => Self::Floats(vec![0.0; length]),
        }
    }

    fn view(&mut self) -> TensorMut<'_> {
        match self {
            Self::Floats(values) => TensorMut::F32(values),
            Self::Quantized(values) => TensorMut::I8(values),
        }
    }

    fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Floats(values) => values.clone(),
            Self::Quantized(values) => values.iter().map(|&value| f32::from(value)).collect(),
        }
    }
}
