use proptest::prelude::*;

use super::*;

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    libm::hypot(a[0] - b[0], a[1] - b[1])
}

fn polyline(circuit: &Circuit, step: f64) -> Vec<[f64; 2]> {
    let count = (circuit.length() / step) as u32;
    let step = circuit.length() / f64::from(count);
    (0..count)
        .map(|i| circuit.point(f64::from(i) * step))
        .collect()
}

/// Whether two sides of the polyline cross, by orientation tests.
fn crosses_itself(points: &[[f64; 2]]) -> bool {
    let n = points.len();
    // The sides of a straight are collinear except for rounding, which is not a crossing: points
    // within a micrometre of the line count as on it (the sides are about a metre long).
    let orientation = |a: [f64; 2], b: [f64; 2], c: [f64; 2]| {
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        if area.abs() < 1e-6 {
            0.0
        } else {
            area.signum()
        }
    };
    (0..n).any(|i| {
        let (a, b) = (points[i], points[(i + 1) % n]);
        (i + 2..n).any(|j| {
            let (c, d) = (points[j], points[(j + 1) % n]);
            (j + 1) % n != i
                && orientation(a, b, c) * orientation(a, b, d) < 0.0
                && orientation(c, d, a) * orientation(c, d, b) < 0.0
        })
    })
}

/// The smallest distance between positions at least `along` metres apart on the line.
fn closest_approach(circuit: &Circuit, along: f64) -> f64 {
    let points = polyline(circuit, 0.5);
    let n = points.len();
    let skip = (along / 0.5) as usize;
    let mut least = f64::INFINITY;
    for i in 0..n {
        for j in i + skip..n {
            if n - (j - i) >= skip {
                least = least.min(distance(points[i], points[j]));
            }
        }
    }
    least
}

/// The smallest radius from three points a quarter of a metre apart, without the spline's
/// derivatives.
fn smallest_circumradius(circuit: &Circuit) -> f64 {
    let points = polyline(circuit, 0.25);
    let n = points.len();
    (0..n)
        .map(|i| {
            let (a, b, c) = (points[i], points[(i + 1) % n], points[(i + 2) % n]);
            let area = 0.5 * ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])).abs();
            distance(a, b) * distance(b, c) * distance(c, a) / (4.0 * area.max(1e-12))
        })
        .fold(f64::INFINITY, f64::min)
}

fn circle(radius: f64, count: u32) -> Vec<[f64; 2]> {
    (0..count)
        .map(|i| {
            let (sin, cos) = libm::sincos(std::f64::consts::TAU * f64::from(i) / f64::from(count));
            [radius * cos, radius * sin]
        })
        .collect()
}

#[test]
fn shipped_circuits_have_their_documented_properties() {
    assert!(Circuit::shipped_names().len() >= 6);
    for &name in Circuit::shipped_names() {
        let circuit = Circuit::shipped(name).unwrap();
        assert_eq!(circuit.name(), name);
        assert!((300.0..1500.0).contains(&circuit.length()), "{name}");
        assert!(circuit.smallest_radius() >= 2.0, "{name}");
        assert!(smallest_circumradius(&circuit) >= 1.95, "{name}");
        assert!(!crosses_itself(&polyline(&circuit, 1.0)), "{name}");
        let apart = closest_approach(&circuit, 12.0);
        assert!(apart >= circuit.road_width(), "{name}: {apart}");
    }
    let length = |name| Circuit::shipped(name).unwrap().length();
    assert!((420.0..440.0).contains(&length("simple")));
    assert!((1380.0..1440.0).contains(&length("grand")));
    assert!(Circuit::shipped("walled").unwrap().walls().is_some());
    assert!(Circuit::shipped("none such").is_none());
}

#[test]
fn a_circle_has_the_right_length_curvature_and_heading() {
    let circuit = Circuit::from_points("circle", &circle(20.0, 36)).unwrap();
    assert!((circuit.length() - std::f64::consts::TAU * 20.0).abs() < 0.01);
    for i in 0..100 {
        let s = circuit.length() * f64::from(i) / 100.0 + 0.013;
        let angle = s / 20.0;
        let [x, y] = circuit.point(s);
        assert!((libm::hypot(x, y) - 20.0).abs() < 2e-3);
        assert!((circuit.curvature(s) - 0.05).abs() < 1e-3);
        let heading = angle + std::f64::consts::FRAC_PI_2;
        assert!(crate::pose::wrap_angle(circuit.heading(s) - heading).abs() < 2e-3);
    }
    assert!((circuit.nearest([18.0, 0.0], None).offset - 2.0).abs() < 2e-3);
    assert!((circuit.nearest([21.0, 0.0], None).offset + 1.0).abs() < 2e-3);
}

