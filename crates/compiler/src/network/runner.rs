//! Engines that run a network on samples.

use pilotage_engine::{
    AxisOrder, Buffer as InputBuffer, CpuEngine, CpuOptions, ElementType, Engine, InputsError,
    ObservedEngine, PictureForm, Port, TensorMut, TensorRef, WeightStorage, fill_inputs,
};

use super::{Buffer, Network, NetworkError};

/// The options of engines that measure.
pub(crate) const EXACT: CpuOptions = CpuOptions {
    threads: 1,
    instruction_set: None,
    profile: false,
    exact: true,
    weights: WeightStorage::Fastest,
};

/// The inputs of an engine, which are filled from samples.
#[derive(Debug)]
pub(crate) struct SampleInputs {
    /// That of the pixels that a sample has side by side.
    form: PictureForm,
    centre: u8,
    buffers: Vec<InputBuffer>,
}

impl SampleInputs {
    /// `ports` are the engine's. `channels_last` means that the model's axis order is NHWC, and
    /// `centre` is subtracted from the pixels.
    pub(crate) fn new(
        ports: &[Port],
        channels_last: bool,
        centre: u8,
    ) -> Result<Self, NetworkError> {
        let wrong = |expected| NetworkError::Input { expected, found: 0 };
        let port = ports.first().ok_or(wrong(0))?;
        let interleaved = port.layout == AxisOrder::Nhwc || channels_last;
        let (pictures, channels) = match port.shape[..] {
            _ if interleaved => (1, 1),
            [1, channels, _, _] => (1, channels),
            [1, pictures, channels, _, _] => (pictures, channels),
            _ => return Err(wrong(port.len())),
        };
        Ok(Self {
            form: PictureForm {
                len: port.len() / pictures.max(1),
                channels,
                interleaved,
            },
            centre,
            buffers: ports.iter().map(InputBuffer::zeros).collect(),
        })
    }

    /// The inputs for a sample.
    pub(crate) fn fill(&mut self, sample: &[u8]) -> Result<Vec<TensorRef<'_>>, NetworkError> {
        fill_inputs(sample, self.form, self.centre, &mut self.buffers).map_err(
            |error| match error {
                InputsError::Sample { expected, found } => NetworkError::Input { expected, found },
                other => other.into(),
            },
        )?;
        Ok(self.buffers.iter().map(InputBuffer::as_ref).collect())
    }
}

/// An engine with its buffers.
pub(super) struct Runner {
    engine: CpuEngine,
    inputs: SampleInputs,
    pub(super) outputs: Vec<Buffer>,
}

impl Runner {
    pub(super) fn new(network: &Network) -> Result<Self, NetworkError> {
        let engine = CpuEngine::new(&network.plan, EXACT)?;
        let inputs = SampleInputs::new(engine.inputs(), network.channels_last, network.centre)?;
        let buffer = |port: &Port| match port.element_type {
            ElementType::I8 => Buffer::I8(vec![0; port.len()]),
            _ => Buffer::F32(vec![0.0; port.len()]),
        };
        Ok(Self {
            inputs,
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
        let inputs = self.inputs.fill(sample)?;
        let mut output_views: Vec<TensorMut<'_>> = self
            .outputs
            .iter_mut()
            .map(|output| match output {
                Buffer::F32(data) => TensorMut::F32(data),
                Buffer::I8(data) => TensorMut::I8(data),
            })
            .collect();
        self.engine.infer(&inputs, &mut output_views)?;
        Ok(())
    }
}

/// An engine that passes its outputs on as it computes them.
pub(super) struct Observed {
    engine: ObservedEngine,
    inputs: SampleInputs,
    orders: Vec<AxisOrder>,
}

impl Observed {
    pub(super) fn new(network: &Network) -> Result<Self, NetworkError> {
        let engine = ObservedEngine::new(&network.plan, EXACT)?;
        Ok(Self {
            inputs: SampleInputs::new(engine.inputs(), network.channels_last, network.centre)?,
            orders: engine.outputs().iter().map(|port| port.layout).collect(),
            engine,
        })
    }

    /// Passes the index, the axis order and the elements of each output to `take`.
    pub(super) fn run(
        &mut self,
        sample: &[u8],
        mut take: impl FnMut(usize, AxisOrder, TensorRef<'_>),
    ) -> Result<(), NetworkError> {
        let (inputs, orders) = (self.inputs.fill(sample)?, &self.orders);
        self.engine
            .run(&inputs, |output, data| take(output, orders[output], data))?;
        Ok(())
    }
}
