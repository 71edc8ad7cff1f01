//! The tensors of the model that TensorRT gets, and the CPU engine's answers in their form.

use std::fmt::Write as _;
use std::io::{self, Read};

use pilotage_engine::{Buffer, Bundle, CpuEngine, ElementType, Engine, TensorMut, TensorRef};
use pilotage_graph::{Graph, ReadOptions, ValueId};

/// An input or output: of an input, its elements are those of the ONNX model, picture planes and all.
#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    is_i8: bool,
}

impl Tensor {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The inputs and outputs of an engine file's model for TensorRT, in that model's order.
#[derive(Debug, Clone)]
pub struct Tensors {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl Tensors {
    /// Those of `bundle`.
    pub fn of(bundle: &Bundle) -> Self {
        let sections = &bundle.sections;
        let mut models = sections.iter().filter(|(name, _)| name.ends_with(".onnx"));
        let graph = Graph::read(models.next().unwrap().1, &ReadOptions::default()).unwrap();
        // TensorRT gets no input that nothing reads.
        let is_read = |input: &&ValueId| graph.nodes.iter().any(|node| node.inputs.contains(input));
        let tensor = |&value: &ValueId| {
            let value = graph.value(value);
            Tensor {
                name: value.name.clone(),
                shape: value.shape.clone(),
                is_i8: value.element_type == ElementType::I8,
            }
        };
        Self {
            inputs: graph.inputs.iter().filter(is_read).map(tensor).collect(),
            outputs: graph.outputs.iter().map(tensor).collect(),
        }
    }

    /// The first line of the substitutes' answers (answers.h).
    pub fn header(&self) -> String {
        let mut text = format!("{} {}", self.inputs.len(), self.outputs.len());
        for tensor in self.inputs.iter().chain(&self.outputs) {
            // TensorRT's numbers of INT8 and of float.
            let element = if tensor.is_i8 { 2 } else { 0 };
            write!(text, " {} {element} {}", tensor.name, tensor.shape.len()).unwrap();
            for size in &tensor.shape {
                write!(text, " {size}").unwrap();
            }
        }
        text + "\n"
    }

    /// Reads an inference's inputs, and returns the numbers of all outputs by `engine`.
    pub fn answer(&self, from: &mut impl Read, engine: &mut CpuEngine) -> io::Result<Vec<f32>> {
        let ports = engine.inputs().to_vec();
        let mut buffers: Vec<Buffer> = ports.iter().map(Buffer::zeros).collect();
        for tensor in &self.inputs {
            let size = if tensor.is_i8 { 1 } else { 4 };
            let mut bytes = vec![0; size * tensor.len()];
            from.read_exact(&mut bytes)?;
            // The picture is the engine's first input, by whatever name.
            let others = ports.iter().enumerate().skip(1);
            let mut others = others.filter(|(_, port)| port.name == tensor.name);
            let (at, port) = others.next().unwrap_or((0, &ports[0]));
            // Planar in the model, interleaved in the engine.
            let planes = match port.shape == tensor.shape {
                true => 1,
                false => port.shape.last().copied().unwrap_or(1),
            };
            let pixels = tensor.len() / planes;
            let place = |element: usize| element % planes * pixels + element / planes;
            match &mut buffers[at] {
                Buffer::I8(values) => {
                    for (element, value) in values.iter_mut().enumerate() {
                        *value = bytes[place(element)].cast_signed();
                    }
                }
                Buffer::F32(values) => {
                    for (element, value) in values.iter_mut().enumerate() {
                        let at = 4 * place(element);
                        *value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        let inputs: Vec<TensorRef<'_>> = buffers.iter().map(Buffer::as_ref).collect();
        let ports = engine.outputs().to_vec();
        let mut answers: Vec<Buffer> = ports.iter().map(Buffer::zeros).collect();
        let mut views: Vec<TensorMut<'_>> = answers.iter_mut().map(Buffer::as_mut).collect();
        engine.infer(&inputs, &mut views).unwrap();
        let mut numbers = Vec::new();
        for tensor in &self.outputs {
            let at = ports.iter().position(|port| port.name == tensor.name);
            let at = at.unwrap();
            assert_eq!(ports[at].element_type, ElementType::F32);
            numbers.extend(answers[at].to_f64().into_iter().map(|number| number as f32));
        }
        Ok(numbers)
    }
}
