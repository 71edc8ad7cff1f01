use proptest::prelude::*;

use super::*;
use crate::Meaning;

const PURSUIT: Pursuit = Pursuit {
    look_ahead: 1.0,
    look_ahead_time: 0.0,
    least_points: 2,
};

fn points(count: usize, order: PointOrder) -> Points {
    Points {
        count,
        order,
        scale: [1.0; 2],
        offset: [0.0; 2],
        far_first: false,
    }
}

fn bound(path: PathForm, speed: PathSpeed, pursuit: Pursuit) -> BoundPath {
    let decoder = PathDecoder {
        name: "path".into(),
        index: 0,
        path,
        pursuit,
        speed,
    };
    let elements = decoder.elements().unwrap();
    decoder.bind(&[("path", elements), ("speed", 1)]).unwrap()
}

fn waypoints(count: usize) -> BoundPath {
    let points = points(count, PointOrder::Pairs);
    bound(
        PathForm::Waypoints { points },
        PathSpeed::Fixed(2.0),
        PURSUIT,
    )
}

fn camera() -> GroundCamera {
    GroundCamera {
        frame: [640.0, 480.0],
        crop: [0.0, 0.0, 640.0, 480.0],
        horizontal_fov: 1.57,
        up: 0.2,
        forward: 0.1,
        left: 0.0,
        pitch: 0.4,
    }
}

fn mask(width: usize, height: usize) -> Mask {
    Mask {
        width,
        height,
        channels: 1,
        channel: 0,
        interleaved: false,
        threshold: Some(0.5),
        least_pixels: 1,
        road_width: None,
    }
}

/// The points of `mask` on the ground, and the mask's elements from rows of text.
fn middles(mask: &Mask, rows: &[&str]) -> Vec<[f64; 2]> {
    let elements: Vec<f32> = rows
        .iter()
        .flat_map(|row| row.chars().map(|c| if c == '#' { 1.0 } else { 0.0 }))
        .collect();
    let mut found = Vec::new();
    mask.each(&elements, &steep().ground(), |point| found.push(point));
    found
}

/// A camera that sees no horizon.
fn steep() -> GroundCamera {
    GroundCamera {
        pitch: 0.7,
        ..camera()
    }
}

proptest! {
    /// The arc through a point of a circle that the car already drives on is that circle.
    #[test]
    fn a_circle_has_its_own_curvature(
        curvature in -0.9f64..0.9,
        look_ahead in 0.3f32..1.2,
        fine in 20usize..60,
    ) {
        prop_assume!(curvature.abs() > 0.01);
        // Chords of at most 0.1 m: their middle is at most 0.0013 m inside of the circle.
        let elements: Vec<f32> = (1..=fine).flat_map(|at| {
            let arc = at as f64 * 2.0 / fine as f64;
            let angle = arc * curvature;
            [libm::sin(angle) / curvature, (1.0 - libm::cos(angle)) / curvature]
        }).map(|x| x as f32).collect();
        let points = points(fine, PointOrder::Pairs);
        let pursuit = Pursuit { look_ahead, ..PURSUIT };
        let path = bound(PathForm::Waypoints { points }, PathSpeed::Fixed(1.0), pursuit);
        let found = path.command(&elements).unwrap();
        let sagitta = curvature.abs() * 0.1 * 0.1 / 8.0;
        let allowed = 2.0 * sagitta / f64::from(look_ahead).powi(2) + 1e-5;
        prop_assert!((found.curvature - curvature).abs() <= allowed, "{found:?} {allowed}");
        prop_assert_eq!(found.speed, 1.0);
    }

    /// A straight path beside the car: with an offset `y` and the look-ahead `d`, 2 y / d^2.
    #[test]
    fn a_line_beside_the_car(offset in -0.9f32..0.9, first in 0.01f32..0.4) {
        let elements: Vec<f32> =
            (0..12).flat_map(|at| [first + at as f32 * 0.2, offset]).collect();
        let found = waypoints(12).command(&elements).unwrap();
        prop_assert!((found.curvature - 2.0 * f64::from(offset)).abs() < 1e-6, "{found:?}");
    }

    /// Any numbers end in a finite command or an error.
    #[test]
    fn nothing_finite_is_made_of_nothing(
        numbers in proptest::collection::vec(proptest::num::f32::ANY, 0..20),
        count in 0usize..9,
        period in proptest::num::f32::ANY,
        look_ahead in proptest::num::f32::ANY,
    ) {
        let points = Points {
            scale: [numbers.first().copied().unwrap_or(1.0), 1.0],
            ..points(count, PointOrder::Separate)
        };
        let decoder = PathDecoder {
            name: "path".into(),
            index: 0,
            path: PathForm::Waypoints { points },
            pursuit: Pursuit { look_ahead, ..PURSUIT },
            speed: PathSpeed::Period(period),
        };
        if let Ok(path) = decoder.bind(&[("path", numbers.len())])
            && let Ok(command) = path.command(&numbers)
        {
            prop_assert!(command.curvature.is_finite() && command.speed.is_finite());
        }
    }

    /// A mask of any shape, seen by any camera, ends in a finite command or an error.
    #[test]
    fn any_mask_and_camera(
        numbers in proptest::collection::vec(proptest::num::f32::NORMAL, 60),
        width in 1usize..8,
        (channels, channel) in (0usize..4, 0usize..4),
        interleaved in any::<bool>(),
        lens in proptest::array::uniform5(proptest::num::f32::ANY),
    ) {
        let [horizontal_fov, up, forward, pitch, road_width] = lens;
        let camera = GroundCamera { horizontal_fov, up, forward, pitch, ..camera() };
        let mask = Mask {
            channels, channel, interleaved,
            threshold: None,
            road_width: Some(road_width),
            ..mask(width, 60 / width / channels.max(1))
        };
        let decoder = PathDecoder {
            name: "path".into(),
            index: 0,
            path: PathForm::Mask { mask, camera },
            pursuit: PURSUIT,
            speed: PathSpeed::Fixed(1.0),
        };
        if let Ok(path) = decoder.bind(&[("path", 60)])
            && let Ok(command) = path.command(&numbers)
        {
            prop_assert!(command.curvature.is_finite());
        }
    }
}

