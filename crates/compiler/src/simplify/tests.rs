use pilotage_graph::{
    Conv, ElementType, Gemm, GraphBuilder, Node, Op, SliceAxis, Tensor, TensorType, ValueId,
};

use super::*;
use crate::evaluate::evaluate;

/// A graph under construction, with pseudo-random constants.
struct Net {
    b: GraphBuilder,
    seed: u32,
    next: usize,
}

impl Net {
    fn new() -> Self {
        Self {
            b: GraphBuilder::new("net"),
            seed: 7,
            next: 0,
        }
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let name = self.name("x");
        let ty = TensorType::new(ElementType::F32, shape);
        self.b.input(name, ty).unwrap()
    }

    /// Elements from -1 to 1 that are not close to 0, so that they can be divisors.
    fn constant(&mut self, shape: &[usize]) -> ValueId {
        let name = self.name("c");
        let tensor = self.tensor(shape);
        self.b.constant(name, tensor).unwrap()
    }

    fn positive(&mut self, shape: &[usize]) -> ValueId {
        let name = self.name("c");
        let (shape, data) = self.tensor(shape).into_parts();
        let pilotage_graph::TensorData::F32(data) = data else {
            panic!("not f32");
        };
        let data: Vec<f32> = data.iter().map(|x| x.abs()).collect();
        let tensor = Tensor::new(shape, data).unwrap();
        self.b.constant(name, tensor).unwrap()
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let n = shape.iter().product();
        let data: Vec<f32> = (0..n).map(|_| self.number()).collect();
        Tensor::new(shape, data).unwrap()
    }

    fn number(&mut self) -> f32 {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let x = (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0;
        if x.abs() < 0.1 { x + 0.25 } else { x }
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = self.name("n");
        self.b.node(name, op, inputs).unwrap()
    }

    fn conv(&mut self, x: ValueId, w: &[usize], pads: usize, groups: usize) -> ValueId {
        let (weights, bias) = (self.constant(w), self.constant(&w[..1]));
        let conv = Conv {
            kernel: [w[2], w[3]],
            strides: [1; 2],
            pads: [pads; 4],
            dilations: [1; 2],
            groups,
        };
        self.node(Op::Conv(conv), &[x, weights, bias])
    }

    fn batch_norm(&mut self, x: ValueId, channels: usize) -> ValueId {
        let c = [channels];
        let (scale, bias, mean) = (self.constant(&c), self.constant(&c), self.constant(&c));
        let variance = self.positive(&c);
        let op = Op::BatchNormalization { epsilon: 1e-3 };
        self.node(op, &[x, scale, bias, mean, variance])
    }

    fn name(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Finishes and simplifies the graph. Checks that the function and the names of the outputs
    /// stay the same. Returns the operators of the simplified graph.
    fn simplified(mut self, outputs: &[ValueId]) -> Vec<&'static str> {
        for (i, &output) in outputs.iter().enumerate() {
            self.b.output(format!("y{i}"), output).unwrap();
        }
        let mut seed = Net::new();
        let graph = self.b.finish().unwrap();
        let simple = simplify(&graph);
        simple.check().unwrap();
        let inputs: Vec<Tensor> = graph
            .inputs
            .iter()
            .map(|&v| seed.tensor(&graph.value(v).shape))
            .collect();
        let expected = evaluate(&graph, &inputs).unwrap();
        let found = evaluate(&simple, &inputs).unwrap();
        for (a, b) in expected.iter().zip(&found) {
            assert_eq!(a.shape(), b.shape());
            for (a, b) in a.as_f32().unwrap().iter().zip(b.as_f32().unwrap()) {
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} {b}");
            }
        }
        let names = |g: &Graph| -> Vec<String> {
            g.outputs.iter().map(|&v| g.value(v).name.clone()).collect()
        };
        assert_eq!(names(&graph), names(&simple));
        simple
            .nodes
            .iter()
            .map(|node: &Node| node.op.name())
            .collect()
    }
}

