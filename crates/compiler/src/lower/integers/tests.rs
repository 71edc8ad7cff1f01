use pilotage_engine::CpuOptions;
use pilotage_engine::plan::{Epilogue, Operation, Plan};
use pilotage_graph::{Conv, Gemm, GraphBuilder, Pool, TensorType};

use super::*;
use crate::lower::{PortLayout, Weights, lower_weights};
use crate::run::run_plan;

/// Builds QDQ graphs in the form that other tools write.
struct Qdq {
    b: GraphBuilder,
    names: usize,
}

impl Qdq {
    fn new() -> Self {
        Self {
            b: GraphBuilder::new("qdq"),
            names: 0,
        }
    }

    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what} {}", self.names)
    }

    fn constant(&mut self, shape: &[usize], data: impl Into<TensorData>) -> ValueId {
        let name = self.name("constant");
        self.b
            .constant(name, Tensor::new(shape, data).unwrap())
            .unwrap()
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = self.name(op.name());
        self.b.node(name, op, inputs).unwrap()
    }

    fn quantize(&mut self, x: ValueId, scale: f32) -> ValueId {
        let scale = self.constant(&[], vec![scale]);
        let zero = self.constant(&[], vec![0_i8]);
        self.node(Op::QuantizeLinear { axis: 0 }, &[x, scale, zero])
    }

    fn dequantize(&mut self, x: ValueId, scale: f32) -> ValueId {
        let scale = self.constant(&[], vec![scale]);
        let zero = self.constant(&[], vec![0_i8]);
        self.node(Op::DequantizeLinear { axis: 0 }, &[x, scale, zero])
    }

    fn round_trip(&mut self, x: ValueId, scale: f32) -> ValueId {
        let quantized = self.quantize(x, scale);
        self.dequantize(quantized, scale)
    }

    /// Weights with a scale for each unit of the first axis.
    fn weights(&mut self, shape: &[usize], zero: i8) -> ValueId {
        let data: Vec<i8> = (0..shape.iter().product::<usize>())
            .map(|i| ((i * 89 + 31) % 255) as u8 as i8)
            .collect();
        let integers = self.constant(shape, data);
        let units = shape[0];
        let scales: Vec<f32> = (0..units).map(|i| 0.01 + i as f32 * 0.003).collect();
        let scales = self.constant(&[units], scales);
        let zeros = self.constant(&[units], vec![zero; units]);
        self.node(Op::DequantizeLinear { axis: 0 }, &[integers, scales, zeros])
    }

    fn bias(&mut self, units: usize, input: f32, off: f32) -> ValueId {
        let data: Vec<i32> = (0..units as i32).map(|i| i * 1000 - 1500).collect();
        let integers = self.constant(&[units], data);
        let scales: Vec<f32> = (0..units)
            .map(|i| input * (0.01 + i as f32 * 0.003) * off)
            .collect();
        let scales = self.constant(&[units], scales);
        self.node(Op::DequantizeLinear { axis: 0 }, &[integers, scales])
    }
}

const CONV: Conv = Conv {
    kernel: [3; 2],
    strides: [1; 2],
    pads: [1; 4],
    dilations: [1; 2],
    groups: 1,
};

/// Conv, Relu, MaxPool, Conv, Clip, Flatten, Gemm: all in integers.
fn net(zero: i8) -> Graph {
    let mut q = Qdq::new();
    let x = TensorType::new(ElementType::I8, [1, 2, 6, 8]);
    let x = q.b.input("x", x).unwrap();
    let x = q.dequantize(x, 0.5);
    let (w, bias) = (q.weights(&[4, 2, 3, 3], zero), q.bias(4, 0.5, 1.0));
    let y = q.node(Op::Conv(CONV), &[x, w, bias]);
    let y = q.node(Op::Relu, &[y]);
    let y = q.round_trip(y, 3.0);
    let pool = Op::MaxPool(Pool {
        kernel: [2; 2],
        strides: [2; 2],
        pads: [0; 4],
        dilations: [1; 2],
        count_include_pad: false,
    });
    let y = q.node(pool, &[y]);
    let y = q.round_trip(y, 3.0);
    let (w, bias) = (q.weights(&[3, 4, 3, 3], zero), q.bias(3, 3.0, 1.3));
    let y = q.node(Op::Conv(CONV), &[y, w, bias]);
    let (min, max) = (-100.0, 700.0);
    let y = q.node(Op::Clip { min, max }, &[y]);
    let y = q.round_trip(y, 20.0);
    let y = q.node(Op::Flatten { axis: 1 }, &[y]);
    let w = q.weights(&[2, 36], zero);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = q.node(Op::Gemm(gemm), &[y, w]);
    q.b.output("y", y).unwrap();
    q.b.finish().unwrap()
}

fn finishes(plan: &Plan) -> Vec<Epilogue> {
    let finish = |operation: &Operation| match operation {
        Operation::QuantizedConv2d { finish, .. }
        | Operation::QuantizedFullyConnected { finish, .. } => Some(*finish),
        _ => None,
    };
    let steps = plan.steps.iter();
    steps.filter_map(|step| finish(&step.operation)).collect()
}

fn input(shape: &[usize]) -> Tensor {
    let data: Vec<i8> = (0..shape.iter().product::<usize>())
        .map(|i| ((i * 53 + 7) % 256) as u8 as i8)
        .collect();
    Tensor::new(shape, data).unwrap()
}