#[test]
fn every_order_is_the_same_path() {
    let expected = waypoints(3).command(&[0.4, 0.1, 0.8, 0.2, 1.2, 0.4]);
    let command = |points, elements: &[f32]| {
        let path = PathForm::Waypoints { points };
        bound(path, PathSpeed::Fixed(2.0), PURSUIT).command(elements)
    };
    let separate = points(3, PointOrder::Separate);
    assert_eq!(command(separate, &[0.4, 0.8, 1.2, 0.1, 0.2, 0.4]), expected);
    let fixed = points(3, PointOrder::First(vec![0.4, 0.8, 1.2]));
    assert_eq!(command(fixed, &[0.1, 0.2, 0.4]), expected);
    let lateral = points(3, PointOrder::Second(vec![0.1, 0.2, 0.4]));
    assert_eq!(command(lateral, &[0.4, 0.8, 1.2]), expected);
    let scaled = Points {
        scale: [0.5, -1.0],
        offset: [-0.25, 0.5],
        far_first: true,
        ..points(3, PointOrder::Pairs)
    };
    let elements = [2.9, 0.1, 2.1, 0.3, 1.3, 0.4];
    let near = command(scaled, &elements).unwrap().curvature - expected.unwrap().curvature;
    assert!(near.abs() < 1e-6, "{near}");
}

#[test]
fn the_look_ahead_grows_with_the_speed() {
    let form = || PathForm::Waypoints {
        points: points(4, PointOrder::First(vec![0.5, 1.0, 2.0, 3.0])),
    };
    let pursuit = Pursuit {
        look_ahead_time: 0.5,
        ..PURSUIT
    };
    let speed = Output {
        name: "speed".into(),
        index: 0,
        meaning: Meaning::Speed,
        scale: 2.0,
        offset: 1.0,
        bins: None,
    };
    let path = bound(form(), PathSpeed::Output(speed), pursuit);
    let at = |speed: f32| path.command(&[0.0, 0.0, 1.0, 2.0, speed]);
    // 1 m/s: 1.5 m ahead, between the second and the third point; 0.7416 of the way.
    let slow = at(0.0).unwrap();
    assert_eq!(slow.speed, 1.0);
    let (x, y): (f64, f64) = (1.366_025_4, 0.366_025_4);
    let r = x * x + y * y;
    assert!((r - 2.0).abs() < 1e-6);
    let expected = |l: f64| {
        // On the line from (1, 0) to (2, 1): x = 1 + t, y = t, and x^2 + y^2 = l^2.
        let t = (-1.0 + (2.0 * l * l - 1.0).sqrt()) / 2.0;
        2.0 * t / (l * l)
    };
    assert!((slow.curvature - expected(1.5)).abs() < 1e-9, "{slow:?}");
    let fast = at(0.5).unwrap();
    assert!((fast.curvature - expected(2.0)).abs() < 1e-9, "{fast:?}");
    assert_eq!(at(f32::NAN), Err(NoPath::NotFinite));
    // Backwards, the distance is that of a standstill.
    let back = at(-1.0).unwrap();
    assert_eq!((back.speed, back.curvature), (-1.0, 0.0));
}

