//! The methods of calibration, and pixels in a first layer with padding.

use pilotage_graph::{Conv, Gemm, GraphBuilder, Tensor, TensorType};

use super::*;

/// The largest mean squared error of each output, in any form of the engine.
fn errors(gate: &[GateResult]) -> Vec<f64> {
    let of = |name: &str| {
        let own = gate.iter().filter(|result| result.output == name);
        own.map(|result| result.mse).fold(0.0, f64::max)
    };
    ["steering", "throttle"].map(of).to_vec()
}

/// With limits that only another method than the default keeps.
#[test]
fn a_recipe_without_a_method_is_calibrated_by_others_if_it_does_not_pass() {
    let mut tried = 0;
    for name in ["pytorch", "keras"] {
        let with = |method: &str, limits: [f64; 2]| {
            let mut project = Project::new(name, "int8");
            project.tables += method;
            for (meaning, limit) in ["steering", "throttle"].into_iter().zip(limits) {
                let before = format!("meaning = \"{meaning}\"\n");
                let gate = format!("gate = {{ mse = {limit:?}, worst = 1e6 }}\n");
                let head = project.tables.replace(super::gate(name, "int8"), "");
                project.tables = head.replace(&before, &(before.clone() + &gate));
            }
            project
        };
        let open = |method: &str| {
            let method = format!("method = \"{method}\"\n");
            errors(&with(&method, [1e6; 2]).compile().manifest.gate)
        };
        let (mse, percentile) = (open("mse"), open("percentile"));
        for output in 0..2 {
            if percentile[output] > 0.98 * mse[output] {
                continue;
            }
            tried += 1;
            let mut limits = [1e6; 2];
            limits[output] = f64::midpoint(percentile[output], mse[output]);
            let compiled = with("", limits).compile();
            let calibration = compiled.manifest.calibration.unwrap();
            assert_eq!(calibration.method, "percentile", "{name}");
            let last = compiled.manifest.trials.last().unwrap();
            assert!(last.kept && last.name == "calibration by percentile");
            assert_eq!(errors(&compiled.manifest.gate), percentile, "{name}");
            // The recipe's method is the only one.
            assert!(compile(&with("method = \"mse\"\n", limits).path()).is_err());
        }
    }
    assert!(
        tried > 0,
        "percentile is better nowhere: choose other networks"
    );
}

/// A padded convolution, as in most networks for pictures, over all pixels, and two numbers.
fn padded(folder: &Path) {
    let mut b = GraphBuilder::new("padded");
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let picture = b.input("image", float(&[1, 3, 66, 200])).unwrap();
    let mut seed = 1_u32;
    let mut constant = |b: &mut GraphBuilder, name: &str, shape: &[usize], most: f32| {
        let numbers = (0..shape.iter().product()).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((seed >> 8) as f32 / (1 << 23) as f32 - 1.0) * most
        });
        let tensor = Tensor::new(shape, numbers.collect::<Vec<f32>>()).unwrap();
        b.constant(name, tensor).unwrap()
    };
    let weights = constant(&mut b, "w", &[8, 3, 3, 3], 0.3);
    let conv = Conv {
        kernel: [3, 3],
        strides: [2, 2],
        pads: [1; 4],
        dilations: [1, 1],
        groups: 1,
    };
    let node = |b: &mut GraphBuilder, name: &str, op: Op, inputs: &[_]| {
        let shapes = b.node(name, op, inputs);
        shapes.unwrap()
    };
    let y = node(&mut b, "conv", Op::Conv(conv), &[picture, weights]);
    let y = node(&mut b, "relu", Op::Relu, &[y]);
    let y = node(&mut b, "flat", Op::Flatten { axis: 1 }, &[y]);
    let matrix = constant(&mut b, "m", &[2, 8 * 33 * 100], 0.004);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = node(&mut b, "dense", Op::Gemm(gemm), &[y, matrix]);
    b.output("controls", y).unwrap();
    fs::write(folder.join("padded.onnx"), b.finish().unwrap().write()).unwrap();
}

#[test]
fn a_first_layer_with_padding_reads_pixels() {
    for precision in ["int8", "int8-integer", "int8-dynamic"] {
        let mut project = Project::new("pytorch", precision);
        padded(project.folder.path());
        project.head = format!(
            "model = \"padded.onnx\"\nprecision = \"{precision}\"\ndomain = \"physical\"\n"
        );
        let compiled = project.compile();
        let about_pixels = |warning: &&String| warning.contains("normalization");
        assert_eq!(compiled.warnings.iter().find(about_pixels), None);
        let bundle = Bundle::read(&compiled.bytes).unwrap();
        let plan = &bundle.plan;
        assert_eq!(steps(plan, |it| matches!(it, Operation::Pad { .. })), 1);
        if precision == "int8" {
            assert_eq!(steps(plan, integer_layer), 2);
            assert_eq!(
                steps(plan, |it| matches!(it, Operation::Quantize { .. })),
                0
            );
            // With 7 bits of the picture it is 38 dB.
            assert!(
                compiled.layers[0].signal_to_noise > 48.0,
                "{:?}",
                compiled.layers
            );
            let model = &bundle.sections["model.qdq.onnx"];
            let graph = Graph::read(model, &ReadOptions::default()).unwrap();
            let plan = lower_weights(&graph, PortLayout::Native, Weights::Dequantized).unwrap();
            let floats = answers(&bundle, plan, false).concat();
            let integers = answers(&bundle, bundle.plan.clone(), false).concat();
            let worst = floats.iter().zip(&integers).map(|(a, b)| (a - b).abs());
            assert!(worst.fold(0.0, f32::max) < 0.01);
        }
    }
}
