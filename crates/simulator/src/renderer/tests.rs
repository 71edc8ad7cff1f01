use proptest::prelude::*;

use super::*;
use crate::Walls;

fn small_camera() -> CameraSpec {
    CameraSpec {
        width: 120,
        height: 90,
        ..CameraSpec::default()
    }
}

fn frame(
    circuit: &Circuit,
    looks: &Appearance,
    camera: &CameraSpec,
    pose: Pose,
    seed: u64,
) -> Vec<u8> {
    let mut rgb = vec![0; camera.frame_bytes()];
    Renderer::new(circuit, looks, camera).render(pose, seed, &mut rgb);
    rgb
}

/// An appearance without texture, with clear colours of line, road and ground.
fn looks() -> Appearance {
    Appearance {
        line: [250, 0, 0],
        asphalt: [0, 0, 0],
        ground: [0, 200, 0],
        ..Appearance::default().plain()
    }
}

/// The expected colour of a pixel, by tracing many rays and testing their ground points against the
/// circuit. It uses no code of the renderer.
fn traced(
    circuit: &Circuit,
    camera: &CameraSpec,
    pose: Pose,
    row: usize,
    column: usize,
) -> [f64; 3] {
    const DOWN: usize = 24;
    const ACROSS: usize = 8;
    let focal = 0.5 * camera.width as f64 / libm::tan(0.5 * camera.horizontal_fov);
    let [x, y] = pose.ahead(camera.forward, camera.left);
    let eye = Pose { x, y, ..pose };
    let mut sum = [0.0; 3];
    for i in 0..DOWN {
        for j in 0..ACROSS {
            let v = row as f64 + (i as f64 + 0.5) / DOWN as f64 - 0.5 * camera.height as f64;
            let u = column as f64 + (j as f64 + 0.5) / ACROSS as f64 - 0.5 * camera.width as f64;
            let ahead = camera.up * focal / v;
            let offset = circuit
                .nearest(eye.ahead(ahead, -u / focal * ahead), None)
                .offset
                .abs();
            if offset <= 0.5 * circuit.line_width() {
                sum[0] += 250.0;
            } else if offset > 0.5 * circuit.road_width() {
                sum[1] += 200.0;
            }
        }
    }
    sum.map(|c| c / (DOWN * ACROSS) as f64)
}

#[test]
fn pixels_below_the_horizon_agree_with_traced_rays() {
    let camera = small_camera();
    for (circuit, s) in [
        (Circuit::shipped("hairpins").unwrap(), 75.0),
        (Circuit::random(11).with_line_width(0.16), 40.0),
    ] {
        let pose = circuit.pose(s, 0.2, 0.1);
        let rgb = frame(&circuit, &looks(), &camera, pose, 0);
        let (mut total, mut count) = (0.0, 0);
        // The rows that show the course of the road, and one near the car.
        for row in [45, 46, 47, 48, 50, 55, 80] {
            for column in 0..camera.width {
                let expected = traced(&circuit, &camera, pose, row, column);
                let at = (row * camera.width + column) * 3;
                for k in 0..2 {
                    let off = (f64::from(rgb[at + k]) - expected[k]).abs();
                    // With so few rays the error is up to about 8 % of a pixel.
                    assert!(off < 22.0, "row {row} column {column}: {off}");
                    total += off;
                    count += 1;
                }
            }
        }
        assert!(
            total / f64::from(count) < 1.0,
            "{}",
            total / f64::from(count)
        );
    }
}

#[test]
fn a_mirrored_circuit_gives_the_mirrored_picture() {
    let camera = small_camera();
    // The sun shines from one side, so walls would differ.
    let circuit = Circuit::shipped("walled").unwrap().with_walls(None);
    let mirrored = circuit.mirrored();
    for s in [0.0, 50.0, 140.0] {
        let pose = circuit.pose(s, 0.3, -0.2);
        let opposite = Pose {
            y: -pose.y,
            heading: -pose.heading,
            ..pose
        };
        let a = frame(&circuit, &looks(), &camera, pose, 0);
        let b = frame(&mirrored, &looks(), &camera, opposite, 0);
        for row in 0..camera.height {
            for column in 0..camera.width {
                for k in 0..3 {
                    let left = a[(row * camera.width + column) * 3 + k];
                    let right = b[(row * camera.width + camera.width - 1 - column) * 3 + k];
                    assert!(left.abs_diff(right) <= 2, "row {row} column {column}");
                }
            }
        }
    }
}

#[test]
fn walls_hide_what_is_behind_them() {
    let camera = small_camera();
    let circuit = Circuit::shipped("simple").unwrap();
    let looks = Appearance {
        walls: [0, 0, 255],
        sky: [0; 3],
        haze: [0; 3],
        ..looks()
    };
    let walls = Walls {
        margin: 0.5,
        height: 0.5,
    };
    let walled = circuit.with_walls(Some(walls));
    let blue = |pose: Pose| {
        let rgb = frame(&walled, &looks, &camera, pose, 0);
        rgb.chunks_exact(3).filter(|p| p[2] > 120).count() as f64
            / (camera.width * camera.height) as f64
    };
    // Facing the left wall from a metre away: half a metre of it fills a third of the picture.
    assert!(blue(walled.pose(10.0, 0.6, std::f64::consts::FRAC_PI_2)) > 0.3);
    let along = blue(walled.pose(10.0, 0.0, 0.0));
    assert!((0.02..0.3).contains(&along), "{along}");
}