#[test]
fn positions_wrap_round_the_circuit() {
    let circuit = Circuit::shipped("simple").unwrap();
    let length = circuit.length();
    for s in [0.0, 17.3, length - 0.01] {
        for turns in [-2.0, 1.0, 3.0] {
            assert!(distance(circuit.point(s), circuit.point(s + turns * length)) < 1e-6);
        }
    }
    assert_eq!(circuit.point(f64::NAN), circuit.point(0.0));
}

#[test]
fn a_mirror_turns_left_into_right_and_reversing_runs_backwards() {
    let circuit = Circuit::shipped("alpine").unwrap();
    let (mirrored, reversed) = (circuit.mirrored(), circuit.reversed());
    let length = circuit.length();
    for i in 0..50 {
        let s = length * f64::from(i) / 50.0;
        let [x, y] = circuit.point(s);
        assert!(distance(mirrored.point(s), [x, -y]) < 1e-9);
        assert!((mirrored.curvature(s) + circuit.curvature(s)).abs() < 1e-9);
        assert!(distance(reversed.point(length - s), [x, y]) < 1e-6);
        let turned = reversed.heading(length - s) - circuit.heading(s);
        assert!((crate::pose::wrap_angle(turned).abs() - std::f64::consts::PI).abs() < 1e-6);
    }
}

#[test]
fn a_hint_selects_the_stretch_of_road() {
    let circuit = Circuit::shipped("hairpins").unwrap();
    // Far to the left of the line, next to another stretch, the hint decides.
    let step = 2.0;
    for i in 0..(circuit.length() / step) as u32 {
        let s = f64::from(i) * step;
        if circuit.curvature(s).abs() < 0.02 {
            let pose = circuit.pose(s, 2.3, 0.0);
            let near = circuit.nearest([pose.x, pose.y], Some(s - 0.7));
            assert!((near.s - s).abs() < 0.5, "{s}: {near:?}");
            assert!((near.offset - 2.3).abs() < 0.05, "{s}: {near:?}");
        }
    }
}

#[test]
fn csv_may_have_a_header_comments_and_further_columns() {
    let circuit = Circuit::shipped("simple").unwrap();
    let mut text = String::from("\u{feff}x_m, y_m, speed\n# a comment\n\n");
    for [x, y] in polyline(&circuit, 0.1) {
        text.push_str(&format!("{x:.4}, {y:.4}, 7.5\r\n"));
    }
    let options = CsvOptions {
        road_width: Some(2.5),
        line_width: 0.2,
        ..CsvOptions::default()
    };
    let read = Circuit::from_csv(&text, &options).unwrap();
    assert_eq!((read.road_width(), read.line_width()), (2.5, 0.2));
    assert!((read.length() - circuit.length()).abs() < 0.5);
    for [x, y] in polyline(&circuit, 3.0) {
        assert!(read.nearest([x, y], None).offset.abs() < 0.01);
    }
}