#[test]
fn the_speed_follows_from_the_time_between_points() {
    let points = points(3, PointOrder::Pairs);
    let path = bound(
        PathForm::Waypoints { points },
        PathSpeed::Period(0.2),
        PURSUIT,
    );
    let found = path.command(&[0.5, 0.0, 0.9, 0.3, 1.3, 0.6]).unwrap();
    assert!((found.speed - 2.5).abs() < 1e-6, "{found:?}");
}

#[test]
fn what_is_no_path_is_an_error() {
    let path = waypoints(3);
    let command = |elements: &[f32]| path.command(elements);
    let good = [0.4, 0.0, 0.8, 0.0, 1.2, 0.1];
    assert!(command(&good).is_ok());
    for place in 0..6 {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut elements = good;
            elements[place] = wrong;
            assert_eq!(command(&elements), Err(NoPath::NotFinite), "{place}");
        }
    }
    assert_eq!(command(&good[..5]), Err(NoPath::NotFinite));
    assert_eq!(command(&[]), Err(NoPath::NotFinite));
    // Behind the car, and a path that turns back to behind it.
    assert_eq!(command(&good.map(|x| -x)), Err(NoPath::Behind));
    assert_eq!(
        command(&[0.1, 0.0, -0.9, 0.1, -1.5, 0.2]),
        Err(NoPath::Behind)
    );
    // The first points may lie behind it.
    assert!(command(&[-0.4, 0.0, 0.3, 0.0, 1.2, 0.1]).is_ok());
    assert_eq!(
        command(&[-0.4, 0.0, -0.3, 0.0, 1.2, 0.1]),
        Err(NoPath::TooFew { found: 1, least: 2 })
    );
    // It must reach half of the look-ahead.
    assert!(command(&[0.1, 0.0, 0.2, 0.0, 0.51, 0.0]).is_ok());
    let short = command(&[0.1, 0.0, 0.2, 0.0, 0.25, 0.0]);
    let (reach, look_ahead) = (0.25, 1.0);
    assert_eq!(short, Err(NoPath::Short { reach, look_ahead }));
}

#[test]
fn a_single_point_drives_if_one_is_enough() {
    let pursuit = Pursuit {
        least_points: 1,
        ..PURSUIT
    };
    let form = PathForm::Waypoints {
        points: points(1, PointOrder::Pairs),
    };
    let path = bound(form, PathSpeed::Fixed(1.0), pursuit);
    // Beyond the look-ahead, the arc goes through the point itself.
    let found = path.command(&[2.0, 1.0]).unwrap();
    assert!((found.curvature - 2.0 / 5.0).abs() < 1e-12);
}

#[test]
fn the_ground_below_a_tilted_camera() {
    let ground = camera().ground();
    // The middle of the picture is on the optical axis: 0.2 m down at 0.4 rad.
    let [x, y] = ground.point(0.5, 0.5).unwrap();
    assert!((x - 0.1 - 0.2 / libm::tan(0.4)).abs() < 1e-6, "{x}");
    assert!(y.abs() < 1e-9);
    // The horizon is at half the height minus tan(0.4) focal lengths.
    let focal = 320.0 / libm::tan(0.785);
    let horizon = (240.0 - focal * libm::tan(0.4)) / 480.0;
    assert_eq!(ground.point(0.5, horizon - 1e-6), None);
    assert!(ground.point(0.5, horizon + 1e-3).is_some());
    // The crop moves and scales: the same pixel, the same point.
    let crop = [160.0, 240.0, 320.0, 120.0];
    let cropped = GroundCamera { crop, ..camera() }.ground();
    let (a, b) = (
        cropped.point(0.25, 0.5),
        ground.point(240.0 / 640.0, 300.0 / 480.0),
    );
    for (a, b) in a.unwrap().into_iter().zip(b.unwrap()) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
}

