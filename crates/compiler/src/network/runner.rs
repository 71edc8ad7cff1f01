//! An engine that runs a network on samples.

use pilotage_engine::{
    AxisOrder, Buffer as InputBuffer, CpuEngine, CpuOptions, ElementType, Engine, InputsError,
    PictureForm, Port, TensorMut, TensorRef, fill_inputs,
};

use super::{Buffer, Network, NetworkError};

/// An engine with its buffers.
pub(super) struct Runner {
    engine: CpuEngine,
    /// That of the pixels that a sample has side by side.
    form: PictureForm,
    centre: u8,
    inputs: Vec<InputBuffer>,
    pub(super) outputs: Vec<Buffer>,
}

impl Runner {
    pub(super) fn new(network: &Network) -> Result<Self, NetworkError> {
        let options = CpuOptions {
            exact: true,
            ..CpuOptions::default()
        };
        let engine = CpuEngine::new(&network.plan, options)?;
        let wrong = |expected| NetworkError::Input { expected, found: 0 };
        let port = engine.inputs().first().ok_or(wrong(0))?;
        let interleaved = port.layout == AxisOrder::Nhwc || network.channels_last;
        let (pictures, channels) = match port.shape[..] {
            _ if interleaved => (1, 1),
            [1, channels, _, _] => (1, channels),
            [1, pictures, channels, _, _] => (pictures, channels),
            _ => return Err(wrong(port.len())),
        };
        let form = PictureForm {
            len: port.len() / pictures.max(1),
            channels,
            interleaved,
        };
        let buffer = |port: &Port| match port.element_type {
            ElementType::I8 => Buffer::I8(vec![0; port.len()]),
            _ => Buffer::F32(vec![0.0; port.len()]),
        };
        Ok(Self {
            form,
            centre: network.centre,
            inputs: engine.inputs().iter().map(InputBuffer::zeros).collect(),
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
        fill_inputs(sample, self.form, self.centre, &mut self.inputs).map_err(
            |error| match error {
                InputsError::Sample { expected, found } => NetworkError::Input { expected, found },
                other => other.into(),
            },
        )?;
        let mut output_views: Vec<TensorMut<'_>> = self
            .outputs
            .iter_mut()
            .map(|output| match output {
                Buffer::F32(data) => TensorMut::F32(data),
                Buffer::I8(data) => TensorMut::I8(data),
            })
            .collect();
        let inputs: Vec<TensorRef<'_>> = self.inputs.iter().map(InputBuffer::as_ref).collect();
        self.engine.infer(&inputs, &mut output_views)?;
        Ok(())
    }
}
