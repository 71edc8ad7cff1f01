//! Builds graphs for tests, from random numbers.

use pilotage_graph::{ElementType, Graph, GraphBuilder, Op, Tensor, TensorType, ValueId};

/// Random numbers for tests.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) as usize) % bound.max(1)
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.below(1 << 20) as f32 / (1 << 20) as f32
    }

    /// `count` different numbers, at least `gap(count)` apart and half of that from 0.
    pub fn spread(&mut self, count: usize) -> Vec<f32> {
        let gap = gap(count);
        let number = |at: usize| (at as f32 - count as f32 / 2.0).floor() * gap + gap / 2.0;
        let mut values: Vec<f32> = (0..count).map(number).collect();
        for at in (1..count).rev() {
            values.swap(at, self.below(at + 1));
        }
        values
    }
}

/// The distance of numbers of [`Numbers::spread`]: a power of two.
pub fn gap(count: usize) -> f32 {
    match count {
        0..=64 => 1.0 / 16.0,
        65..=256 => 1.0 / 64.0,
        _ => 1.0 / 256.0,
    }
}

/// A graph under construction.
pub struct Builder {
    pub b: GraphBuilder,
    pub random: Numbers,
    names: usize,
}

impl Builder {
    pub fn new(seed: u64) -> Self {
        Self {
            b: GraphBuilder::new("case"),
            random: Numbers::new(seed),
            names: 0,
        }
    }

    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}{}", self.names)
    }

    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        let name = self.name("x");
        let of = TensorType::new(ElementType::F32, shape);
        self.b.input(name, of).unwrap()
    }

    pub fn constant(&mut self, shape: &[usize]) -> ValueId {
        let data = self.random.spread(shape.iter().product());
        self.fixed(shape, data)
    }

    pub fn fixed(&mut self, shape: &[usize], data: Vec<f32>) -> ValueId {
        let name = self.name("c");
        let tensor = Tensor::new(shape, data).unwrap();
        self.b.constant(name, tensor).unwrap()
    }

    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = self.name("n");
        self.b.node(name, op, inputs).unwrap()
    }

    pub fn shaped(&mut self, op: Op, inputs: &[ValueId], shapes: &[Vec<usize>]) -> Vec<ValueId> {
        let name = self.name("n");
        self.b.node_with_shapes(name, op, inputs, shapes).unwrap()
    }

    pub fn shape(&self, value: ValueId) -> Vec<usize> {
        self.b.tensor_type(value).shape
    }

    pub fn finish(mut self, outputs: &[ValueId]) -> Graph {
        for (index, &output) in outputs.iter().enumerate() {
            self.b.output(format!("y{index}"), output).unwrap();
        }
        self.b.finish().unwrap()
    }
}
