//! Networks whose answers are a formula: their layers, and how a test compiles and runs them.

#![allow(dead_code, reason = "no test uses all of it")]

use std::path::Path;

use pilotage_compiler::compile;
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, Engine, Inputs, PictureForm, TensorMut};
use pilotage_graph::{Gemm, GraphBuilder, Op, Reduction, Tensor, ValueId};

/// Compiles the recipe net.toml of a folder.
pub fn compiled(folder: &Path) -> Bundle {
    Bundle::read(&compile(&folder.join("net.toml")).unwrap().bytes).unwrap()
}

/// Why it does not compile.
pub fn refusal(folder: &Path) -> String {
    compile(&folder.join("net.toml")).unwrap_err().to_string()
}

/// A compiled network of two answers, and what it gets.
pub struct Running {
    pub engine: CpuEngine,
    pub inputs: Inputs,
}

impl Running {
    /// The network of `bundle`, whose picture has `pixels` of so many `channels`.
    pub fn new(bundle: &Bundle, pixels: usize, channels: usize) -> Self {
        let engine = CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
        let form = PictureForm {
            len: pixels * channels,
            channels,
            interleaved: is_interleaved(bundle),
        };
        let rules = bundle.manifest.input_rules().unwrap();
        let ports = (engine.inputs(), engine.outputs());
        let inputs = Inputs::new(&rules, form, ports, &bundle.manifest.outputs).unwrap();
        Self { engine, inputs }
    }

    /// Sets each number of the picture to the level that `level` gives for its place.
    pub fn show(&mut self, level: impl Fn(usize) -> u8) {
        match self.inputs.picture() {
            TensorMut::F32(to) => {
                (to.iter_mut().enumerate()).for_each(|(i, x)| *x = level(i).into());
            }
            TensorMut::I8(to) => {
                (to.iter_mut().enumerate()).for_each(|(i, x)| *x = (level(i) ^ 0x80).cast_signed())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The answers to the inputs of one frame.
    pub fn answer(&mut self) -> [f32; 2] {
        assert!(self.inputs.advance(false));
        let mut answers = [0.0; 2];
        let tensors = &mut [TensorMut::F32(&mut answers)];
        self.engine.infer(&self.inputs.tensors(), tensors).unwrap();
        answers
    }
}

/// Whether the channels of a pixel follow each other in the picture.
pub fn is_interleaved(bundle: &Bundle) -> bool {
    bundle.manifest.preprocessing["layout"] == "nhwc"
}

/// The means of the channels of a picture, whose rows and columns are these axes.
pub fn means(b: &mut GraphBuilder, picture: ValueId, axes: Vec<usize>) -> ValueId {
    let mean = Op::Reduce {
        reduction: Reduction::Mean,
        axes,
        keep_dims: false,
    };
    b.node("mean", mean, &[picture]).unwrap()
}

/// A fully connected layer of two units without a bias. `weights` are those of the first unit, then
/// those of the second.
pub fn layer(b: &mut GraphBuilder, name: &str, x: ValueId, weights: Vec<f32>) -> ValueId {
    let inputs = weights.len() / 2;
    let weights = Tensor::new([2, inputs], weights).unwrap();
    let weights = b.constant(format!("{name}.weight"), weights).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    b.node(name, Op::Gemm(gemm), &[x, weights]).unwrap()
}
