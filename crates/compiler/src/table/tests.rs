use pilotage_graph::{GraphBuilder, Op, TensorType};

use super::*;

/// `y = relu(x) + 2 * fixed`, with branches whose name or range is invalid in a table.
fn graph() -> Graph {
    let mut b = GraphBuilder::new("net");
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let x = b.input("x", float(&[1, 1, 1, 2])).unwrap();
    let fixed = b.input("fixed", float(&[1])).unwrap();
    let relu = b.node("relu", Op::Relu, &[x]).unwrap();
    let twice = b.node("twice", Op::Add, &[fixed, fixed]).unwrap();
    let sum = b.node("sum", Op::Add, &[relu, twice]).unwrap();
    let zero = b.node("zero", Op::Sub, &[x, x]).unwrap();
    let named = b.node("line\nbreak", Op::Identity, &[sum]).unwrap();
    let all = b.node("all", Op::Add, &[named, zero]).unwrap();
    b.output("y", all).unwrap();
    b.finish().unwrap()
}

#[test]
fn each_tensor_has_the_bits_of_its_scale() {
    let mut graph = graph();
    let tensors = Tensors::of(&graph);
    // Bind the second input to a constant.
    let fixed = graph.inputs.pop().unwrap();
    graph.values[fixed.0].constant = Some(Tensor::new([1], vec![-0.5_f32]).unwrap());
    // Pixels minus 128 range from -128 to 127.
    let frames: [&[u8]; 2] = [&[0, 228], &[255, 128]];
    let table = tensors.table(&graph, false, &frames, Method::MinMax, Run::ALONE);
    let table = table.unwrap();
    let (header, lines) = table.split_once('\n').unwrap();
    assert_eq!(header, "TRT-8502-EntropyCalibration2");
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    let line = |name: &str, limit: f32| format!("{name}: {:08x}", (limit / 127.0).to_bits());
    let mut expected = [
        line("fixed", 0.5),
        line("relu", 127.0),
        line("sum", 126.0),
        line("twice", 1.0),
        line("x", 128.0),
        line("y", 126.0),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected, "{table}");
    assert!(table.contains("relu: 3f800000\n"), "{table}");
}
