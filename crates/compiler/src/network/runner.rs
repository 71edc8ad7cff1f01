//! An engine that runs a network on samples.

use pilotage_engine::{
    AxisOrder, CpuEngine, CpuOptions, ElementType, Engine, Port, TensorMut, TensorRef,
};

use super::{Buffer, Network, NetworkError};
use crate::permute::permute;

/// An engine with its buffers.
pub(super) struct Runner {
    engine: CpuEngine,
    /// Rows, columns and channels of each picture, if the engine's input is planar.
    planes: Option<[usize; 3]>,
    element_type: ElementType,
    centre: u8,
    /// Bytes of the pictures of a sample.
    pictures: usize,
    /// The other inputs.
    others: Vec<Vec<f32>>,
    pub(super) outputs: Vec<Buffer>,
}

impl Runner {
    pub(super) fn new(network: &Network) -> Result<Self, NetworkError> {
        let options = CpuOptions {
            exact: true,
            ..CpuOptions::default()
        };
        let engine = CpuEngine::new(&network.plan, options)?;
        let [port, others @ ..] = engine.inputs() else {
            return Err(NetworkError::Input {
                expected: 0,
                found: 0,
            });
        };
        let planes = match (port.layout, network.channels_last, &port.shape[..]) {
            (AxisOrder::Nhwc, ..) | (_, true, _) => None,
            (_, _, &[1, channels, rows, columns] | &[1, _, channels, rows, columns]) => {
                Some([rows, columns, channels])
            }
            _ => {
                return Err(NetworkError::Input {
                    expected: port.len(),
                    found: 0,
                });
            }
        };
        let buffer = |port: &Port| match port.element_type {
            ElementType::I8 => Buffer::I8(vec![0; port.len()]),
            _ => Buffer::F32(vec![0.0; port.len()]),
        };
        Ok(Self {
            planes,
            element_type: port.element_type,
            centre: network.centre,
            pictures: port.len(),
            others: others.iter().map(|port| vec![0.0; port.len()]).collect(),
            outputs: engine.outputs().iter().map(buffer).collect(),
            engine,
        })
    }

    /// The inputs and outputs.
    pub(super) fn ports(&self) -> (&[Port], &[Port]) {
        (self.engine.inputs(), self.engine.outputs())
    }

    /// The latest answers, all outputs concatenated. Integers are not scaled.
    pub(super) fn answer(&self) -> Vec<f32> {
        self.outputs.iter().flat_map(Buffer::to_f32).collect()
    }

    pub(super) fn run(&mut self, sample: &[u8]) -> Result<(), NetworkError> {
        let others: usize = self.others.iter().map(|other| other.len() * 4).sum();
        let (expected, found) = (self.pictures + others, sample.len());
        if found != expected {
            return Err(NetworkError::Input { expected, found });
        }
        let (pixels, others) = sample.split_at(self.pictures);
        let pixel_values = match &self.planes {
            Some(shape) => {
                let pictures = pixels.chunks(shape.iter().product::<usize>().max(1));
                let planar = |picture| permute(picture, shape, &[2, 0, 1]);
                pictures.flat_map(planar).collect()
            }
            None => pixels.to_vec(),
        };
        let mut words = others.as_chunks::<4>().0.iter();
        for other in &mut self.others {
            for (value, &word) in other.iter_mut().zip(&mut words) {
                *value = f32::from_le_bytes(word);
            }
        }
        let mut output_views: Vec<TensorMut<'_>> = self
            .outputs
            .iter_mut()
            .map(|output| match output {
                Buffer::F32(data) => TensorMut::F32(data),
                Buffer::I8(data) => TensorMut::I8(data),
            })
            .collect();
        let (integers, floats): (Vec<i8>, Vec<f32>);
        let picture = match self.element_type {
            ElementType::I8 => {
                let centred = pixel_values.iter().map(|&p| (p ^ 0x80).cast_signed());
                integers = centred.collect();
                TensorRef::I8(&integers)
            }
            _ => {
                let centre = f32::from(self.centre);
                let centred = pixel_values.iter().map(|&p| f32::from(p) - centre);
                floats = centred.collect();
                TensorRef::F32(&floats)
            }
        };
        let others = self.others.iter().map(|other| TensorRef::F32(other));
        let inputs: Vec<TensorRef<'_>> = [picture].into_iter().chain(others).collect();
        self.engine.infer(&inputs, &mut output_views)?;
        Ok(())
    }
}