fn gemm(transpose_a: bool, transpose_b: bool, alpha: f32, beta: f32) -> Op {
    Op::Gemm(Gemm {
        alpha,
        beta,
        transpose_a,
        transpose_b,
    })
}

#[test]
fn batch_norm_goes_into_the_convolution_before() {
    let mut n = Net::new();
    let x = n.input(&[1, 3, 5, 5]);
    let y = n.conv(x, &[4, 3, 3, 3], 1, 1);
    let y = n.batch_norm(y, 4);
    let y = n.node(Op::Relu, &[y]);
    assert_eq!(n.simplified(&[y]), ["Conv", "Relu"]);
}

#[test]
fn batch_norm_goes_into_the_convolution_after() {
    let mut n = Net::new();
    let x = n.input(&[1, 4, 5, 5]);
    let y = n.batch_norm(x, 4);
    let y = n.conv(y, &[6, 2, 3, 3], 0, 2);
    assert_eq!(n.simplified(&[y]), ["Conv"]);
}

#[test]
fn padding_keeps_a_shift_before_a_convolution_but_not_a_scale() {
    let mut n = Net::new();
    let x = n.input(&[1, 4, 5, 5]);
    let y = n.batch_norm(x, 4);
    let y = n.conv(y, &[6, 4, 3, 3], 1, 1);
    assert_eq!(n.simplified(&[y]), ["BatchNormalization", "Conv"]);

    let mut n = Net::new();
    let x = n.input(&[1, 4, 5, 5]);
    let c = n.constant(&[1, 4, 1, 1]);
    let y = n.node(Op::Div, &[x, c]);
    let y = n.conv(y, &[6, 4, 3, 3], 1, 1);
    assert_eq!(n.simplified(&[y]), ["Conv"]);
}

#[test]
fn input_normalization_goes_into_the_first_layer() {
    let mut n = Net::new();
    let x = n.input(&[1, 3, 6, 6]);
    let (mean, std, one) = (
        n.constant(&[1, 3, 1, 1]),
        n.constant(&[3, 1, 1]),
        n.constant(&[]),
    );
    let y = n.node(Op::Sub, &[x, mean]);
    let y = n.node(Op::Div, &[y, std]);
    let y = n.node(Op::Sub, &[one, y]);
    let y = n.batch_norm(y, 3);
    let y = n.conv(y, &[4, 3, 3, 3], 0, 1);
    assert_eq!(n.simplified(&[y]), ["Conv"]);
}

#[test]
fn keras_normalization_is_folded_through_the_transposition() {
    let mut n = Net::new();
    let x = n.input(&[1, 6, 7, 3]);
    let (scale, shift) = (n.constant(&[1]), n.constant(&[1, 1, 1, 3]));
    let y = n.node(Op::Mul, &[x, scale]);
    let y = n.node(Op::Add, &[y, shift]);
    let perm = vec![0, 3, 1, 2];
    let y = n.node(Op::Transpose { perm }, &[y]);
    let y = n.conv(y, &[4, 3, 3, 3], 0, 1);
    assert_eq!(n.simplified(&[y]), ["Transpose", "Conv"]);
}

