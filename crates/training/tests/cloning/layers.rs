//! Builds networks layer by layer.

use pilotage_graph::{Conv, Gemm, GraphBuilder, Op, Tensor, ValueId};

/// Builds layers with seeded weights.
pub struct Layers {
    pub builder: GraphBuilder,
    state: u64,
}

impl Layers {
    pub fn new() -> Self {
        Self {
            builder: GraphBuilder::new("lane"),
            state: 1,
        }
    }

    pub fn constant(&mut self, name: &str, shape: &[usize], bound: f32, middle: f32) -> ValueId {
        let mut next = || {
            self.state = (self.state)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            middle + bound * ((self.state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        let tensor = Tensor::new(shape.to_vec(), values).unwrap();
        self.builder.constant(name, tensor).unwrap()
    }

    pub fn node(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        self.builder.node(name, op, inputs).unwrap()
    }

    pub fn convolution(
        &mut self,
        name: &str,
        x: ValueId,
        weights: [usize; 4],
        stride: usize,
    ) -> ValueId {
        let [units, depth, kernel, groups] = weights;
        let taps = (depth * kernel * kernel) as f32;
        let shape = [units, depth, kernel, kernel];
        let w = self.constant(&format!("{name}.weight"), &shape, (6.0 / taps).sqrt(), 0.0);
        let pad = if stride == 1 { kernel / 2 } else { 0 };
        let conv = Conv {
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads: [pad; 4],
            dilations: [1; 2],
            groups,
        };
        let mut inputs = vec![x, w];
        if groups == 1 {
            inputs.push(self.constant(&format!("{name}.bias"), &[units], 0.1, 0.0));
        }
        self.node(name, Op::Conv(conv), &inputs)
    }

    pub fn dense(&mut self, name: &str, x: ValueId, [units, inputs]: [usize; 2]) -> ValueId {
        let bound = (6.0 / inputs as f32).sqrt();
        let w = self.constant(&format!("{name}.weight"), &[units, inputs], bound, 0.0);
        let bias = self.constant(&format!("{name}.bias"), &[units], 0.1, 0.0);
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: true,
        };
        self.node(name, Op::Gemm(gemm), &[x, w, bias])
    }

    pub fn normalization(&mut self, name: &str, x: ValueId, channels: usize) -> ValueId {
        let inputs = [
            ("scale", 0.2, 1.0),
            ("shift", 0.2, 0.0),
            ("mean", 0.1, 0.0),
            ("variance", 0.1, 0.5),
        ];
        let inputs = inputs.map(|(what, bound, middle)| {
            self.constant(&format!("{name}.{what}"), &[channels], bound, middle)
        });
        let [scale, shift, mean, variance] = inputs;
        let op = Op::BatchNormalization { epsilon: 1e-5 };
        self.node(
            &format!("{name}.norm"),
            op,
            &[x, scale, shift, mean, variance],
        )
    }

    pub fn relu(&mut self, name: &str, x: ValueId) -> ValueId {
        self.node(&format!("{name}.relu"), Op::Relu, &[x])
    }
}