#[test]
fn noise_depends_only_on_the_frame_seed() {
    let camera = small_camera();
    let circuit = Circuit::shipped("simple").unwrap();
    let pose = circuit.start();
    let noisy = Appearance {
        noise: 4.0,
        ..Appearance::default()
    };
    let first = frame(&circuit, &noisy, &camera, pose, 1);
    assert_eq!(first, frame(&circuit, &noisy, &camera, pose, 1));
    assert_ne!(first, frame(&circuit, &noisy, &camera, pose, 2));
    let clean = Appearance {
        noise: 0.0,
        ..noisy
    };
    let still = frame(&circuit, &clean, &camera, pose, 1);
    assert_eq!(still, frame(&circuit, &clean, &camera, pose, 2));
    let squares: f64 = first
        .iter()
        .zip(&still)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    let deviation = libm::sqrt(squares / first.len() as f64);
    assert!((3.0..5.0).contains(&deviation), "{deviation}");
}

#[test]
fn random_looks_show_a_line_that_differs_from_the_road() {
    let away =
        |a: [u8; 3], b: [u8; 3]| -> i32 { (0..3).map(|k| i32::from(a[k].abs_diff(b[k]))).sum() };
    for seed in 0..300 {
        let looks = Appearance::random(seed);
        assert_eq!(looks, Appearance::random(seed));
        assert!(away(looks.line, looks.asphalt) > 75, "seed {seed}");
    }
    assert_ne!(Appearance::random(1), Appearance::random(2));
}

#[test]
fn an_invalid_pose_gives_a_picture() {
    let camera = small_camera();
    let circuit = Circuit::shipped("walled").unwrap();
    for x in [5e3, 1e9, f64::INFINITY, f64::NAN] {
        for heading in [0.0, f64::NAN] {
            let pose = Pose { x, y: -x, heading };
            let rgb = frame(&circuit, &Appearance::random(3), &camera, pose, 0);
            assert_eq!(rgb.len(), camera.frame_bytes());
        }
    }
}

#[test]
fn a_short_buffer_receives_the_rows_that_fit() {
    let camera = small_camera();
    let circuit = Circuit::shipped("simple").unwrap();
    let whole = frame(
        &circuit,
        &Appearance::default(),
        &camera,
        circuit.start(),
        7,
    );
    let mut part = vec![9_u8; 10 * camera.width * 3 + 5];
    Renderer::new(&circuit, &Appearance::default(), &camera).render(circuit.start(), 7, &mut part);
    let full_rows = 10 * camera.width * 3;
    assert_eq!(part[..full_rows], whole[..full_rows]);
    assert_eq!(part[full_rows..], [9; 5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn some_rows_equal_those_of_the_whole_frame(
        looks in 0..50_u64,
        share in 0.0..1.0,
        aside in -2.0..2.0,
        heading in -3.0..3.0,
        tilt in prop::array::uniform3(-0.3..0.3),
        from in 0..95_usize,
        to in 0..95_usize,
    ) {
        let camera = CameraSpec {
            width: 117,
            pitch: tilt[0],
            roll: tilt[1],
            yaw: tilt[2],
            ..small_camera()
        };
        let circuit = Circuit::shipped("walled").unwrap();
        let pose = circuit.pose(share * circuit.length(), aside, heading);
        let mut renderer = Renderer::new(&circuit, &Appearance::random(looks), &camera);
        let mut whole = vec![0; camera.frame_bytes()];
        renderer.render(pose, 5, &mut whole);
        let mut part = vec![0; camera.frame_bytes()];
        renderer.render_rows(from..to, pose, 5, &mut part);
        let stride = camera.width * 3;
        let rows = from.min(camera.height)..to.clamp(from.min(camera.height), camera.height);
        let count = rows.len() * stride;
        prop_assert_eq!(&part[..count], &whole[rows.start * stride..rows.end * stride]);
        prop_assert!(part[count..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn any_camera_gives_a_picture(
        width in 0..70_usize,
        height in 0..40_usize,
        numbers in prop::array::uniform5(-4.0..4.0),
    ) {
        let camera = CameraSpec {
            width,
            height,
            horizontal_fov: numbers[0],
            up: numbers[1],
            pitch: numbers[2],
            yaw: numbers[3],
            roll: numbers[4],
            ..CameraSpec::default()
        };
        let circuit = Circuit::shipped("walled").unwrap();
        let rgb = frame(&circuit, &Appearance::random(1), &camera, circuit.start(), 0);
        prop_assert_eq!(rgb.len(), width * height * 3);
    }
}
