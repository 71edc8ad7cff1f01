//! Rays against closed forms.

use super::*;
use crate::{Appearance, CameraSpec, CarKind, World};
use pilotage_vehicle::{Mixer, Time};

const EXACT: SensorSpec = SensorSpec {
    delay_ms: 0,
    noise: 0.0,
};

/// Two long straights with a bend at each end.
fn oval() -> Circuit {
    let mut points: Vec<[f64; 2]> = (0..=100).map(|i| [f64::from(i), 0.0]).collect();
    let bend = |centre: f64, from: f64| {
        (1..20).map(move |i| {
            let angle = from + std::f64::consts::PI * f64::from(i) / 20.0;
            [centre + 10.0 * angle.cos(), 10.0 + 10.0 * angle.sin()]
        })
    };
    let quarter = std::f64::consts::FRAC_PI_2;
    points.extend(bend(100.0, -quarter));
    points.extend((0..=100).map(|i| [100.0 - f64::from(i), 20.0]));
    points.extend(bend(0.0, quarter));
    Circuit::from_points("oval", &points).unwrap()
}

fn wide(rays: u32, field: f64, range: f64) -> LidarSpec {
    LidarSpec {
        rays,
        field,
        range,
        ..LidarSpec::default()
    }
}

#[test]
fn a_straight_corridor_is_that_of_trigonometry() {
    let circuit = oval();
    let mut lidar = Lidar::new(wide(361, 180.0, 20.0), EXACT, &circuit);
    let half = 0.5 * circuit.road_width();
    for (offset, heading) in [(0.0, 0.0), (0.4, 0.0), (-0.7, 0.3), (0.2, -1.1)] {
        let pose = circuit.pose(50.0, offset, heading);
        lidar.begin(pose, 1);
        let (scan, _) = lidar.read(0);
        for (ray, &millimetres) in scan.millimetres.iter().enumerate() {
            let angle = scan.rays.angle(ray).to_radians() + pose.heading;
            let room = match angle.sin() > 0.0 {
                true => half - pose.y,
                false => half + pose.y,
            };
            let exact = room / angle.sin().abs();
            match exact < 19.9 {
                true => {
                    let error = f64::from(millimetres) * 1e-3 - exact;
                    assert!(error.abs() < 1.5e-3, "{offset} {heading} {ray}: {error}");
                }
                false => assert!(exact < 20.1 || millimetres == 0, "{ray}: {millimetres}"),
            }
        }
    }
}

#[test]
fn a_circle_is_that_of_trigonometry() {
    let radius = 12.0;
    let points: Vec<[f64; 2]> = (0..400)
        .map(|i| f64::from(i) * std::f64::consts::TAU / 400.0)
        .map(|angle| [radius * angle.cos(), radius * angle.sin()])
        .collect();
    let circuit = Circuit::from_points("circle", &points).unwrap();
    let mut lidar = Lidar::new(wide(720, 360.0, 30.0), EXACT, &circuit);
    let half = 0.5 * circuit.road_width();
    let pose = circuit.pose(7.0, 0.3, 0.4);
    lidar.begin(pose, 1);
    let (scan, _) = lidar.read(0);
    for (ray, &millimetres) in scan.millimetres.iter().enumerate() {
        let angle = scan.rays.angle(ray).to_radians() + pose.heading;
        // |p + t d| = r
        let along = pose.x * angle.cos() + pose.y * angle.sin();
        let square = pose.x * pose.x + pose.y * pose.y;
        let inside = along * along - square + (radius - half).powi(2);
        let exact = match inside > 0.0 && along < 0.0 {
            true => -along - inside.sqrt(),
            false => -along + (along * along - square + (radius + half).powi(2)).sqrt(),
        };
        // A ray that only touches the inner wall is sensitive to it.
        if inside.abs() > 0.05 {
            let error = f64::from(millimetres) * 1e-3 - exact;
            assert!(error.abs() < 3e-3, "{ray}: {error}");
        }
    }
}