#[test]
fn the_middle_of_a_mask() {
    let ground = steep().ground();
    let at = |column: f64, row: f64| ground.point(column / 8.0, (row + 0.5) / 4.0).unwrap();
    // The road of the row before counts, not a longer one elsewhere; an empty row is skipped.
    let rows = [
        "#...##..", //
        "........", "###.##..", "...##...",
    ];
    let found = middles(&mask(8, 4), &rows);
    assert_eq!(found, [at(4.0, 3.0), at(5.0, 2.0), at(5.0, 0.0)]);
    // Too narrow.
    let wide = Mask {
        least_pixels: 3,
        ..mask(8, 4)
    };
    assert!(middles(&wide, &rows[..2]).is_empty());
    assert_eq!(middles(&wide, &["........", ".###.#.."].repeat(2)).len(), 2);

    // What the picture cuts off has no middle, unless the road's width is known.
    let cut = ["........", "........", "....####", "########"];
    assert!(middles(&mask(8, 4), &cut).is_empty());
    let road = Mask {
        road_width: Some(0.5),
        ..mask(8, 4)
    };
    let [x, y] = at(4.0, 2.0);
    assert_eq!(middles(&road, &cut), [[x, y - 0.25]]);
    let cut = ["........", "........", "####....", "########"];
    assert_eq!(middles(&road, &cut), [[x, y + 0.25]]);
}

#[test]
fn an_empty_mask_is_no_path() {
    let form = PathForm::Mask {
        mask: mask(8, 4),
        camera: camera(),
    };
    let path = bound(form, PathSpeed::Fixed(1.0), PURSUIT);
    assert_eq!(path.command(&[0.0; 33]), Err(NoPath::Empty));
    let mut elements = [0.0; 33];
    // Above the horizon only.
    elements[3] = 1.0;
    assert_eq!(path.command(&elements), Err(NoPath::Empty));
    elements[28] = 1.0;
    assert_eq!(
        path.command(&elements),
        Err(NoPath::TooFew { found: 1, least: 2 })
    );
    elements[5] = f32::NAN;
    assert_eq!(path.command(&elements), Err(NoPath::NotFinite));
}

#[test]
fn classes_by_the_largest() {
    let classes = |interleaved| Mask {
        channels: 3,
        channel: 1,
        threshold: None,
        interleaved,
        ..mask(2, 1)
    };
    // Two pixels of three classes; the second of the first pixel wins, a tie goes to the first class.
    let planes = [0.1, 0.5, 0.7, 0.5, 0.2, 0.5];
    let pixels = [0.1, 0.7, 0.2, 0.5, 0.5, 0.5];
    for (mask, elements) in [(classes(false), planes), (classes(true), pixels)] {
        assert!(
            mask.has(&elements, 0) && !mask.has(&elements, 1),
            "{mask:?}"
        );
        let other = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        assert_eq!(mask.distance(&elements, &other), 0.5, "{mask:?}");
    }
}

#[test]
fn outputs_that_are_missing_are_named() {
    let decoder = waypoints(3).decoder().clone();
    assert_eq!(decoder.bind(&[("path", 5)]), Err("path".to_owned()));
    let shifted = PathDecoder {
        index: 1,
        ..decoder.clone()
    };
    assert_eq!(shifted.bind(&[("path", 6)]), Err("path".to_owned()));
    assert!(shifted.bind(&[("other", 1), ("path", 7)]).is_ok());
    let huge = PathDecoder {
        index: usize::MAX,
        ..decoder.clone()
    };
    assert!(huge.bind(&[("path", 6)]).is_err());
    let count = usize::MAX;
    let path = PathForm::Waypoints {
        points: points(count, PointOrder::Pairs),
    };
    let huge = PathDecoder { path, ..decoder };
    assert!(huge.bind(&[("path", 6)]).is_err());
}
