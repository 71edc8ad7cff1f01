//! A plan with the ports of the engine file it was built from.

use pilotage_engine::{ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing};

/// An engine whose picture is planar, as models in ONNX have it, behind the ports of
/// the CPU's plan of the same model, whose picture is interleaved: either can answer
/// the same frame, and is given the same bytes.
#[derive(Debug)]
pub struct Interleaved<E> {
    engine: E,
    inputs: [Port; 1],
    outputs: Vec<Port>,
    /// Channels that lie apart in the engine's picture; 1 where nothing has to move.
    planes: usize,
    picture: Picture,
    /// Outputs that change places, to bring the ports' order into the engine's.
    swaps: Vec<(usize, usize)>,
}

/// The engine's picture.
#[derive(Debug)]
enum Picture {
    F32(Vec<f32>),
    I8(Vec<i8>),
}

/// The engine does not take and give what the plan does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the TensorRT plan takes and gives other tensors than the engine file: {reason}")]
pub struct OtherTensors {
    reason: String,
}

impl<E: Engine> Interleaved<E> {
    /// Gives `engine` the ports of the CPU's. Outputs are matched by name, the one input
    /// by being the only one.
    ///
    /// # Errors
    /// When they do not match.
    pub fn new(engine: E, inputs: &[Port], outputs: &[Port]) -> Result<Self, OtherTensors> {
        let refused = |reason: String| OtherTensors { reason };
        let ([port], [input]) = (inputs, engine.inputs()) else {
            return Err(refused("there is not one input".into()));
        };
        if port.len() != input.len() {
            return Err(refused(format!("{:?} and {:?}", input.shape, port.shape)));
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
            (from, to) => return Err(refused(format!("the input is {to:?}, not {from:?}"))),
        };
        let theirs = engine.outputs();
        if outputs.len() != theirs.len() {
            return Err(refused(format!("{} outputs", theirs.len())));
        }
        let mut order: Vec<&Port> = outputs.iter().collect();
        let mut swaps = Vec::new();
        for (place, output) in theirs.iter().enumerate() {
            let found = (place..order.len()).find(|&other| order[other].name == output.name);
            let found = found.ok_or_else(|| refused(format!("the output {}", output.name)))?;
            let port = order[found];
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
            order.swap(place, found);
            swaps.push((place, found));
        }
        Ok(Self {
            inputs: [port.clone()],
            outputs: outputs.to_vec(),
            planes,
            picture,
            swaps,
            engine,
        })
    }
}

/// `to[plane][pixel] = from[pixel][plane]`.
fn part<T: Copy, U>(from: &[T], planes: usize, to: &mut [U], change: impl Fn(T) -> U) {
    let pixels = (from.len() / planes).max(1);
    for (plane, to) in to.chunks_exact_mut(pixels).enumerate() {
        for (to, from) in to.iter_mut().zip(from.chunks_exact(planes)) {
            *to = change(from[plane]);
        }
    }
}

impl<E: Engine> Engine for Interleaved<E> {
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
            (Picture::I8(picture), [TensorRef::I8(levels)]) => {
                part(levels, planes, picture, |level| level);
                TensorRef::I8(picture)
            }
            (Picture::F32(picture), [TensorRef::I8(levels)]) => {
                part(levels, planes, picture, f32::from);
                TensorRef::F32(picture)
            }
            (Picture::F32(picture), [TensorRef::F32(values)]) => {
                part(values, planes, picture, |value| value);
                TensorRef::F32(picture)
            }
            // The port's type is one of these two, and was just compared.
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
        let answer = self.engine.infer(&[picture], outputs);
        for &(one, other) in self.swaps.iter().rev() {
            outputs.swap(one, other);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
