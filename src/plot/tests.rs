use std::path::PathBuf;

use image::RgbImage;

use super::*;
use palette::Colour;

const RADIUS: f64 = 40.0;

fn ring() -> Circuit {
    let points: Vec<_> = (0..24)
        .map(|i| f64::from(i) / 24.0 * std::f64::consts::TAU)
        .map(|angle| [RADIUS * angle.cos(), RADIUS * angle.sin()])
        .collect();
    Circuit::from_points("ring", &points).unwrap()
}

/// A lap of the ring on its centre line, slow in the upper half and fast in the lower.
fn lap(share: f64) -> Vec<PathPoint> {
    let count = (200.0 * share) as usize;
    (0..=count)
        .map(|i| {
            let angle = i as f64 / 200.0 * std::f64::consts::TAU;
            PathPoint {
                time: i as f64 * 0.05,
                x: RADIUS * angle.cos(),
                y: RADIUS * angle.sin(),
                heading: angle + std::f64::consts::FRAC_PI_2,
                speed: if angle < std::f64::consts::PI {
                    5.0
                } else {
                    15.0
                },
                offset: 0.0,
                steering: 0.0,
                throttle: 0.0,
            }
        })
        .collect()
}

fn caption(completed: bool) -> Caption {
    Caption {
        title: "ring".to_owned(),
        figures: vec![("Lap time".to_owned(), "12.34 s".to_owned())],
        completed,
    }
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pilotage-{}-{name}.png", std::process::id()))
}

fn picture(name: &str, path: &[PathPoint], caption: &Caption) -> RgbImage {
    let file = file(name);
    lap_picture(&file, &ring(), path, caption).unwrap();
    let picture = image::open(&file).unwrap().to_rgb8();
    std::fs::remove_file(file).unwrap();
    picture
}

/// The colour at a position on the circuit, metres.
fn colour_at(picture: &RgbImage, at: [f64; 2]) -> Colour {
    let view = View::of(&centre_line(&ring()), &[], ring().road_width());
    let [x, y] = view.place(at);
    picture.get_pixel(x as u32, y as u32).0
}

fn difference(picture: &RgbImage, other: &RgbImage, rows: std::ops::Range<u32>) -> usize {
    let width = picture.width();
    rows.flat_map(|y| (0..width).map(move |x| (x, y)))
        .filter(|&(x, y)| picture.get_pixel(x, y) != other.get_pixel(x, y))
        .count()
}

#[test]
fn the_path_is_drawn_at_its_position_with_the_speeds_colour() {
    let picture = picture("speeds", &lap(1.0), &caption(true));
    assert_eq!(colour_at(&picture, [0.0, RADIUS]), speed_colour(0.0));
    assert_eq!(colour_at(&picture, [0.0, -RADIUS]), speed_colour(1.0));
    assert_eq!(colour_at(&picture, [0.0, RADIUS + 1.2]), ASPHALT);
    assert_eq!(colour_at(&picture, [0.0, 0.0]), BACKGROUND);
}

#[test]
fn a_run_that_failed_is_marked_where_it_ended() {
    let half = lap(0.75);
    let failed = picture("failed", &half, &caption(false));
    let done = picture("half", &half, &caption(true));
    assert_eq!(colour_at(&failed, [0.0, -RADIUS]), TROUBLE);
    assert_ne!(colour_at(&done, [0.0, -RADIUS]), TROUBLE);
}

#[test]
fn the_caption_is_written() {
    let with = picture("words", &lap(1.0), &caption(true));
    let mut other = caption(true);
    other.title = "wring".to_owned();
    let without = picture("no-words", &lap(1.0), &other);
    assert!(difference(&with, &without, 0..HEADER as u32) > 50);
    assert_eq!(difference(&with, &without, HEADER as u32..with.height()), 0);
}

#[test]
fn arbitrary_paths_can_be_drawn() {
    let mut broken = lap(1.0);
    broken[3].x = f64::NAN;
    broken[4].speed = f64::INFINITY;
    broken[5].y = 1e300;
    let whole = picture("broken", &broken, &caption(true));
    assert_eq!(colour_at(&whole, [0.0, -RADIUS]), speed_colour(1.0));
    let empty = picture("empty", &[], &caption(false));
    assert_eq!(colour_at(&empty, [0.0, RADIUS]), ASPHALT);
    let still = picture("still", &lap(0.0), &caption(false));
    assert_eq!(colour_at(&still, [0.0, RADIUS]), ASPHALT);
}