#[test]
fn keras_normalization_is_folded_through_a_crop_and_a_batch() {
    let mut n = Net::new();
    let x = n.input(&[1, 9, 6, 3]);
    let c = n.constant(&[1]);
    let y = n.node(Op::Sub, &[x, c]);
    let c = n.constant(&[3]);
    let y = n.node(Op::Mul, &[y, c]);
    let axis = |start, length| SliceAxis {
        start,
        step: 1,
        length,
    };
    let axes = vec![axis(0, 1), axis(2, 5), axis(0, 6), axis(0, 3)];
    let y = n.node(Op::Slice { axes }, &[y]);
    let perm = vec![0, 3, 1, 2];
    let y = n.node(Op::Transpose { perm }, &[y]);
    let y = n.conv(y, &[4, 3, 3, 3], 0, 1);
    assert_eq!(n.simplified(&[y]), ["Slice", "Transpose", "Conv"]);

    // Of a batch of pictures, by a factor for each channel.
    let mut n = Net::new();
    let x = n.input(&[1, 2, 6, 5, 3]);
    let c = n.constant(&[3]);
    let y = n.node(Op::Mul, &[x, c]);
    let c = n.constant(&[1]);
    let y = n.node(Op::Add, &[y, c]);
    let name = n.name("n");
    let y = n.b.reshape(name, y, &[2, 6, 5, 3]).unwrap();
    let perm = vec![0, 3, 1, 2];
    let y = n.node(Op::Transpose { perm }, &[y]);
    let y = n.conv(y, &[4, 3, 3, 3], 0, 1);
    assert_eq!(n.simplified(&[y]), ["Reshape", "Transpose", "Conv"]);

    // Not a constant that differs between what is kept and what is cut.
    let mut n = Net::new();
    let x = n.input(&[1, 9, 6, 3]);
    let c = n.constant(&[9, 1, 1]);
    let y = n.node(Op::Mul, &[x, c]);
    let y = n.node(
        Op::Slice {
            axes: vec![axis(0, 1), axis(2, 5), axis(0, 6), axis(0, 3)],
        },
        &[y],
    );
    assert_eq!(n.simplified(&[y]), ["Mul", "Slice"]);
}

#[test]
fn a_scale_and_shift_without_an_adjacent_layer_become_one_node() {
    let mut n = Net::new();
    let x = n.input(&[2, 3, 4, 5]);
    let (a, b) = (n.constant(&[3, 1, 1]), n.constant(&[1, 3, 1, 1]));
    let y = n.node(Op::Mul, &[x, a]);
    let y = n.node(Op::Add, &[y, b]);
    let y = n.node(Op::Relu, &[y]);
    assert_eq!(n.simplified(&[y]), ["BatchNormalization", "Relu"]);
}

#[test]
fn constants_that_vary_along_other_axes_stay() {
    let mut n = Net::new();
    let x = n.input(&[1, 3, 4, 5]);
    let a = n.constant(&[1, 3, 4, 1]);
    let y = n.node(Op::Mul, &[x, a]);
    let y = n.conv(y, &[4, 3, 3, 3], 0, 1);
    assert_eq!(n.simplified(&[y]), ["Mul", "Conv"]);

    let mut n = Net::new();
    let x = n.input(&[1, 1, 4, 5]);
    let a = n.constant(&[1, 3, 1, 1]);
    let y = n.node(Op::Add, &[x, a]);
    assert_eq!(n.simplified(&[y]), ["Add"]);
}

#[test]
fn values_with_other_readers_are_not_folded_away() {
    let mut n = Net::new();
    let x = n.input(&[1, 3, 5, 5]);
    let conv = n.conv(x, &[4, 3, 3, 3], 1, 1);
    let y = n.batch_norm(conv, 4);
    let z = n.node(Op::Tanh, &[conv]);
    assert_eq!(
        n.simplified(&[y, z]),
        ["Conv", "BatchNormalization", "Tanh"]
    );

    let mut n = Net::new();
    let x = n.input(&[1, 3, 5, 5]);
    let conv = n.conv(x, &[4, 3, 3, 3], 1, 1);
    let y = n.batch_norm(conv, 4);
    assert_eq!(n.simplified(&[conv, y]), ["Conv", "BatchNormalization"]);
}

#[test]
fn products_with_constants_become_one_kind_of_layer() {
    let mut n = Net::new();
    let x = n.input(&[3, 4]);
    let (w, b) = (n.constant(&[4, 5]), n.constant(&[5]));
    let y = n.node(Op::MatMul, &[x, w]);
    let y = n.node(Op::Add, &[y, b]);
    let (w, c) = (n.constant(&[5, 2]), n.constant(&[1, 2]));
    let y = n.node(gemm(false, false, 0.5, -2.0), &[y, w, c]);
    let y = n.batch_norm(y, 2);
    assert_eq!(n.simplified(&[y]), ["Gemm", "Gemm"]);
}