#[test]
fn no_ray_leaves_the_road_of_a_random_circuit() {
    for seed in 0..4 {
        let circuit = Circuit::random(seed);
        let borders = Borders::of(&circuit);
        let half = 0.5 * circuit.road_width();
        for place in 0..40 {
            let pose = circuit.pose(circuit.length() * f64::from(place) / 40.0, 0.2, 0.0);
            for ray in 0..360 {
                let angle = f64::from(ray).to_radians();
                let found = borders.distance([pose.x, pose.y], angle, 60.0);
                let metres = found.unwrap_or(60.0);
                // Up to the wall all is road, and the wall is its border.
                for share in [0.25, 0.5, 0.75, 0.95, 1.0] {
                    let (x, y) = (angle.cos(), angle.sin());
                    let at = [pose.x + share * metres * x, pose.y + share * metres * y];
                    let away = circuit.nearest(at, None).offset.abs();
                    assert!(away < half + 5e-3, "{seed} {place} {ray} {share}: {away}");
                    if share == 1.0 && found.is_some() {
                        assert!(away > half - 0.06, "{seed} {place} {ray}: {away}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_rays_of_a_moving_car_are_measured_one_after_the_other() {
    let circuit = oval();
    let mut lidar = Lidar::new(wide(181, 180.0, 20.0), EXACT, &circuit);
    let half = 0.5 * circuit.road_width();
    // The car slides to the left: 0.5 m in the 25 ms of a scan.
    let offset = |millisecond: u64| -0.25 + 0.02 * millisecond as f64;
    lidar.begin(circuit.pose(50.0, offset(0), 0.0), 1);
    for millisecond in 1..=25 {
        lidar.advance(millisecond, circuit.pose(50.0, offset(millisecond), 0.0));
    }
    let (scan, age) = lidar.read(25);
    assert_eq!(age, 0);
    for (ray, &millimetres) in (0_u64..).zip(&scan.millimetres) {
        let sin = scan.rays.angle(ray as usize).to_radians().sin();
        if sin.abs() < 0.2 {
            continue;
        }
        // The first ray is measured in the first millisecond, and the last one in the last.
        let y = offset(((ray + 1) * 25).div_ceil(181));
        let exact = (half + sin.signum() * -y) / sin.abs();
        let error = f64::from(millimetres) * 1e-3 - exact;
        assert!(error.abs() < 1.5e-3, "{ray}: {error}");
    }
}

#[test]
fn a_ray_from_a_place_that_is_not_finite_meets_nothing() {
    let borders = Borders::of(&oval());
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    for from in [
        [nan, nan],
        [nan, 0.0],
        [infinite, -infinite],
        [50.0, infinite],
        [1e300, 1e300],
    ] {
        for angle in [0.3, 2.0, -1.0, nan, infinite] {
            assert_eq!(
                borders.distance(from, angle, 10.0),
                None,
                "{from:?} {angle}"
            );
        }
    }
    assert_eq!(borders.distance([50.0, 0.0], nan, 10.0), None);
}

fn world(seed: u64, sensors: SensorSpec) -> World {
    let mixer = Mixer::simulated();
    let (looks, camera) = (Appearance::default(), CameraSpec::default());
    World::new(oval(), &looks, &camera, CarKind::default(), mixer)
        .with_sensors(sensors)
        .with_lidar(LidarSpec::default())
        .with_seed(seed)
        .placed(20.0, 0.0, 0.0)
}

#[test]
fn a_scan_lasts_and_is_late_and_repeats_with_the_seed() {
    let late = SensorSpec {
        delay_ms: 30,
        noise: 1.0,
    };
    let drive = |seed| {
        let mut world = world(seed, late);
        let mut scans = vec![world.scan().map(|(scan, age)| (scan.clone(), age)).unwrap()];
        for millisecond in 1..=400 {
            world.advance_to(Time::from_nanos(millisecond * 1_000_000), 0.5, 1.0);
            scans.push(world.scan().map(|(scan, age)| (scan.clone(), age)).unwrap());
        }
        scans
    };
    let scans = drive(7);
    assert_eq!(scans, drive(7));
    assert_ne!(scans, drive(8));
    // A new scan each 25 ms, 30 ms after it was complete.
    for (millisecond, pair) in scans.windows(2).enumerate() {
        let is_new = pair[0].0 != pair[1].0;
        let due = millisecond + 1 >= 55 && (millisecond + 1 - 30) % 25 == 0;
        assert_eq!(is_new, due, "{millisecond}");
        let age = pair[1].1;
        assert!((30..55 + 1).contains(&age), "{millisecond}: {age}");
        if due {
            assert_eq!(age, 30);
        }
    }
    let noise: f64 = scans[0]
        .0
        .millimetres
        .iter()
        .zip(&drive(8)[0].0.millimetres)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum::<f64>()
        / 1081.0;
    // The difference of two numbers of 10 mm deviation each.
    assert!((noise.sqrt() - 14.1).abs() < 1.5, "{}", noise.sqrt());
}

#[test]
fn a_car_behind_the_wall_sees_it_and_a_world_without_lidar_nothing() {
    let circuit = oval();
    let borders = Borders::of(&circuit);
    let found = borders.distance([50.0, -2.0], std::f64::consts::FRAC_PI_2, 10.0);
    assert!((found.unwrap() - 0.5).abs() < 1e-3);
    let mixer = Mixer::simulated();
    let (looks, camera) = (Appearance::default(), CameraSpec::default());
    let mut world = World::new(circuit, &looks, &camera, CarKind::default(), mixer);
    assert!(world.scan().is_none() && world.lidar().is_none());
}