#[test]
fn the_name_of_the_file_decides_the_format() {
    let file = file("path").with_extension("SVG");
    lap_picture(&file, &ring(), &lap(0.5), &caption(true)).unwrap();
    let drawn = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(drawn.starts_with("<svg"), "{drawn:.80}");
    // The path in its colours, and the caption.
    assert!(drawn.matches("<polyline").count() > 4);
    assert!(drawn.contains("12.34 s"));
    let error = lap_picture(Path::new("lap.pdf"), &ring(), &[], &caption(true)).unwrap_err();
    assert!(matches!(error, PlotError::Format(_)), "{error}");
}

#[test]
fn what_a_picture_leaves_out_is_counted() {
    let file = file("many").with_extension("svg");
    let drawn = || std::fs::read_to_string(&file).unwrap();
    let bar = Some(Bar {
        value: 1.0,
        spread: None,
    });
    let panel = BarPanel {
        title: "it".to_owned(),
        digits: 1,
        bars: vec![bar; 100],
    };
    let names: Vec<String> = (0..100).map(|row| format!("row {row}.")).collect();
    bars_picture(&file, "rows", &names, &[panel]).unwrap();
    let bars = drawn();
    assert!(bars.contains("row 59.") && !bars.contains("row 60."));
    assert!(bars.contains("left out of this picture: 40"));
    let driven: Vec<DrivenPath> = (0..32)
        .map(|map| DrivenPath {
            title: format!("map {map}."),
            note: String::new(),
            path: lap(0.1),
            completed: true,
        })
        .collect();
    paths_picture(&file, &caption(true), &Track::of(&ring()), &driven).unwrap();
    let maps = drawn();
    assert!(maps.contains("map 29.") && !maps.contains("map 30."));
    assert!(maps.contains("left out of this picture: 2"));
    let candidate = |error: f64| Candidate {
        name: format!("engine {error:?};"),
        seconds: 1e-3,
        error,
        bytes: 1e6,
    };
    let candidates = [candidate(0.5), candidate(0.0)];
    pareto_picture(&file, &caption(true), "error", &candidates).unwrap();
    let pareto = drawn();
    assert!(pareto.contains("engine 0.5;") && !pareto.contains("engine 0.0;"));
    assert!(pareto.contains("with a time, error or size of 0: 1"));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let file = file("no/such/folder");
    let error = lap_picture(&file, &ring(), &lap(1.0), &caption(true)).unwrap_err();
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[test]
fn round_numbers_are_round() {
    for (value, round) in [
        (1.0, 1.0),
        (1.9, 1.0),
        (4.99, 2.0),
        (70.0, 50.0),
        (0.3, 0.2),
    ] {
        assert!((round_number(value) - round).abs() < 1e-9, "{value}");
    }
}

#[test]
fn the_picture_of_a_physical_drive_shows_its_commands() {
    let spans: Vec<_> = (0..400)
        .map(|i| {
            let steering = if i == 200 { [-1.0, 1.0] } else { [0.0, 0.0] };
            crate::drive::Span {
                start: f64::from(i) * 0.05,
                steering,
                throttle: [0.5; 2],
                driving: i == 50 || i >= 100,
            }
        })
        .collect();
    let file = file("commands");
    command_picture(&file, &spans, &caption(true)).unwrap();
    let picture = image::open(&file).unwrap().to_rgb8();
    std::fs::remove_file(file).unwrap();
    let at = |x: u32, y: u32| picture.get_pixel(x, y).0;
    // A quarter of the time the car was not driven.
    assert_eq!(at(300, 250), BACKGROUND);
    assert_eq!(at(1200, 250), ASPHALT);
    // The single span in which it was driven before, at 321.9 to 325.4.
    assert!((322..=325).any(|x| at(x, 250) == ASPHALT));
    // The extremes at half of the time, above and below the middle.
    let curve = speed_colour(0.8);
    let column = (64 + 84 + 1536) / 2;
    for y in [250, 450] {
        assert!((column - 5..column + 5).any(|x| at(x, y) == curve), "{y}");
    }
    // Nothing was commanded: there is no curve, and no panic.
    let empty = self::file("empty");
    command_picture(&empty, &[], &caption(true)).unwrap();
    std::fs::remove_file(empty).unwrap();
}