#[test]
fn a_gemm_whose_addend_has_several_rows_keeps_them() {
    let mut n = Net::new();
    let x = n.input(&[3, 4]);
    let (w, c) = (n.constant(&[4, 5]), n.constant(&[3, 1]));
    let y = n.node(gemm(false, false, 2.0, 3.0), &[x, w, c]);
    let (w, c) = (n.constant(&[2, 3]), n.constant(&[5, 2]));
    let y = n.node(gemm(true, true, 2.0, 0.0), &[y, w, c]);
    assert_eq!(n.simplified(&[y]), ["Gemm", "Gemm"]);
}

#[test]
fn batch_norm_before_a_flattening_goes_into_the_layer_after_it() {
    let mut n = Net::new();
    let x = n.input(&[1, 3, 2, 4]);
    let y = n.batch_norm(x, 3);
    let y = n.node(Op::Flatten { axis: 1 }, &[y]);
    let w = n.constant(&[24, 5]);
    let y = n.node(Op::MatMul, &[y, w]);
    assert_eq!(n.simplified(&[y]), ["Flatten", "Gemm"]);
}

#[test]
fn constants_are_computed_when_compiling() {
    let mut n = Net::new();
    let x = n.input(&[1, 6]);
    let (a, b) = (n.constant(&[2, 3]), n.constant(&[3]));
    let c = n.node(Op::Mul, &[a, b]);
    let c = n.node(Op::Tanh, &[c]);
    let name = n.name("flat");
    let c = n.b.reshape(name, c, &[1, 6]).unwrap();
    let y = n.node(Op::Mul, &[x, c]);
    assert_eq!(n.simplified(&[y]), ["Mul"]);
}

#[test]
fn an_output_that_is_constant_stays_one() {
    let mut n = Net::new();
    let x = n.input(&[1, 2]);
    let (a, b) = (n.constant(&[2, 3]), n.constant(&[3]));
    let c = n.node(Op::Sub, &[a, b]);
    let y = n.node(Op::Relu, &[x]);
    assert_eq!(n.simplified(&[c, y]), ["Relu"]);
}

#[test]
fn nodes_that_do_nothing_are_removed_and_outputs_keep_their_names() {
    let mut n = Net::new();
    let x = n.input(&[1, 6]);
    let y = n.node(Op::Identity, &[x]);
    let y = n.node(Op::Relu, &[y]);
    let y = n.node(Op::Identity, &[y]);
    let name = n.name("same");
    let y = n.b.reshape(name, y, &[1, 6]).unwrap();
    assert_eq!(n.simplified(&[y]), ["Relu"]);

    let mut n = Net::new();
    let x = n.input(&[1, 6]);
    let y = n.node(Op::Relu, &[x]);
    let z = n.node(Op::Identity, &[y]);
    assert_eq!(n.simplified(&[y, z]), ["Relu", "Identity"]);
}

#[test]
fn a_fold_that_would_overflow_is_left_alone() {
    let mut n = Net::new();
    let x = n.input(&[1, 2]);
    let huge = Tensor::new([2], vec![3e38_f32, 3e38]).unwrap();
    let huge = n.b.constant("huge", huge).unwrap();
    let y = n.node(Op::Mul, &[huge, huge]);
    let y = n.node(Op::Sigmoid, &[y]);
    let y = n.node(Op::Mul, &[x, y]);
    // The product overflows, but its sigmoid is 1: the nodes stay and compute the same.
    assert_eq!(n.simplified(&[y]), ["Mul", "Sigmoid", "Mul"]);
}

