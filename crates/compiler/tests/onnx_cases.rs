//! Runs the ONNX standard's own cases through the reader, the compiler and the CPU engine.
//!
//! `write_onnx_cases.py` writes the cases to files (`cargo xtask test --install` runs it). In
//! scope are all cases whose operators the reader supports and whose floating-point tensors are
//! float32. Not in scope are 3-D ConvTranspose, BatchNormalization and Dropout in
//! training mode, Resize that is cubic, antialiased or a crop, GridSample that is cubic or of volumes, and tensors
//! without elements.
//!
//! Inputs that must be constant here (weights, statistics of normalization, shapes, axes, limits:
//! see [`needs_constant`]) are bound when the model is read. Each case runs as read and
//! simplified, with the scalar kernels and the machine's best kernels, in the model's axis order
//! and in the engine's. Tolerances are those of ONNX's backend runner (numpy's `assert_allclose`
//! with the case's rtol, 1e-3, and atol, 1e-7).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pilotage_compiler::{PortLayout, lower, run_plan, simplify};
use pilotage_engine::plan::Plan;
use pilotage_engine::{CpuOptions, InstructionSet};
use pilotage_graph::{Graph, ReadOptions, SUPPORTED_OPERATORS, Tensor, TensorData};
use serde::Deserialize;

use layout::in_layout;

#[derive(Deserialize)]
struct Case {
    training: bool,
    windowed_ranks: Vec<Option<usize>>,
    rtol: f64,
    atol: f64,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// The shapes of the inputs and of the outputs, for each data set.
    sets: Vec<[Vec<Vec<usize>>; 2]>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    #[serde(rename = "type")]
    element_type: String,
    readers: Vec<(String, usize)>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(rename = "type")]
    element_type: String,
}

/// Operators of bools, which have no case of float32.
const OF_BOOLS: [&str; 4] = ["And", "Not", "Or", "Xor"];

/// Whether an operator's input must be known at compile time.
fn needs_constant(operator: &str, position: usize) -> bool {
    match operator {
        "ConstantOfShape" | "Mod" | "Range" | "ReduceProd" => true,
        "BatchNormalization" | "Clip" | "Conv" | "ConvTranspose" | "DequantizeLinear"
        | "Dropout" | "Expand" | "Gather" | "Pad" | "QuantizeLinear" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceSum" | "ReduceSumSquare" | "Reshape" | "Resize" | "ReverseSequence" | "Slice"
        | "Split" | "Squeeze" | "Tile" | "Unsqueeze" | "Upsample" => position > 0,
        // Exponents of another type than the base, which the engine does not compute with.
        "Pow" => position > 0,
        // Scales and zero points; and the weights of the convolution.
        "QLinearMatMul" => ![0, 3].contains(&position),
        "QLinearConv" => position > 0,
        "CumSum" | "GatherND" | "GridSample" | "OneHot" | "ScatterElements" | "ScatterND"
        | "Trilu" => position == 1,
        "If" | "Where" => position == 0,
        "RotaryEmbedding" => position == 3,
        "Loop" => position < 2,
        // Weights, biases, lengths and peepholes; not the input and the initial states.
        "GRU" | "LSTM" | "RNN" => (1..5).contains(&position) || position == 7,
        _ => false,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cases_folder() -> PathBuf {
    match std::env::var_os("PILOTAGE_ONNX_CASES") {
        Some(folder) => folder.into(),
        None => root().join("target/onnx-cases"),
    }
}

/// Reads one data set: inputs, then outputs.
fn read_set(folder: &Path, case: &Case, index: usize) -> (Vec<Tensor>, Vec<Tensor>) {
    let bytes = fs::read(folder.join(format!("set_{index}.bin"))).unwrap();
    let mut rest = &bytes[..];
    let [inputs, outputs] = &case.sets[index];
    let input_types = case.inputs.iter().map(|input| &input.element_type);
    let output_types = case.outputs.iter().map(|output| &output.element_type);
    let mut take = |element_type: &str, shape: &Vec<usize>| {
        let count = shape.iter().product::<usize>();
        let size = match element_type {
            "float32" | "int32" => 4,
            "int64" => 8,
            _ => 1,
        };
        let (now, later) = rest.split_at(count * size);
        rest = later;
        let data = match element_type {
            "float32" => TensorData::F32(elements(now, f32::from_le_bytes)),
            "int32" => TensorData::I32(elements(now, i32::from_le_bytes)),
            "int64" => TensorData::I64(elements(now, i64::from_le_bytes)),
            "uint8" => TensorData::U8(now.to_vec()),
            "int8" => TensorData::I8(elements(now, i8::from_le_bytes)),
            "bool" => TensorData::Bool(now.iter().map(|&b| b != 0).collect()),
            other => panic!("{other} in {}", folder.display()),
        };
        Tensor::new(shape.clone(), data).unwrap()
    };
    let read_inputs = input_types.zip(inputs).map(|(t, s)| take(t, s)).collect();
    let read_outputs = output_types.zip(outputs).map(|(t, s)| take(t, s)).collect();
    assert!(rest.is_empty(), "{} is too long", folder.display());
    (read_inputs, read_outputs)
}

fn elements<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes.chunks_exact(N);
    chunks
        .map(|chunk| read(chunk.try_into().unwrap()))
        .collect()
}

/// Runs all data sets of a case in all ways. Returns the first error.
fn run(folder: &Path, case: &Case) -> Result<(), String> {
    let model = fs::read(folder.join("model.onnx")).unwrap();
    let bound: BTreeSet<&str> = case
        .inputs
        .iter()
        .filter(|input| {
            let mut readers = input.readers.iter();
            readers.any(|(operator, position)| needs_constant(operator, *position))
        })
        .map(|input| input.name.as_str())
        .collect();
    for index in 0..case.sets.len() {
        let (inputs, expected) = read_set(folder, case, index);
        let inputs: BTreeMap<&str, Tensor> = case
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .zip(inputs)
            .collect();
        let bind = bound
            .iter()
            .map(|&name| (name.to_owned(), inputs[name].clone()));
        let options = ReadOptions {
            bind: bind.collect(),
            ..ReadOptions::default()
        };
        let graph = Graph::read(&model, &options).map_err(|error| error.to_string())?;
        let simple = simplify(&graph);
        simple
            .check()
            .map_err(|error| format!("simplified: {error}"))?;
        for (way, graph, ports) in [
            ("as read", &graph, PortLayout::Model),
            ("simplified", &simple, PortLayout::Model),
            ("in the engine's order", &simple, PortLayout::Native),
        ] {
            let plan = lower(graph, ports).map_err(|error| format!("{way}: {error}"))?;
            let given: Vec<Tensor> = plan
                .inputs
                .iter()
                .map(|port| in_layout(&inputs[port.name.as_str()], port.layout))
                .collect();
            for set in [InstructionSet::Scalar, InstructionSet::best()] {
                compare(case, &plan, set, &given, &expected)
                    .map_err(|problem| format!("{way}, {set}: {problem}"))?;
            }
        }
    }
    Ok(())
}

fn compare(
    case: &Case,
    plan: &Plan,
    set: InstructionSet,
    inputs: &[Tensor],
    expected: &[Tensor],
) -> Result<(), String> {
    let options = CpuOptions {
        instruction_set: Some(set),
        ..CpuOptions::default()
    };
    let found = run_plan(plan, options, inputs).map_err(|error| error.to_string())?;
    if found.len() != expected.len() {
        return Err(format!("{} outputs, not {}", found.len(), expected.len()));
    }
    for ((found, expected), output) in found.iter().zip(expected).zip(&case.outputs) {
        let name = &output.name;
        if found.tensor_type() != expected.tensor_type() {
            let (found, expected) = (found.tensor_type(), expected.tensor_type());
            return Err(format!("`{name}` is {found}, not {expected}"));
        }
        for (i, (a, b)) in numbers(found)
            .into_iter()
            .zip(numbers(expected))
            .enumerate()
        {
            let same = a == b || (a.is_nan() && b.is_nan());
            let near = (a - b).abs() <= case.atol + case.rtol * b.abs();
            if !(same || near) {
                return Err(format!("`{name}`[{i}] is {a}, not {b}"));
            }
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.data() {
        TensorData::F32(data) => data.iter().map(|&x| f64::from(x)).collect(),
        TensorData::F16(data) => data.iter().map(|x| x.to_f64()).collect(),
        TensorData::I64(data) => data.iter().map(|&x| x as f64).collect(),
        TensorData::I32(data) => data.iter().map(|&x| f64::from(x)).collect(),
        TensorData::U8(data) => data.iter().map(|&x| f64::from(x)).collect(),
        TensorData::I8(data) => data.iter().map(|&x| f64::from(x)).collect(),
        TensorData::Bool(data) => data.iter().map(|&x| f64::from(u8::from(x))).collect(),
    }
}

/// Name and reason of each case that is known to fail.
fn left_out() -> BTreeMap<String, String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_cases_left_out.txt");
    let text = fs::read_to_string(list).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, reason) = line.split_once(": ").expect("`name: reason`");
            assert!(!reason.trim().is_empty(), "{name} has no reason");
            (name.to_owned(), reason.to_owned())
        })
        .collect()
}

