//! Times PilotNet (random weights) on this machine, float32 or INT8.
//!
//! `cargo run --release -p pilotage-engine --example pilotnet -- [--rounds N]
//! [--int8] [--threads N] [--set scalar|avx2|avxvnni|avx512|avx512vnni|neon|dotprod] [--layers] [--brief]`

use std::time::Instant;

use pilotage_engine::plan::{
    Activation, Constant, ConstantData, ConstantId, Finish, Operand, Operation, PlanPort, Step,
    TensorId, TensorSpec, Window,
};
use pilotage_engine::{
    CpuEngine, CpuOptions, ElementType, Engine, InstructionSet, Layout, Plan, TensorMut, TensorRef,
};

/// The network of issue 2: five convolutions, five fully connected layers.
fn pilotnet(int8: bool) -> Plan {
    let mut plan = Plan::default();
    let held = if int8 {
        ElementType::I8
    } else {
        ElementType::F32
    };
    let mut seed = 1_u32;
    let mut shape = vec![1, 66, 200, 3];
    let tensor = |plan: &mut Plan, shape: &[usize], element_type| {
        plan.tensors.push(TensorSpec {
            shape: shape.to_vec(),
            element_type,
        });
        TensorId(plan.tensors.len() - 1)
    };
    let mut constant = |plan: &mut Plan, shape: &[usize], scale: f32| {
        let data = (0..shape.iter().product())
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed as f32 / u32::MAX as f32 - 0.5) * scale
            })
            .collect();
        plan.constants.push(Constant {
            shape: shape.to_vec(),
            data: ConstantData::F32(data),
        });
        ConstantId(plan.constants.len() - 1)
    };
    // Levels of deviation 74 and weights likewise.
    let level = |plan: &mut Plan, weights: ConstantId, floats: ConstantId, depth: usize| {
        let ConstantData::F32(data) = &plan.constants[weights.0].data else {
            return floats;
        };
        let most = data.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let data = data.iter().map(|w| (w * 127.0 / most) as i8).collect();
        plan.constants[weights.0].data = ConstantData::I8(data);
        let constant = &mut plan.constants[floats.0];
        let multiplier = 0.02 / (depth as f32).sqrt();
        constant.data = ConstantData::F32(vec![multiplier; constant.shape[0]]);
        floats
    };
    let mut last = tensor(&mut plan, &shape, held);
    plan.inputs.push(PlanPort {
        name: "image".into(),
        operand: Operand::Tensor(last),
        layout: Layout::Nhwc,
    });
    for (index, (units, kernel, stride)) in
        [(24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)]
            .into_iter()
            .enumerate()
    {
        let depth = shape[3];
        shape[1] = (shape[1] - kernel) / stride + 1;
        shape[2] = (shape[2] - kernel) / stride + 1;
        shape[3] = units;
        let fan = (kernel * kernel * depth) as f32;
        let weights = constant(
            &mut plan,
            &[units, kernel, kernel, depth],
            (24.0 / fan).sqrt(),
        );
        let bias = constant(&mut plan, &[units], 0.1);
        let output = tensor(&mut plan, &shape, held);
        let window = Window {
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads: [0; 2],
            dilations: [1; 2],
        };
        let operation = if int8 {
            Operation::QuantizedConv2d {
                weights,
                bias: None,
                multiplier: level(&mut plan, weights, bias, kernel * kernel * depth),
                window,
                groups: 1,
                finish: Finish::Int8 { low: 0, high: 127 },
            }
        } else {
            Operation::Conv2d {
                weights,
                bias: Some(bias),
                window,
                groups: 1,
                activation: Activation::Relu,
            }
        };
        plan.steps.push(Step {
            name: format!("conv{}", index + 1),
            operation,
            inputs: vec![Operand::Tensor(last)],
            output,
        });
        last = output;
    }
    let mut depth = shape.iter().product();
    let flat = tensor(&mut plan, &[1, depth], held);
    plan.steps.push(Step {
        name: "flatten".into(),
        operation: Operation::Reshape,
        inputs: vec![Operand::Tensor(last)],
        output: flat,
    });
    last = flat;
    for (index, units) in [1164, 100, 50, 10, 2].into_iter().enumerate() {
        let weights = constant(&mut plan, &[units, depth], (24.0 / depth as f32).sqrt());
        let bias = constant(&mut plan, &[units], 0.1);
        let (held, activation) = match units {
            2 => (ElementType::F32, Activation::None),
            _ => (held, Activation::Relu),
        };
        let output = tensor(&mut plan, &[1, units], held);
        let operation = if int8 {
            Operation::QuantizedFullyConnected {
                weights,
                bias: None,
                multiplier: level(&mut plan, weights, bias, depth),
                finish: match held {
                    ElementType::I8 => Finish::Int8 { low: 0, high: 127 },
                    _ => Finish::Float { activation },
                },
            }
        } else {
            Operation::FullyConnected {
                weights,
                bias: Some(bias),
                activation,
            }
        };
        plan.steps.push(Step {
            name: format!("dense{}", index + 1),
            operation,
            inputs: vec![Operand::Tensor(last)],
            output,
        });
        last = output;
        depth = units;
    }
    plan.outputs.push(PlanPort {
        name: "controls".into(),
        operand: Operand::Tensor(last),
        layout: Layout::Plain,
    });
    plan
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let rounds: usize = value("--rounds").map_or(Ok(2000), |text| text.parse())?;
    let instruction_set = match value("--set").as_deref() {
        None => None,
        Some("scalar") => Some(InstructionSet::Scalar),
        Some("avx2") => Some(InstructionSet::Avx2),
        Some("avx512") => Some(InstructionSet::Avx512),
        Some("avx512vnni") => Some(InstructionSet::Avx512Vnni),
        Some("avxvnni") => Some(InstructionSet::AvxVnni),
        Some("neon") => Some(InstructionSet::Neon),
        Some("dotprod") => Some(InstructionSet::NeonDotprod),
        Some(other) => return Err(format!("there is no instruction set `{other}`").into()),
    };
    let options = CpuOptions {
        threads: value("--threads").map_or(Ok(1), |text| text.parse())?,
        instruction_set,
        profile: flag("--layers"),
        ..CpuOptions::default()
    };
    let mut engine = CpuEngine::new(&pilotnet(flag("--int8")), options)?;
    let input: Vec<f32> = (0..engine.inputs()[0].len())
        .map(|index| (index * 7919 % 256) as f32 / 255.0)
        .collect();
    let levels: Vec<i8> = (0..input.len())
        .map(|index| (index * 7919 % 256) as u8 as i8)
        .collect();
    let input = match engine.inputs()[0].element_type {
        ElementType::I8 => TensorRef::I8(&levels),
        _ => TensorRef::F32(&input),
    };
    let mut output = [0.0; 2];
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + rounds / 10 {
        let start = Instant::now();
        engine.infer(&[input], &mut [TensorMut::F32(&mut output)])?;
        if round >= rounds / 10 {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    if flag("--brief") {
        println!(
            "{:.2} {:.2} {} {}",
            quantile(0.5),
            quantile(0.99),
            output[0],
            output[1]
        );
        return Ok(());
    }
    println!(
        "{}: median {:.1} us, p99 {:.1} us, fastest {:.1} us",
        engine.describe(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.0)
    );
    println!("output {output:?}, arena {} bytes", engine.arena_bytes());
    for step in engine.profile() {
        let fastest = step.fastest.as_secs_f64();
        println!(
            "{:10} fastest {:8.2} us, mean {:8.2} us, {:6.2} GMAC/s",
            step.name,
            fastest * 1e6,
            step.total.as_secs_f64() / step.runs.max(1) as f64 * 1e6,
            step.multiply_adds as f64 / fastest.max(1e-9) / 1e9
        );
    }
    Ok(())
}