impl Net {
    /// The phases of a transposed convolution with a stride of 2, interleaved and cropped.
    fn interleaved(&mut self, x: ValueId, units: usize, [h, w]: [usize; 2]) -> ValueId {
        let name = self.name("n");
        let split = [1, units, 2, 2, h, w];
        let y = self.b.reshape(name, x, &split).unwrap();
        let perm = vec![0, 1, 4, 2, 5, 3];
        let y = self.node(Op::Transpose { perm }, &[y]);
        let name = self.name("n");
        let y = (self.b.reshape(name, y, &[1, units, 2 * h, 2 * w])).unwrap();
        let axis = |start, length| SliceAxis {
            start,
            step: 1,
            length,
        };
        let axes = vec![
            axis(0, 1),
            axis(0, units),
            axis(1, 2 * h - 2),
            axis(1, 2 * w - 2),
        ];
        self.node(Op::Slice { axes }, &[y])
    }
}

#[test]
fn what_follows_a_transposed_convolution_becomes_part_of_its_layer() {
    let moves = ["Reshape", "Transpose", "Reshape", "Slice"];
    let mut n = Net::new();
    let x = n.input(&[1, 4, 6, 5]);
    let y = n.conv(x, &[12, 4, 2, 2], 0, 1);
    let y = n.interleaved(y, 3, [5, 4]);
    let y = n.batch_norm(y, 3);
    let y = n.node(Op::Relu, &[y]);
    let c = n.constant(&[3, 1, 1]);
    let y = n.node(Op::Mul, &[y, c]);
    let expected = [&["Conv", "Relu"][..], &moves, &["Mul"]].concat();
    assert_eq!(n.simplified(&[y]), expected);

    // A vector that becomes a picture.
    let mut n = Net::new();
    let x = n.input(&[1, 4]);
    let (weights, bias) = (n.constant(&[12, 4]), n.constant(&[12]));
    let y = n.node(gemm(false, true, 1.0, 1.0), &[x, weights, bias]);
    let name = n.name("n");
    let y = n.b.reshape(name, y, &[1, 3, 2, 2]).unwrap();
    let y = n.batch_norm(y, 3);
    assert_eq!(n.simplified(&[y]), ["Gemm", "Reshape"]);
}

#[test]
fn what_follows_moved_outputs_stays_where_it_cannot_be_part_of_a_layer() {
    // The channels become mixed: a channel of the layer has elements of two.
    let mut n = Net::new();
    let x = n.input(&[1, 4, 3, 2]);
    let y = n.conv(x, &[2, 4, 1, 1], 0, 1);
    let perm = vec![0, 2, 1, 3];
    let y = n.node(Op::Transpose { perm }, &[y]);
    let y = n.batch_norm(y, 3);
    let expected = ["Conv", "Transpose", "BatchNormalization"];
    assert_eq!(n.simplified(&[y]), expected);

    // Something else reads what is moved.
    let mut n = Net::new();
    let x = n.input(&[1, 4, 6, 5]);
    let y = n.conv(x, &[12, 4, 2, 2], 0, 1);
    let moved = n.interleaved(y, 3, [5, 4]);
    let y = n.node(Op::Relu, &[moved]);
    let y = n.node(Op::Sub, &[moved, y]);
    let names = n.simplified(&[y]);
    assert_eq!(names[names.len() - 3..], ["Slice", "Relu", "Sub"]);
}

/// A normalization of pixels minus 128, whose channels `scales` and `shifts` are, before a padded
/// convolution; with the channels last, behind a transposition.
fn normalized(scales: &[f32; 3], shifts: &[f32; 3], last: bool) -> (Graph, Graph) {
    let mut n = Net::new();
    let mut y = match last {
        true => n.input(&[1, 6, 7, 3]),
        false => n.input(&[1, 3, 6, 7]),
    };
    if last {
        let perm = vec![0, 3, 1, 2];
        y = n.node(Op::Transpose { perm }, &[y]);
    }
    for (op, factors) in [(Op::Mul, scales), (Op::Add, shifts)] {
        let name = n.name("c");
        let tensor = Tensor::new([1, 3, 1, 1], factors.to_vec()).unwrap();
        let constant = n.b.constant(name, tensor).unwrap();
        y = n.node(op, &[y, constant]);
    }
    let y = n.conv(y, &[4, 3, 3, 3], 1, 1);
    n.b.output("y", y).unwrap();
    let graph = n.b.finish().unwrap();
    let mut simple = simplify(&graph);
    let picture = simple.inputs[0];
    pad_with_pixels(&mut simple, picture);
    simple.check().unwrap();
    (graph, simple)
}

