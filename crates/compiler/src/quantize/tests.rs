use pilotage_graph::{Conv, ElementType, GraphBuilder, Op, Tensor, TensorData, TensorType};

use super::*;
use crate::calibrate::Histogram;

/// Two convolutions with a residual Add and a Concat, and two outputs.
fn net() -> Graph {
    let mut b = GraphBuilder::new("net");
    let picture = TensorType::new(ElementType::F32, [1, 2, 5, 5]);
    let x = b.input("x", picture).unwrap();
    let conv = || {
        Op::Conv(Conv {
            kernel: [3; 2],
            strides: [1; 2],
            pads: [1; 4],
            dilations: [1; 2],
            groups: 1,
        })
    };
    let weights = |seed: usize| -> Tensor {
        let data: Vec<f32> = (0..36)
            .map(|i| ((i * 37 + seed) % 64) as f32 / 64.0 - 0.5)
            .collect();
        Tensor::new([2, 2, 3, 3], data).unwrap()
    };
    let w1 = b.constant("w1", weights(1)).unwrap();
    let w2 = b.constant("w2", weights(2)).unwrap();
    // The bias is so large that it would not fit 32 bits in units of a small weight scale.
    let huge = Tensor::new([2], vec![3e6_f32, -1.0]).unwrap();
    let bias = b.constant("bias", huge).unwrap();
    let a = b.node("conv1", conv(), &[x, w1]).unwrap();
    let a = b.node("relu", Op::Relu, &[a]).unwrap();
    let c = b.node("conv2", conv(), &[a, w2, bias]).unwrap();
    let sum = b.node("add", Op::Add, &[a, c]).unwrap();
    let both = b.node("concat", Op::Concat { axis: 1 }, &[a, sum]).unwrap();
    let tanh = b.node("tanh", Op::Tanh, &[both]).unwrap();
    b.output("tanh out", tanh).unwrap();
    b.output("sum out", sum).unwrap();
    b.finish().unwrap()
}

fn options(form: Form, float: &[&str]) -> QuantizeOptions {
    QuantizeOptions {
        form,
        float_layers: float.iter().map(|&name| name.to_owned()).collect(),
        one_scale: BTreeSet::new(),
    }
}

/// The same kind of range for every value.
fn ranges(graph: &Graph, options: &QuantizeOptions) -> BTreeMap<ValueId, Range> {
    let range = |value: ValueId| {
        let range = Range {
            limit: 127.0 * (1.0 + value.0 as f32),
            histogram: Histogram::new(1.0),
        };
        (value, range)
    };
    let values = values(graph, options).unwrap();
    values.into_iter().map(range).collect()
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.nodes.iter().filter(|n| n.op.name() == name).count()
}

#[test]
fn a_quantized_graph_is_valid_and_keeps_its_ports() {
    let graph = net();
    for form in [Form::Int8, Form::Int8Integer, Form::Weights] {
        let options = options(form, &[]);
        let (made, units) = quantize(&graph, &ranges(&graph, &options), &options).unwrap();
        made.check().unwrap();
        let names = |ids: &[ValueId]| -> Vec<String> {
            ids.iter().map(|&v| made.value(v).name.clone()).collect()
        };
        assert_eq!(names(&made.inputs), ["x"]);
        assert_eq!(made.value(made.inputs[0]).element_type, ElementType::I8);
        assert_eq!(names(&made.outputs), ["tanh out", "sum out"]);
        for (&output, &unit) in made.outputs.iter().zip(&units) {
            let integer = made.value(output).element_type == ElementType::I8;
            assert_eq!(integer, form == Form::Int8Integer, "{form:?}");
            assert_eq!(unit != 1.0, integer, "{form:?} {unit}");
        }
        // The graph can be written as ONNX and read back.
        let read = Graph::read(&made.write(), &Default::default()).unwrap();
        assert_eq!(read.nodes.len(), made.nodes.len());
    }
}

#[test]
fn layers_read_qdq_pairs_and_moved_values_share_scales() {
    let graph = net();
    let int8 = options(Form::Int8, &[]);
    let (made, _) = quantize(&graph, &ranges(&graph, &int8), &int8).unwrap();
    // Only the first ReLU, which the second layer reads, is quantized.
    assert_eq!(count(&made, "QuantizeLinear"), 1);
    let integer = options(Form::Int8Integer, &[]);
    let (made, _) = quantize(&graph, &ranges(&graph, &integer), &integer).unwrap();
    // Concat's inputs and output share the widest scale.
    let scale_of = |name: &str| {
        let node = made
            .nodes
            .iter()
            .find(|n| n.name == format!("{name} quantized"));
        let scale = node.map(|n| made.value(n.inputs[1]).constant.clone().unwrap());
        scale.unwrap().as_f32().unwrap().to_vec()
    };
    let concat = graph.nodes.iter().find(|n| n.name == "concat").unwrap();
    let names: Vec<&str> = (concat.inputs.iter().chain(&concat.outputs))
        .map(|&v| graph.value(v).name.as_str())
        .collect();
    assert_eq!(scale_of(names[0]), scale_of(names[1]));
    assert_eq!(scale_of(names[0]), scale_of(names[2]));
}

#[test]
fn a_bias_that_is_too_large_widens_its_units_scale() {
    let graph = net();
    let options = options(Form::Int8, &[]);
    let mut ranges = ranges(&graph, &options);
    ranges.values_mut().for_each(|range| range.limit = 1e-3);
    let (made, _) = quantize(&graph, &ranges, &options).unwrap();
    let bias = made
        .values
        .iter()
        .find(|v| v.name == "bias as int32")
        .unwrap();
    let scale = made.values.iter().find(|v| v.name == "bias scale").unwrap();
    let TensorData::I32(quantized) = bias.constant.as_ref().unwrap().data() else {
        panic!("{bias:?}");
    };
    let scales = scale.constant.as_ref().unwrap().as_f32().unwrap();
    let back = f64::from(quantized[0]) * f64::from(scales[0]);
    assert!((back / 3e6 - 1.0).abs() < 1e-6, "{back}");
    // The plan's validation checks that the sums fit 32 bits.
    let plan = crate::lower::lower(&made, crate::lower::PortLayout::Native).unwrap();
    plan.validate().unwrap();
}

#[test]
fn layers_stay_in_floating_point_by_name() {
    let graph = net();
    assert_eq!(layers(&graph), ["conv1", "conv2"]);
    let float = options(Form::Int8, &["conv1", "conv2"]);
    let (made, _) = quantize(&graph, &ranges(&graph, &float), &float).unwrap();
    assert_eq!(count(&made, "QuantizeLinear"), 0);
    // Only the input is dequantized.
    assert_eq!(count(&made, "DequantizeLinear"), 1);
    let unknown = options(Form::Int8, &["conv3"]);
    let error = values(&graph, &unknown).unwrap_err().to_string();
    assert_eq!(error, "there is no layer `conv3`; there is conv1, conv2");
}
