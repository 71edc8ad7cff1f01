//! Networks that answer with a path, compiled, and driven in the simulator by what their decoder commands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "tests print their measurements")]

mod ground;
mod networks;

use std::fs;
use std::path::Path;
use std::time::Duration;

use pilotage_compiler::compile;
use pilotage_engine::{
    Buffer, Bundle, CpuEngine, CpuOptions, Engine, GateResult, TensorMut, TensorRef,
};
use pilotage_simulator::{Appearance, CameraSpec, CarKind, Circuit, Limits, Outcome, World};
use pilotage_vehicle::{Controls, Mixer};
use pilotage_vision::{FrameView, PixelFormat, Preprocess, Vision};
use serde::Deserialize;
use tempfile::TempDir;

/// A small picture is rendered quickly.
fn camera() -> CameraSpec {
    CameraSpec {
        width: 160,
        height: 120,
        ..CameraSpec::default()
    }
}

/// From a frame to its command.
const LATENCY: Duration = Duration::from_millis(10);

fn circuit() -> Circuit {
    Circuit::random(3)
}

fn world() -> World {
    let mixer = Mixer::simulated();
    let looks = Appearance::default();
    World::new(circuit(), &looks, &camera(), CarKind::Ackermann, mixer)
}

/// Writes frames of the circuit for calibration.
fn write_frames(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let camera = camera();
    let mut world = world();
    let length = world.circuit().length();
    let mut pixels = vec![0; camera.frame_bytes()];
    for index in 0..108_u32 {
        let side = f64::from(index % 9) / 4.0 - 1.0;
        let turn = f64::from(index % 7) / 3.0 - 1.0;
        let s = length * f64::from(index) / 108.0;
        world = world
            .placed(s, 0.15 * side, 0.1 * turn)
            .with_seed(u64::from(index));
        world.render(&mut pixels);
        let (width, height) = (camera.width as u32, camera.height as u32);
        let picture = image::RgbImage::from_raw(width, height, pixels.clone()).unwrap();
        picture
            .save(folder.join(format!("{index:03}.png")))
            .unwrap();
    }
}

/// Drives a lap. Returns how it ended, and the mean distance from the line in metres.
fn lap(bundle: &Bundle) -> (Option<Outcome>, f64) {
    let camera = camera();
    let preprocess = Preprocess::deserialize(&bundle.manifest.preprocessing).unwrap();
    let size = (camera.width as u32, camera.height as u32);
    let mut vision = Vision::new(&preprocess, size.0, size.1, PixelFormat::Rgb8).unwrap();
    let mut engine = CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let ports: Vec<(&str, usize)> = (bundle.plan.outputs.iter())
        .map(|port| (port.name.as_str(), bundle.plan.port(port).len()))
        .collect();
    let path = bundle
        .manifest
        .decoder
        .as_ref()
        .unwrap()
        .bind(&ports)
        .unwrap();
    let mut inputs: Vec<Buffer> = engine.inputs().iter().map(Buffer::zeros).collect();
    let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();

    let mixer = Mixer::simulated();
    let mut world = world().with_limits(Limits {
        laps: 1,
        ..Limits::default()
    });
    let mut pixels = vec![0; camera.frame_bytes()];
    let mut command = (0.0, 0.0);
    let (mut frames, mut off) = (0, 0.0);
    while world.outcome().is_none() {
        world.render(&mut pixels);
        let frame = FrameView {
            format: PixelFormat::Rgb8,
            width: size.0,
            height: size.1,
            data: &pixels,
            captured: world.now(),
            sequence: frames,
        };
        match inputs[0].as_mut() {
            TensorMut::I8(picture) => vision.run_i8(frame, picture).unwrap(),
            TensorMut::F32(picture) => vision.run(frame, picture).unwrap(),
            _ => panic!("another input"),
        }
        let tensors: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
        let mut views: Vec<_> = outputs.iter_mut().map(Buffer::as_mut).collect();
        engine.infer(&tensors, &mut views).unwrap();
        let answer: Vec<f32> = outputs
            .iter()
            .flat_map(Buffer::to_f64)
            .map(|x| x as f32)
            .collect();
        let captured = world.now();
        world.advance_to(captured + LATENCY, command.0, command.1);
        let followed = path.command(&answer).unwrap();
        command = mixer.mix(Controls::Twist {
            speed: followed.speed as f32,
            yaw_rate: (followed.speed * followed.curvature) as f32,
        });
        let period = Duration::from_secs_f64(1.0 / camera.rate_hz);
        world.advance_to(captured + period, command.0, command.1);
        frames += 1;
        off += world.offset().abs();
    }
    (world.outcome(), off / frames as f64)
}

#[test]
fn networks_that_answer_with_a_path_drive_a_lap() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    write_frames(&folder.join("frames"));
    for kind in ["mask", "lane", "waypoints"] {
        for precision in ["fp32", "int8"] {
            networks::write(folder, camera().width, kind, precision);
            let compiled = compile(&folder.join("path.toml")).unwrap();
            let gate = &compiled.manifest.gate;
            let compared: Vec<&str> = gate.iter().map(|it| it.output.as_str()).collect();
            assert_eq!(compared[..2], ["curvature", kind]);
            assert!(gate.iter().all(GateResult::passes), "{gate:?}");
            let bundle = Bundle::read(&compiled.bytes).unwrap();
            assert_eq!(bundle.manifest.decoder, compiled.manifest.decoder);
            let (outcome, off) = lap(&bundle);
            println!(
                "{kind} {precision}: {off:.4} m from the line, curvature {:?}",
                gate[0].worst
            );
            let done = matches!(outcome, Some(Outcome::LapDone { .. }));
            assert!(done, "{kind} {precision}: {outcome:?}");
            assert!(off < 0.12, "{kind} {precision}: {off} m from the line");
        }
    }
}
