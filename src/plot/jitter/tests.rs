use super::*;

fn drawn(name: &str, points: &[[f64; 2]], percentiles: &[(&str, f64)]) -> image::RgbImage {
    let file = std::env::temp_dir().join(format!("pilotage-{}-{name}.png", std::process::id()));
    let jitter = Jitter {
        title: "a network",
        points,
        percentiles,
    };
    jitter_picture(&file, &jitter).unwrap();
    let picture = image::open(&file).unwrap().to_rgb8();
    std::fs::remove_file(file).unwrap();
    assert_eq!(
        (f64::from(picture.width()), f64::from(picture.height())),
        (WIDTH, HEIGHT)
    );
    picture
}

#[test]
fn an_inference_is_drawn_at_its_start_and_duration() {
    let mut points: Vec<_> = (0..=100).map(|i| [f64::from(i) * 0.01, 100.0]).collect();
    points[50][1] = 900.0;
    let picture = drawn("jitter", &points, &[("median", 100.0)]);
    let scale = Scale {
        low: 100.0 / 1.1,
        high: 900.0 * 1.1,
        logarithmic: true,
    };
    let middle = (0.5 * (RUN.0 + RUN.1)) as u32;
    let at = |x: u32, us: f64| picture.get_pixel(x, scale.row(us) as u32).0;
    assert_eq!(at(middle, 900.0), speed_colour(DARKEST));
    assert_eq!(at(middle, 250.0), ASPHALT);
    assert_eq!(at((RUN.0 + 3.0) as u32, 900.0), ASPHALT);
    // Of 101, one took longer than 100: most of the curve is low, its end high.
    assert_ne!(at((TAIL.1 - 1.0) as u32, 900.0), ASPHALT);
    assert_eq!(at((TAIL.0 + 40.0) as u32, 900.0), ASPHALT);
}

#[test]
fn arbitrary_measurements_can_be_drawn() {
    for (name, points) in [
        ("none", &[][..]),
        ("one", &[[0.0, 5.0]]),
        ("nothing", &[[0.0, 0.0], [0.0, 0.0]]),
        ("hours", &[[0.0, 1e-3], [9e4, 3.6e9]]),
    ] {
        drawn(name, points, &[("median", 5.0), ("longest", 1e12)]);
    }
}

#[test]
fn names_do_not_overlap() {
    for rows in [
        [700.0, 699.0, 698.0, 500.0, 300.0],
        [ROWS.0 + 3.0, ROWS.0 + 2.0, ROWS.0 + 1.0, ROWS.0, ROWS.0],
        [ROWS.1; 5],
    ] {
        let apart = apart(&rows);
        assert!(
            apart
                .windows(2)
                .all(|pair| pair[0] - pair[1] >= LINE - 1e-9)
        );
        assert!(apart.iter().all(|row| (ROWS.0..=ROWS.1).contains(row)));
    }
}

#[test]
fn every_scale_has_round_ticks() {
    for times in [[100.0, 103.0], [0.4, 0.5], [99.0, 320.0], [130.0, 40_000.0]] {
        let scale = Scale::of(&times);
        let ticks = scale.ticks();
        assert!((2..=12).contains(&ticks.len()), "{times:?}: {ticks:?}");
    }
}
