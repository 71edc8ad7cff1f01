//! Points of the picture on the ground, against the camera of the simulator.

use pilotage_engine::GroundCamera;
use pilotage_simulator::{Appearance, CameraSpec, Circuit, Random, Renderer};

const SIZE: (usize, usize) = (320, 240);

/// The columns between which a row is red, if it is.
fn red(row: &[u8]) -> Option<(usize, usize)> {
    let is_red = |pixel: &[u8]| i32::from(pixel[0]) > 90 + i32::from(pixel[1].max(pixel[2]));
    let pixels = || row.chunks_exact(3).map(is_red);
    let first = pixels().position(|red| red)?;
    let last = pixels().rposition(|red| red)?;
    // A line that bends back is seen twice, and a line at the edge only in part.
    let whole = first > 0 && last + 1 < SIZE.0;
    (whole && pixels().skip(first).take(last - first + 1).all(|red| red)).then_some((first, last))
}

/// Where cameras of many kinds see the painted line, the projection finds it on the ground.
#[test]
fn the_ground_is_where_the_simulator_draws_it() {
    let mut random = Random::stream(7, 1);
    let (mut rows, mut worst) = (0, 0.0_f64);
    for seed in 0..12 {
        let circuit = Circuit::random(seed);
        let spec = CameraSpec {
            width: SIZE.0,
            height: SIZE.1,
            horizontal_fov: random.range(0.8, 2.0),
            forward: random.range(-0.1, 0.6),
            left: random.range(-0.1, 0.1),
            up: random.range(0.08, 0.6),
            pitch: random.range(-0.1, 0.7),
            ..CameraSpec::default()
        };
        let looks = Appearance {
            noise: 0.0,
            vignetting: 0.0,
            asphalt_texture: 0.0,
            patches: 0.0,
            ..Appearance::default()
        };
        let camera = GroundCamera {
            frame: [SIZE.0 as f32, SIZE.1 as f32],
            crop: [0.0, 0.0, SIZE.0 as f32, SIZE.1 as f32],
            horizontal_fov: spec.horizontal_fov as f32,
            up: spec.up as f32,
            forward: spec.forward as f32,
            left: spec.left as f32,
            pitch: spec.pitch as f32,
        };
        let ground = camera.ground();
        let mut renderer = Renderer::new(&circuit, &looks, &spec);
        let mut frame = vec![0; spec.frame_bytes()];
        for _ in 0..6 {
            let s = random.range(0.0, circuit.length());
            let pose = circuit.pose(s, random.range(-0.3, 0.3), random.range(-0.3, 0.3));
            renderer.render(pose, 1, &mut frame);
            for (index, row) in frame.chunks_exact(3 * SIZE.0).enumerate() {
                let down = (index as f64 + 0.5) / SIZE.1 as f64;
                let at = |column: f64| ground.point(column / SIZE.0 as f64, down);
                let (Some((first, last)), Some([x, _])) = (red(row), at(0.0)) else {
                    continue;
                };
                // Farther away, a row is wider than the line.
                if x > 3.0 || last < first + 2 {
                    continue;
                }
                let ends = [at(first as f64), at(last as f64 + 1.0)].map(Option::unwrap);
                let middle = [0, 1].map(|axis| 0.5 * (ends[0][axis] + ends[1][axis]));
                let [x, y] = pose.ahead(middle[0], middle[1]);
                let off = circuit.nearest([x, y], Some(s + middle[0])).offset.abs();
                rows += 1;
                worst = worst.max(off);
                // The line's edges are at most a pixel off, and a slanted line's middle a little more.
                let pixel = (ends[0][1] - ends[1][1]).abs() / (last + 1 - first) as f64;
                assert!(
                    off <= 0.01 + 1.5 * pixel,
                    "{off} {pixel} row {index} of {spec:?}"
                );
            }
        }
    }
    assert!(rows > 1000, "{rows}");
    println!("{rows} rows, {worst:.4} m off at most");
}
