use pilotage_engine::CpuOptions;
use pilotage_engine::plan::{ConstantData, Operation};
use pilotage_graph::{Conv, ElementType, Gemm, GraphBuilder, Pool, SliceAxis, Tensor, TensorType};

use super::*;
use crate::evaluate::evaluate;
use crate::permute::{TO_NHWC, permute, pick};
use crate::run::run_plan;

fn conv(kernel: usize, stride: usize) -> Op {
    Op::Conv(Conv {
        kernel: [kernel; 2],
        strides: [stride; 2],
        pads: [0; 4],
        dilations: [1; 2],
        groups: 1,
    })
}

/// Deterministic pseudo-random numbers.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    Tensor::new(shape, numbers(shape.iter().product(), seed)).unwrap()
}

/// Conv, Relu, Conv, Flatten, Gemm, Tanh, as PyTorch exports them.
fn small_net() -> Graph {
    let mut b = GraphBuilder::new("net");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 3, 9, 11]))
        .unwrap();
    let w1 = b.constant("w1", tensor(&[4, 3, 3, 3], 1)).unwrap();
    let b1 = b.constant("b1", tensor(&[4], 2)).unwrap();
    let w2 = b.constant("w2", tensor(&[5, 4, 3, 3], 3)).unwrap();
    let w3 = b.constant("w3", tensor(&[2, 60], 4)).unwrap();
    let b3 = b.constant("b3", tensor(&[2], 5)).unwrap();
    let y = b.node("conv1", conv(3, 1), &[x, w1, b1]).unwrap();
    let y = b.node("relu1", Op::Relu, &[y]).unwrap();
    let y = b.node("conv2", conv(3, 2), &[y, w2]).unwrap();
    let y = b.node("flat", Op::Flatten { axis: 1 }, &[y]).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = b.node("fc", Op::Gemm(gemm), &[y, w3, b3]).unwrap();
    let y = b.node("tanh", Op::Tanh, &[y]).unwrap();
    b.output("y", y).unwrap();
    b.finish().unwrap()
}

fn transpositions(plan: &Plan) -> usize {
    let is_transpose =
        |step: &&pilotage_engine::plan::Step| matches!(step.operation, Operation::Transpose { .. });
    plan.steps.iter().filter(is_transpose).count()
}

#[test]
fn a_driving_network_takes_nhwc_and_moves_nothing() {
    let plan = lower(&small_net(), PortLayout::Native).unwrap();
    plan.validate().unwrap();
    assert_eq!(plan.inputs[0].layout, AxisOrder::Nhwc);
    assert_eq!(transpositions(&plan), 0);
    let kinds: Vec<&str> = plan
        .steps
        .iter()
        .map(|step| match &step.operation {
            Operation::Conv2d { .. } => "conv",
            Operation::FullyConnected { .. } => "fc",
            Operation::Reshape => "reshape",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["conv", "conv", "reshape", "fc"]);
    let fused = plan.steps.iter().filter(|step| {
        matches!(
            step.operation,
            Operation::Conv2d {
                activation: Activation::Relu,
                ..
            } | Operation::FullyConnected {
                activation: Activation::Tanh,
                ..
            }
        )
    });
    assert_eq!(fused.count(), 2);
}

#[test]
fn both_port_layouts_give_the_same_answer() {
    let graph = small_net();
    let x = tensor(&[1, 3, 9, 11], 9);
    let expected = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
    let nhwc = permute(x.as_f32().unwrap(), x.shape(), &TO_NHWC);
    let nhwc = Tensor::new(pick(x.shape(), &TO_NHWC), nhwc).unwrap();
    let plan = lower(&graph, PortLayout::Native).unwrap();
    let found = run_plan(&plan, CpuOptions::default(), &[nhwc]).unwrap();
    for (a, b) in expected[0]
        .as_f32()
        .unwrap()
        .iter()
        .zip(found[0].as_f32().unwrap())
    {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn the_model_layout_keeps_the_models_order() {
    let mut b = GraphBuilder::new("pool");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 2, 4, 4]))
        .unwrap();
    let pool = Pool {
        kernel: [2; 2],
        strides: [2; 2],
        pads: [0; 4],
        dilations: [1; 2],
        count_include_pad: false,
    };
    let y = b.node("pool", Op::MaxPool(pool), &[x]).unwrap();
    b.output("y", y).unwrap();
    let graph = b.finish().unwrap();
    let x = Tensor::new([1, 2, 4, 4], (0..32_u8).map(f32::from).collect::<Vec<_>>()).unwrap();
    let y = evaluate(&graph, &[x]).unwrap();
    assert_eq!(y[0].shape(), [1, 2, 2, 2]);
    assert_eq!(
        y[0].as_f32().unwrap(),
        [5.0, 7.0, 13.0, 15.0, 21.0, 23.0, 29.0, 31.0]
    );
    let native = lower(&graph, PortLayout::Native).unwrap();
    // Either way there is one transposition, before or after the pooling.
    assert_eq!(native.outputs[0].layout, AxisOrder::Model);
}

