//! Gives a TensorRT plan the ports of the engine file that it was built from.

use arrayvec::ArrayVec;
use pilotage_engine::{
    ElementType, Engine, EngineError, MOST_INPUTS, Port, TensorMut, TensorRef, Timing,
};

/// Adapts an engine with a planar picture (NCHW, as in ONNX models) to the ports of the CPU plan of
/// the same model, whose picture is interleaved (NHWC) and its first input. Both engines then take
/// the same bytes for the same frame.
#[derive(Debug)]
pub struct NhwcAdapter<E> {
    engine: E,
    inputs: Vec<Port>,
    /// For each input of the engine, which of the ports it is.
    order: Vec<usize>,
    outputs: Vec<Port>,
    /// The channels of the planar input; 1 if the input needs no transposition.
    planes: usize,
    picture: Picture,
    /// The swaps that bring the outputs from the ports' order into the engine's.
    swaps: Vec<(usize, usize)>,
}

/// The buffer of the engine's input.
#[derive(Debug)]
enum Picture {
    F32(Vec<f32>),
    I8(Vec<i8>),
    /// The engine has no such input: the network reads no picture.
    Unread,
}

/// The inputs or outputs of the TensorRT plan differ from those of the engine file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the TensorRT plan takes and gives other tensors than the engine file: {reason}")]
pub struct PortMismatch {
    reason: String,
}

impl<E: Engine> NhwcAdapter<E> {
    /// Wraps `engine` behind the ports of the CPU plan. The first input is the picture; other inputs
    /// and outputs are matched by name. An input that the network does not read may be absent, such as the
    /// picture of one that reads a scan alone.
    ///
    /// # Errors
    /// When inputs or outputs do not match.
    pub fn new(engine: E, inputs: &[Port], outputs: &[Port]) -> Result<Self, PortMismatch> {
        let refused = |reason: String| PortMismatch { reason };
        let order = input_order(inputs, engine.inputs()).map_err(refused)?;
        let read = order.iter().position(|&port| port == 0);
        let read = read.and_then(|index| inputs.first().zip(engine.inputs().get(index)));
        let (planes, picture) = match read {
            Some((port, input)) => picture_of(port, input).map_err(refused)?,
            None => (1, Picture::Unread),
        };
        let engine_outputs = engine.outputs();
        if outputs.len() != engine_outputs.len() {
            return Err(refused(format!("{} outputs", engine_outputs.len())));
        }
        let mut unmatched: Vec<&Port> = outputs.iter().collect();
        let mut swaps = Vec::new();
        for (index, output) in engine_outputs.iter().enumerate() {
            let found =
                (index..unmatched.len()).find(|&other| unmatched[other].name == output.name);
            let found = found.ok_or_else(|| refused(format!("the output {}", output.name)))?;
            let port = unmatched[found];
            if (port.len(), port.element_type) != (output.len(), output.element_type) {
                return Err(refused(format!(
                    "{} is {} of {:?}, not {} of {:?}",
                    port.name,
                    output.len(),
                    output.element_type,
                    port.len(),
                    port.element_type
                )));
            }
            unmatched.swap(index, found);
            swaps.push((index, found));
        }
        Ok(Self {
            inputs: inputs.to_vec(),
            order,
            outputs: outputs.to_vec(),
            planes,
            picture,
            swaps,
            engine,
        })
    }

    /// The adapted engine.
    pub fn engine_mut(&mut self) -> &mut E {
        &mut self.engine
    }
}

/// The channels of the engine's planar `input`, 1 if it needs no transposition, and its buffer.
fn picture_of(port: &Port, input: &Port) -> Result<(usize, Picture), String> {
    if port.len() != input.len() {
        return Err(format!("{:?} and {:?}", input.shape, port.shape));
    }
    let planes = match port.shape.last() {
        Some(&channels) if port.shape != input.shape => channels.max(1),
        _ => 1,
    };
    let picture = match (port.element_type, input.element_type) {
        (ElementType::I8, ElementType::I8) => Picture::I8(vec![0; port.len()]),
        (ElementType::I8 | ElementType::F32, ElementType::F32) => {
            Picture::F32(vec![0.0; port.len()])
        }
        (from, to) => return Err(format!("the input is {to:?}, not {from:?}")),
    };
    Ok((planes, picture))
}

/// For each input of the engine, the index of the port that it is. The first port is the picture,
/// which may have another name.
fn input_order(ports: &[Port], inputs: &[Port]) -> Result<Vec<usize>, String> {
    if inputs.is_empty() || inputs.len() > ports.len() || ports.len() > MOST_INPUTS {
        return Err(format!("{} inputs, not {}", inputs.len(), ports.len()));
    }
    let others = ports.iter().enumerate().skip(1);
    let mut order = Vec::with_capacity(inputs.len());
    for input in inputs {
        let port = others.clone().find(|(_, port)| port.name == input.name);
        if let Some((_, port)) = port
            && (port.len(), port.element_type) != (input.len(), input.element_type)
        {
            return Err(format!(
                "{} is {} of {:?}, not {} of {:?}",
                port.name,
                input.len(),
                input.element_type,
                port.len(),
                port.element_type
            ));
        }
        order.push(port.map_or(0, |(index, _)| index));
    }
    match order.iter().filter(|&&index| index == 0).count() {
        0 | 1 => Ok(order),
        _ => Err("other names of inputs".to_owned()),
    }
}

/// Transposes from interleaved to planar: `to[plane][pixel] = convert(from[pixel][plane])`.
fn deinterleave<T: Copy, U>(from: &[T], planes: usize, to: &mut [U], convert: impl Fn(T) -> U) {
    let pixels = (from.len() / planes).max(1);
    for (plane, to) in to.chunks_exact_mut(pixels).enumerate() {
        for (to, from) in to.iter_mut().zip(from.chunks_exact(planes)) {
            *to = convert(from[plane]);
        }
    }
}

impl<E: Engine> Engine for NhwcAdapter<E> {
    fn describe(&self) -> String {
        self.engine.describe()
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        self.engine.prepare()
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(&self.inputs, inputs)?;
        EngineError::check_outputs(&self.outputs, outputs)?;
        let planes = self.planes;
        let picture = match (&mut self.picture, inputs) {
            (Picture::I8(picture), [TensorRef::I8(values), ..]) => {
                deinterleave(values, planes, picture, |value| value);
                TensorRef::I8(picture)
            }
            (Picture::F32(picture), [TensorRef::I8(values), ..]) => {
                deinterleave(values, planes, picture, f32::from);
                TensorRef::F32(picture)
            }
            (Picture::F32(picture), [TensorRef::F32(values), ..]) => {
                deinterleave(values, planes, picture, |value| value);
                TensorRef::F32(picture)
            }
            (Picture::Unread, _) => TensorRef::I8(&[]),
            // Unreachable: `check_inputs` has compared the input with the port, and `new` accepts
            // no other combination of types.
            _ => {
                return Err(EngineError::PortCount {
                    side: "inputs",
                    expected: 1,
                    found: 0,
                });
            }
        };
        for &(one, other) in &self.swaps {
            outputs.swap(one, other);
        }
        let tensors: ArrayVec<TensorRef<'_>, MOST_INPUTS> = (self.order.iter())
            .map(|&port| match port {
                0 => picture,
                other => inputs[other],
            })
            .collect();
        let answer = self.engine.infer(&tensors, outputs);
        for &(one, other) in self.swaps.iter().rev() {
            outputs.swap(one, other);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