fn answers(graph: &Graph, weights: Weights) -> Vec<f32> {
    let plan = lower_weights(graph, PortLayout::Model, weights).unwrap();
    plan.validate().unwrap();
    let x = input(&graph.value(graph.inputs[0]).shape);
    let found = run_plan(&plan, CpuOptions::default(), &[x]).unwrap();
    found[0].as_f32().unwrap().to_vec()
}

#[test]
fn a_qdq_network_computes_in_integers() {
    let graph = net(0);
    let plan = lower_weights(&graph, PortLayout::Native, Weights::AsTheyAre).unwrap();
    let expected = [
        Epilogue::Int8 { low: 0, high: 127 },
        Epilogue::Int8 { low: -5, high: 35 },
    ];
    let found = finishes(&plan);
    assert_eq!(found[..2], expected);
    assert!(matches!(found[2..], [Epilogue::Float { .. }]));
    let kinds = |is: fn(&Operation) -> bool| plan.steps.iter().filter(|s| is(&s.operation)).count();
    assert_eq!(kinds(|o| matches!(o, Operation::Quantize { .. })), 0);
    assert_eq!(kinds(|o| matches!(o, Operation::Dequantize { .. })), 0);
    assert_eq!(kinds(|o| matches!(o, Operation::Transpose { .. })), 0);

    let (integers, floats) = (
        answers(&graph, Weights::AsTheyAre),
        answers(&graph, Weights::Dequantized),
    );
    for (a, b) in integers.iter().zip(&floats) {
        // A few quantization steps of the last activation, at most.
        assert!(
            (a - b).abs() <= 60.0 + 1e-3 * b.abs(),
            "{integers:?} {floats:?}"
        );
    }
}

#[test]
fn asymmetric_quantization_is_computed_in_floats() {
    let graph = net(3);
    let plan = lower_weights(&graph, PortLayout::Native, Weights::AsTheyAre).unwrap();
    assert!(finishes(&plan).is_empty());
    assert_eq!(
        answers(&graph, Weights::AsTheyAre),
        answers(&graph, Weights::Dequantized)
    );
}

#[test]
fn activations_between_integers_become_equal_tables() {
    for op in [
        Op::Tanh,
        Op::Sigmoid,
        Op::Elu { alpha: 0.7 },
        Op::LeakyRelu { alpha: 0.1 },
        Op::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
    ] {
        let mut q = Qdq::new();
        let x = TensorType::new(ElementType::I8, [1, 256]);
        let x = q.b.input("x", x).unwrap();
        let y = q.dequantize(x, 0.04);
        let y = q.node(op.clone(), &[y]);
        let y = q.round_trip(y, 0.01);
        q.b.output("y", y).unwrap();
        let graph = q.b.finish().unwrap();
        let plan = lower_weights(&graph, PortLayout::Model, Weights::AsTheyAre).unwrap();
        let tables = plan
            .steps
            .iter()
            .filter(|step| matches!(step.operation, Operation::Lookup { .. }));
        assert_eq!(tables.count(), 1, "{op:?}");
        assert_eq!(
            answers(&graph, Weights::AsTheyAre),
            answers(&graph, Weights::Dequantized),
            "{op:?}"
        );
    }
}

#[test]
fn sums_that_could_overflow_stay_in_floats() {
    let mut q = Qdq::new();
    let depth = 131_072;
    let x = TensorType::new(ElementType::I8, [1, depth]);
    let x = q.b.input("x", x).unwrap();
    let x = q.dequantize(x, 1.0);
    let w = q.weights(&[1, depth], 0);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = q.node(Op::Gemm(gemm), &[x, w]);
    q.b.output("y", y).unwrap();
    let graph = q.b.finish().unwrap();
    let plan = lower_weights(&graph, PortLayout::Model, Weights::AsTheyAre).unwrap();
    plan.validate().unwrap();
    assert!(finishes(&plan).is_empty());
}

#[test]
fn the_sum_of_a_residual_connection_becomes_integers_in_one_step() {
    let mut q = Qdq::new();
    let x = TensorType::new(ElementType::I8, [1, 256]);
    let x = q.b.input("x", x).unwrap();
    let skip = q.dequantize(x, 0.04);
    let floats = q.node(Op::Function(pilotage_graph::Function::Cos), &[skip]);
    let integers = q.round_trip(floats, 0.01);
    let (min, max) = (-1.0, 2.5);
    for (other, op) in [
        (floats, Some(Op::Relu)),
        (integers, Some(Op::Clip { min, max })),
        (integers, None),
    ] {
        let mut y = q.node(Op::Add, &[other, skip]);
        if let Some(op) = op {
            y = q.node(op, &[y]);
        }
        let y = q.round_trip(y, 0.03);
        let name = q.name("y");
        q.b.output(name, y).unwrap();
    }
    let graph = q.b.finish().unwrap();
    let plan = lower_weights(&graph, PortLayout::Model, Weights::AsTheyAre).unwrap();
    let count =
        |is: fn(&Operation) -> bool| plan.steps.iter().filter(|it| is(&it.operation)).count();
    assert_eq!(count(|it| matches!(it, Operation::QuantizedAdd { .. })), 3);
    assert_eq!(count(|it| matches!(it, Operation::Binary { .. })), 0);
    assert_eq!(
        answers(&graph, Weights::AsTheyAre),
        answers(&graph, Weights::Dequantized)
    );
}