#[test]
fn a_picture_is_padded_with_the_pixel_that_becomes_zero() {
    // Values of 0 to 1, of -1 to 1 around the pixel 28, and with a factor for each channel.
    for (scales, shifts, last, pixel) in [
        ([1.0 / 255.0; 3], [128.0 / 255.0; 3], false, -128.0),
        ([1.0 / 255.0; 3], [128.0 / 255.0; 3], true, -128.0),
        ([-0.01; 3], [-1.0; 3], false, -100.0),
        ([0.5, 1.0, 2.0], [3.5, 7.0, 14.0], true, -7.0),
    ] {
        let (graph, simple) = normalized(&scales, &shifts, last);
        let pads = simple.nodes.iter().find_map(|node| match &node.op {
            Op::Pad(pad) => Some(pad.mode),
            _ => None,
        });
        assert_eq!(pads, Some(pilotage_graph::PadMode::Constant(pixel)));
        let names: Vec<_> = simple.nodes.iter().map(|node| node.op.name()).collect();
        assert_eq!(names[usize::from(last)..], ["Pad", "Conv"]);

        let pixels = (0..126_u8).map(|i| f32::from(i.wrapping_mul(53)) - 128.0);
        let shape = graph.value(graph.inputs[0]).shape.clone();
        let picture = Tensor::new(shape, pixels.collect::<Vec<f32>>()).unwrap();
        let expected = evaluate(&graph, std::slice::from_ref(&picture)).unwrap();
        let found = evaluate(&simple, &[picture]).unwrap();
        for (a, b) in expected[0]
            .as_f32()
            .unwrap()
            .iter()
            .zip(found[0].as_f32().unwrap())
        {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(100.0), "{a} {b}");
        }
    }
}

#[test]
fn values_around_zero_are_padded_with_the_nearer_pixel() {
    // Values from -1 to 1: half a pixel is 1/255.
    let (graph, simple) = normalized(&[2.0 / 255.0; 3], &[1.0 / 255.0; 3], false);
    let names: Vec<_> = simple.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(names, ["Pad", "Conv"]);
    let shape = graph.value(graph.inputs[0]).shape.clone();
    let picture = Tensor::new(shape, vec![5.0; 126]).unwrap();
    let expected = evaluate(&graph, std::slice::from_ref(&picture)).unwrap();
    let found = evaluate(&simple, &[picture]).unwrap();
    let pairs = (expected[0].as_f32().unwrap().iter()).zip(found[0].as_f32().unwrap());
    for (i, (a, b)) in pairs.enumerate() {
        let (row, column) = (i % 42 / 7, i % 7);
        let is_border = [0, 5].contains(&row) || [0, 6].contains(&column);
        // At most 5 of the 9 pixels that a kernel covers are padding, in 3 channels, of weights up to 1.
        let most = if is_border { 15.0 / 255.0 } else { 1e-4 };
        assert!((a - b).abs() <= most, "{a} {b}");
    }
}

#[test]
fn a_picture_is_not_padded_where_no_pixel_becomes_zero_in_all_channels() {
    for (scales, shifts) in [
        ([1.0; 3], [1.0, 1.0, 2.0]),
        ([0.1; 3], [20.0; 3]),
        ([0.0, 1.0, 1.0], [1.0; 3]),
    ] {
        let (_, simple) = normalized(&scales, &shifts, false);
        let names: Vec<_> = simple.nodes.iter().map(|node| node.op.name()).collect();
        assert_eq!(
            names,
            ["BatchNormalization", "Conv"],
            "{scales:?} {shifts:?}"
        );
    }
}