/// The files of the TUM's race track database, and racing lines made from them.
#[test]
fn columns_are_found_by_their_titles() {
    let circuit = Circuit::shipped("simple").unwrap();
    let line = polyline(&circuit, 1.0);
    let text = |titles: &str, row: &dyn Fn(usize, [f64; 2]) -> String| {
        let rows = line.iter().enumerate().map(|(index, &at)| row(index, at));
        titles.to_owned() + &rows.collect::<String>()
    };
    let racing_line = text("# s_m; x_m; y_m; psi_rad\n", &|index, [x, y]| {
        format!("{index}; {x:.3}; {y:.3}; 0.5\n")
    });
    let header = text("psi_rad,\"y\",\"X\"\n", &|_, [x, y]| {
        format!("0.5,{y:.3},{x:.3}\n")
    });
    let track = text("# x_m,y_m,w_tr_right_m,w_tr_left_m\n", &|index, [x, y]| {
        format!("{x:.3},{y:.3},{},1.4\n", if index == 7 { 1.1 } else { 1.5 })
    });
    for (text, road_width) in [
        (racing_line, ROAD_WIDTH),
        (header, ROAD_WIDTH),
        (track.clone(), 2.2),
    ] {
        let read = Circuit::from_csv(&text, &CsvOptions::default()).unwrap();
        assert!((read.length() - circuit.length()).abs() < 0.5);
        assert!((read.road_width() - road_width).abs() < 1e-9);
    }
    // The option has precedence over the file.
    let options = CsvOptions {
        road_width: Some(3.0),
        ..CsvOptions::default()
    };
    assert_eq!(
        Circuit::from_csv(&track, &options).unwrap().road_width(),
        3.0
    );
    // A comment in words is no line of titles.
    let note = "# x, y: metres; further columns, s_m too\n";
    assert_eq!(csv_points(&format!("{note}1,2\n")).unwrap(), [[1.0, 2.0]]);
    let errors = [
        ("s,x,y\n0,1,2\n1,two,3\n", "columns 2 and 3"),
        ("x_m,y_m,w_tr_right_m,w_tr_left_m\n0,1,2\n", "w_tr_right_m"),
    ];
    for (text, expected) in errors {
        let error = Circuit::from_csv(text, &CsvOptions::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn consecutive_blanks_are_one_separator() {
    for separator in [" ", "   ", ", ", " ; ", "\t", " \t "] {
        let line = |x: &str, y: &str| format!("  {x}{separator}{y}{separator}7\n");
        let text = line("x", "y") + &line("1.5", "-2") + &line("3", "4");
        assert_eq!(
            csv_points(&text).unwrap(),
            [[1.5, -2.0], [3.0, 4.0]],
            "{separator:?}"
        );
    }
}

#[test]
fn csv_errors_state_the_line() {
    let message = |text: &str| {
        Circuit::from_csv(text, &CsvOptions::default())
            .unwrap_err()
            .to_string()
    };
    assert!(message("x,y\n0,0\n1,zero\n").starts_with("line 3: "));
    assert!(message("0,0\n\n# note\n5\n").starts_with("line 4: "));
    assert!(message("x,y\nx,y\n").starts_with("line 2: "));
    // An empty field is not a number, and the fields after it do not move up.
    for line in [",3,4", "3,,4", "\t3\t4", "3;;4", "3, ,4", ";", ",,"] {
        for text in [
            format!("x,y\n0,0\n{line}\n"),
            format!("# a\n\n{line}\n0,0\n"),
        ] {
            assert!(message(&text).starts_with("line 3: "), "{text:?}");
        }
    }
    assert!(message("0,0\n9,0\n9,9\n").contains("at least 4"));
    assert!(message("0,0\n9,0\nnan,9\n0,9\n").contains("point 3"));
    assert!(message("0,0\n1,0\n1,1\n0,1\n").contains("long"));
    assert!(message("").contains("at least 4"));
}

#[test]
fn toml_errors_state_key_and_line() {
    let square = "name = \"square\"\npoints = [[0,0],[20,0],[20,20],[0,20]]\n";
    let circuit = Circuit::from_toml(square).unwrap();
    assert_eq!((circuit.road_width(), circuit.line_width()), (3.0, 0.1));
    let message = |more: &str| {
        Circuit::from_toml(&format!("{square}{more}"))
            .unwrap_err()
            .to_string()
    };
    let unknown = message("rode_width = 3\n");
    assert!(
        unknown.contains("line 3: unknown key `rode_width`: did you mean `road_width`?"),
        "{unknown}"
    );
    assert!(message("road_width = 0.1\n").contains("`road_width` is 0.1 m"));
    assert!(message("line_width = nan\n").contains("`line_width`"));
    assert!(message("[colours]\nline = \"red\"\n").contains("#rrggbb"));
    assert!(message("[start]\noffset = 9\n").contains("off the line"));
    assert!(message("[walls]\nmargin = 1\n").contains("height"));
}

#[test]
fn a_start_off_the_line_is_where_the_file_says() {
    let text = "name = \"s\"\npoints = [[0,0],[40,0],[40,40],[0,40]]\n\
                [start]\ns = 12.5\noffset = -0.5\n[colours]\nline = \"#0010ff\"\n";
    let circuit = Circuit::from_toml(text).unwrap();
    assert_eq!(circuit.colours().line, Some([0, 0x10, 0xff]));
    let start = circuit.start();
    let near = circuit.nearest([start.x, start.y], None);
    assert!((near.s - 12.5).abs() < 1e-3 && (near.offset + 0.5).abs() < 1e-6);
}

#[test]
fn a_crossing_differs_from_a_long_straight() {
    let eight = [[0.0, 0.0], [4.0, 4.0], [4.0, 0.0], [0.0, 4.0]];
    assert!(crosses_itself(&eight));
    // The circuit's straight, sampled every metre, is collinear except for the last bit.
    let circuit = Circuit::random(6_425_015_471_107_851_634);
    assert!(!crosses_itself(&polyline(&circuit, 1.0)));
}

#[test]
fn a_line_that_crosses_itself_is_found() {
    let eight: Vec<[f64; 2]> = (0..60)
        .map(|i| {
            let t = std::f64::consts::TAU * (f64::from(i) + 0.3) / 60.0;
            [3.0 + 6.0 * t.sin(), 2.0 + 3.0 * (2.0 * t).sin()]
        })
        .collect();
    let circuit = Circuit::from_points("eight", &eight).unwrap();
    let Crossing { at, along } = circuit.crossing().unwrap();
    assert!(distance(at, [3.0, 2.0]) < 0.02, "{at:?}");
    for s in along {
        assert!(distance(circuit.point(s), at) < 0.05, "{along:?}");
    }
    assert!(along[1] - along[0] > 0.4 * circuit.length(), "{along:?}");
    let shipped = Circuit::shipped_names().iter();
    let shipped = shipped.map(|name| Circuit::shipped(name).unwrap());
    let straight = Circuit::random(6_425_015_471_107_851_634);
    for circuit in shipped.chain([straight]) {
        assert_eq!(circuit.crossing(), None, "{}", circuit.name());
    }
    // A line that was recorded twice, a little beside itself.
    let turns = |i: u32| std::f64::consts::TAU * f64::from(i) / 40.0;
    let twice: Vec<[f64; 2]> = (0..80)
        .map(|i| {
            let radius = 5.0 + 0.3 * (turns(i) / 2.0).sin();
            [radius * turns(i).cos(), radius * turns(i).sin()]
        })
        .collect();
    let circuit = Circuit::from_points("twice", &twice).unwrap();
    assert!(circuit.crossing().is_some());
}

#[test]
fn a_line_that_jumps_is_an_error_that_states_where() {
    let csv = |points: &[[f64; 2]]| {
        let lines = points.iter().map(|[x, y]| format!("{x},{y}\n"));
        Circuit::from_csv(&lines.collect::<String>(), &CsvOptions::default())
    };
    let whole = circle(20.0, 100);
    csv(&whole).unwrap();
    // Half a lap, and a lap with a point of another place.
    let half = csv(&whole[..50]).unwrap_err();
    assert!(
        matches!(half, CircuitError::Jump { to, metres, .. } if to == whole[0] && metres > 39.0),
        "{half}"
    );
    let mut strange = whole.clone();
    strange[30] = [500.0, 0.0];
    let error = csv(&strange).unwrap_err().to_string();
    assert!(error.contains(" to 500.00, 0.00"), "{error}");
    let toml = format!("name = \"half\"\npoints = {:?}\n", &whole[..50]);
    let error = Circuit::from_toml(&toml).unwrap_err().to_string();
    assert!(error.starts_with("the line jumps 40.0 m "), "{error}");
    // Corners of close points between straights without any.
    let corners: Vec<[f64; 2]> = (0..40)
        .map(|i| {
            let angle = std::f64::consts::TAU * f64::from(i) / 40.0;
            let side = |x: f64| if x > 0.0 { 30.0 } else { -30.0 };
            let (sin, cos) = (angle + 0.01).sin_cos();
            [side(cos) + 4.0 * cos, side(sin) + 4.0 * sin]
        })
        .collect();
    csv(&corners).unwrap();
}

#[test]
fn a_circuit_on_a_table_is_driven() {
    let circuit = Circuit::from_points("table", &circle(0.85, 24)).unwrap();
    assert!((5.0..5.5).contains(&circuit.length()));
    for i in 0..50 {
        let s = circuit.length() * f64::from(i) / 50.0;
        let pose = circuit.pose(s, 0.1, 0.0);
        for hint in [None, Some(s)] {
            let near = circuit.nearest([pose.x, pose.y], hint);
            assert!((near.offset - 0.1).abs() < 1e-3, "{s}: {near:?}");
        }
    }
}

#[test]
fn random_circuits_differ_by_seed_and_repeat() {
    let (a, b) = (Circuit::random(1), Circuit::random(1));
    assert_eq!(polyline(&a, 5.0), polyline(&b, 5.0));
    assert_ne!(polyline(&a, 5.0), polyline(&Circuit::random(2), 5.0));
}

#[test]
fn random_circuits_turn_both_ways_and_have_tight_and_open_ones() {
    let circuits: Vec<Circuit> = (0..24).map(Circuit::random).collect();
    let radii: Vec<f64> = circuits.iter().map(Circuit::smallest_radius).collect();
    assert!(radii.iter().any(|&r| r < 2.6));
    assert!(radii.iter().any(|&r| r > 4.0));
    for circuit in &circuits {
        let bends = |sign: f64| {
            (0..(circuit.length() / 0.5) as u32)
                .any(|i| sign * circuit.curvature(0.5 * f64::from(i)) > 0.05)
        };
        assert!(bends(1.0) && bends(-1.0), "{}", circuit.name());
    }
}

#[test]
fn impossible_bounds_give_a_circuit() {
    for options in [
        RandomOptions {
            smallest_radius: 60.0,
            ..RandomOptions::default()
        },
        RandomOptions {
            length: (f64::NAN, f64::NAN),
            smallest_radius: f64::NAN,
            road_width: (9.0, 2.0),
            line_width: (-1.0, -2.0),
        },
    ] {
        let circuit = Circuit::random_with(3, &options);
        assert!(circuit.length().is_finite() && circuit.length() > 10.0);
        assert!(circuit.road_width() >= 0.5 && circuit.line_width() > 0.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn random_circuits_keep_their_bounds(seed in any::<u64>()) {
        let options = RandomOptions::default();
        let circuit = Circuit::random(seed);
        prop_assert!(circuit.length() >= options.length.0);
        prop_assert!(circuit.length() <= options.length.1);
        prop_assert!((2.4..=4.4).contains(&circuit.road_width()));
        prop_assert!(circuit.smallest_radius() >= options.smallest_radius);
        prop_assert!(smallest_circumradius(&circuit) >= options.smallest_radius - 0.05);
        prop_assert!(!crosses_itself(&polyline(&circuit, 1.0)));
        let along = 2.6 * circuit.road_width() + 0.5;
        prop_assert!(closest_approach(&circuit, along) >= circuit.road_width());
    }

    #[test]
    fn nearest_agrees_with_an_exhaustive_search(
        seed in 0..500_u64,
        share in 0.0..1.0,
        aside in -6.0..6.0,
    ) {
        let circuit = Circuit::random(seed);
        let pose = circuit.pose(share * circuit.length(), aside, 0.0);
        let point = [pose.x, pose.y];
        let least = polyline(&circuit, 0.02)
            .into_iter()
            .map(|p| distance(p, point))
            .fold(f64::INFINITY, f64::min);
        let near = circuit.nearest(point, None);
        prop_assert!(near.offset.abs() <= least + 1e-6);
        prop_assert!(near.offset.abs() >= least - 0.02);
        prop_assert!((distance(circuit.point(near.s), point) - near.offset.abs()).abs() < 1e-6);
        let back = circuit.pose(near.s, near.offset, 0.0);
        prop_assert!(distance([back.x, back.y], point) < 0.02);
        let hinted = circuit.nearest(point, Some(near.s + 0.4));
        prop_assert!((hinted.offset - near.offset).abs() < 1e-3);
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_circuit_or_an_error(text in "\\PC{0,200}") {
        let _ = Circuit::from_toml(&text);
        if let Err(CircuitError::Csv { line, .. }) =
            Circuit::from_csv(&text, &CsvOptions::default())
        {
            prop_assert!(line >= 1);
        }
    }

    #[test]
    fn any_points_give_a_circuit_or_an_error(
        points in prop::collection::vec(prop::array::uniform2(-30.0..30.0_f64), 0..12),
    ) {
        if let Ok(circuit) = Circuit::from_points("any", &points) {
            prop_assert!(circuit.length() >= 5.0);
            let [x, y] = circuit.point(7.0);
            prop_assert!(x.is_finite() && y.is_finite());
            prop_assert!(circuit.nearest([x, y], None).offset.abs() < 0.1);
        }
    }
}