#[test]
fn onnx_cases_run_or_are_listed_with_a_reason() {
    let folder = cases_folder();
    let operators = fs::read_to_string(folder.join("operators.json")).unwrap_or_else(|error| {
        panic!(
            "{}: {error}\nONNX's own cases are missing. `cargo xtask test --install` writes \
             them out, or by hand, with the packages of crates/compiler/tests/requirements.txt:\n\
             python crates/compiler/tests/write_onnx_cases.py target/onnx-cases",
            folder.display()
        )
    });
    let mut operators: Vec<&str> = serde_json::from_str(&operators).unwrap();
    operators.extend(OF_BOOLS);
    operators.sort_unstable();
    assert_eq!(
        operators, SUPPORTED_OPERATORS,
        "write_onnx_cases.py's OPERATORS differ from what the reader takes"
    );

    let mut listed = left_out();
    let (mut ran, mut do_not_fit) = (0, 0);
    let (mut left_out, mut wrong) = (0, Vec::new());
    let mut folders: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").exists())
        .collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let case = fs::read_to_string(folder.join("case.json")).unwrap();
        let case: Case = serde_json::from_str(&case).unwrap();
        if case.training || case.windowed_ranks.iter().flatten().any(|&rank| rank > 4) {
            do_not_fit += 1;
            continue;
        }
        match (run(&folder, &case), listed.remove(&name)) {
            (Ok(()), None) => ran += 1,
            (Ok(()), Some(_)) => wrong.push(format!("{name}: runs, but is on the list")),
            (Err(_), Some(_)) => left_out += 1,
            (Err(problem), None) => wrong.push(format!("{name}: {problem}")),
        }
    }
    for name in listed.keys() {
        wrong.push(format!(
            "{name}: is on the list, but there is no such case in scope"
        ));
    }
    let in_scope = ran + left_out + wrong.len();
    println!(
        "{in_scope} cases in scope: {ran} run, {left_out} left out with a reason, \
         {} wrong; {do_not_fit} more are 3-D ConvTranspose or training",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 0 && ran * 100 >= in_scope * 95, "fewer than 95 % run");
}