#[test]
fn a_keras_models_transposition_costs_nothing() {
    let mut b = GraphBuilder::new("keras");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 6, 7, 3]))
        .unwrap();
    let to_nchw = Op::Transpose {
        perm: vec![0, 3, 1, 2],
    };
    let to_nhwc = Op::Transpose {
        perm: vec![0, 2, 3, 1],
    };
    let w = b.constant("w", tensor(&[4, 3, 3, 3], 1)).unwrap();
    let m = b.constant("m", tensor(&[80, 2], 2)).unwrap();
    let y = b.node("in", to_nchw, &[x]).unwrap();
    let y = b.node("conv", conv(3, 1), &[y, w]).unwrap();
    let y = b.node("out", to_nhwc, &[y]).unwrap();
    let y = b.reshape("flat", y, &[1, 80]).unwrap();
    let y = b.node("dense", Op::MatMul, &[y, m]).unwrap();
    b.output("y", y).unwrap();
    let graph = b.finish().unwrap();
    for ports in [PortLayout::Model, PortLayout::Native] {
        let plan = lower(&graph, ports).unwrap();
        assert_eq!(transpositions(&plan), 0, "{ports:?}");
        assert_eq!(plan.inputs[0].layout, AxisOrder::Model);
    }
}

#[test]
fn flattening_permutes_the_columns_of_the_layer_after() {
    let plan = lower(&small_net(), PortLayout::Native).unwrap();
    let Some(Operation::FullyConnected { weights, .. }) =
        plan.steps.last().map(|step| &step.operation)
    else {
        panic!("{plan:?}");
    };
    let ConstantData::F32(found) = &plan.constants[weights.0].data else {
        panic!("not f32");
    };
    let planes = numbers(120, 4);
    // Column (h, w, c) of NHWC is column (c, h, w) of the model, with 5 channels and 3x4 pixels.
    assert_eq!(found[1], planes[12]);
    assert_eq!(found[5], planes[1]);
    assert_eq!(found[60 + 7], planes[60 + 2 * 12 + 1]);
}

#[test]
fn weights_computed_at_run_time_are_refused_by_name() {
    let mut b = GraphBuilder::new("dynamic");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 1, 4, 4]))
        .unwrap();
    let w = b
        .input("w", TensorType::new(ElementType::F32, [1, 1, 3, 3]))
        .unwrap();
    let y = b.node("first", conv(3, 1), &[x, w]).unwrap();
    b.output("y", y).unwrap();
    let graph = b.finish().unwrap();
    let error = lower(&graph, PortLayout::Model).unwrap_err().to_string();
    assert!(
        error.contains("`y` (Conv)") || error.contains("`first` (Conv)"),
        "{error}"
    );
    assert!(error.contains("weights"), "{error}");
}

#[test]
fn an_output_that_is_an_input_passes_through() {
    let mut b = GraphBuilder::new("through");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [2, 3]))
        .unwrap();
    b.output("y", x).unwrap();
    let graph = b.finish().unwrap();
    let x = tensor(&[2, 3], 1);
    let y = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
    assert_eq!(y[0], x);
    assert!(lower(&graph, PortLayout::Model).unwrap().steps.is_empty());
}

/// A picture whose channels are the phases of a larger one: (row, column, unit), or (unit, row, column) as in
/// PyTorch's PixelShuffle.
fn interleaved(phases_first: bool) -> Graph {
    let mut b = GraphBuilder::new("net");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 12, 3, 5]))
        .unwrap();
    let identity = |n: usize| -> Vec<f32> {
        let one = |i: usize| f32::from(u8::from(i / n == i % n));
        (0..n * n).map(one).collect()
    };
    let before = Tensor::new([12, 12, 1, 1], identity(12)).unwrap();
    let before = b.constant("before", before).unwrap();
    let after = Tensor::new([3, 3, 1, 1], identity(3)).unwrap();
    let after = b.constant("after", after).unwrap();
    let y = b.node("conv1", conv(1, 1), &[x, before]).unwrap();
    let (split, perm) = match phases_first {
        true => ([1, 2, 2, 3, 3, 5], vec![0, 3, 4, 1, 5, 2]),
        false => ([1, 3, 2, 2, 3, 5], vec![0, 1, 4, 2, 5, 3]),
    };
    let y = b.reshape("split", y, &split).unwrap();
    let y = b.node("moved", Op::Transpose { perm }, &[y]).unwrap();
    let y = b.reshape("joined", y, &[1, 3, 6, 10]).unwrap();
    let axis = |start, length| SliceAxis {
        start,
        step: 1,
        length,
    };
    let axes = vec![axis(0, 1), axis(0, 3), axis(1, 4), axis(2, 7)];
    let y = b.node("cut", Op::Slice { axes }, &[y]).unwrap();
    let y = b.node("conv2", conv(1, 1), &[y, after]).unwrap();
    b.output("y", y).unwrap();
    b.finish().unwrap()
}

#[test]
fn phases_are_interleaved_by_one_transposition() {
    for phases_first in [true, false] {
        let plan = lower(&interleaved(phases_first), PortLayout::Native).unwrap();
        plan.validate().unwrap();
        // The other one gives the output the model's order.
        assert_eq!(transpositions(&plan), 2);
        // Each element tells where it comes from: NHWC, 3 rows of 5 pixels of 12 channels.
        let x = (0..180_u8).map(f32::from).collect::<Vec<_>>();
        let x = Tensor::new([1, 3, 5, 12], x).unwrap();
        let found = run_plan(&plan, CpuOptions::default(), &[x]).unwrap();
        let mut expected = Vec::new();
        for unit in 0..3 {
            for (row, column) in (1..5).flat_map(|row| (2..9).map(move |column| (row, column))) {
                let phase = 2 * (row % 2) + column % 2;
                let channel = match phases_first {
                    true => 3 * phase + unit,
                    false => 4 * unit + phase,
                };
                expected.push(((row / 2 * 5 + column / 2) * 12 + channel) as f32);
            }
        }
        assert_eq!(found[0].shape(), [1, 3, 4, 7]);
        assert_eq!(found[0].as_f32().unwrap(), expected);
    }
}
