//! A network that drives by a lidar alone: it steers to the side with more room, and drives faster where
//! the way ahead is free.

use std::fs;
use std::path::Path;

use pilotage_graph::{ElementType, Gemm, Graph, GraphBuilder, Op, Tensor, TensorType};

/// The rays of the network.
const RAYS: usize = 541;
/// The mean of `sin(angle) * distance` times this is the yaw rate, rad/s.
const TURN: f64 = 2.5;
/// The speed at a wall, and what each metre of free way ahead adds, m/s.
const SLOW: f64 = 3.0;
const FREE: f64 = 0.4;

/// Writes `lidar.onnx` and `lidar.toml`. With `frames`, the folder of a recording beside it, the engine
/// is gated.
pub fn write(folder: &Path, precision: &str, frames: Option<&str>) {
    fs::write(folder.join("lidar.onnx"), network().write()).unwrap();
    let calibration = frames.map_or(String::new(), |frames| {
        format!("[calibration]\nframes = \"{frames}\"\n")
    });
    let recipe = format!(
        r#"model = "lidar.onnx"
precision = "{precision}"
domain = "simulated"

[scan]
input = "scan"
rays = {RAYS}
start = -135.0
end = 135.0
range = 10.0
scale = 0.1

[[output]]
name = "drive"
index = 0
meaning = "speed"
offset = {SLOW}

[[output]]
name = "drive"
index = 1
meaning = "yaw_rate"

{calibration}"#
    );
    fs::write(folder.join("lidar.toml"), recipe).unwrap();
}

fn network() -> Graph {
    let mut b = GraphBuilder::new("lidar");
    let input = TensorType::new(ElementType::F32, [1, 1, RAYS]);
    let scan = b.input("scan", input).unwrap();
    let row = b.reshape("row", scan, &[1, RAYS]).unwrap();
    let angles = (0..RAYS).map(|ray| (ray as f64 * 0.5 - 135.0).to_radians());
    let angles: Vec<f64> = angles.collect();
    let ahead: Vec<f64> = angles
        .iter()
        .map(|it| f64::from(u8::from(it.abs() < 0.05)))
        .collect();
    let rays_ahead: f64 = ahead.iter().sum();
    // The recipe gives the network a tenth of the distances.
    let speed = ahead.iter().map(|it| 10.0 * FREE * it / rays_ahead);
    let side = |it: &f64| if it.abs() < 1.57 { it.sin() } else { 0.0 };
    let yaw_rate = angles.iter().map(|it| 10.0 * TURN * side(it) / 361.0);
    let weights = speed
        .chain(yaw_rate)
        .map(|it| it as f32)
        .collect::<Vec<_>>();
    let weights = Tensor::new([2, RAYS], weights).unwrap();
    let weights = b.constant("weights", weights).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let drive = b.node("drive", Op::Gemm(gemm), &[row, weights]).unwrap();
    b.output("drive", drive).unwrap();
    b.finish().unwrap()
}

/// Compiles the recipe, and returns the path of the engine.
pub fn compiled(folder: &Path) -> String {
    let compiled = pilotage_compiler::compile(&folder.join("lidar.toml")).unwrap();
    let engine = folder.join("lidar.engine");
    fs::write(&engine, compiled.bytes).unwrap();
    engine.display().to_string()
}
