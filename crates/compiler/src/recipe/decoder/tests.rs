use proptest::prelude::*;

use super::*;
use crate::recipe::Recipe;

const HEAD: &str = "model = \"net.onnx\"\ndomain = \"simulated\"\n\
                    [input]\nwidth = 80\nheight = 40\n\
                    crop = { x = 0, y = 240, width = 640, height = 240 }\n";
const CAMERA: &str = "camera = { width = 640, height = 480, horizontal_fov = 1.57, up = 0.1, \
                      forward = 0.45 }\n";
const WAYPOINTS: &str =
    "[decoder]\nkind = \"waypoints\"\npoints = 8\nlook_ahead = 0.8\nspeed = 1.5\n";

fn mask() -> String {
    format!("[decoder]\nkind = \"mask\"\nthreshold = 0.5\nlook_ahead = 0.8\nspeed = 1.5\n{CAMERA}")
}

fn lane() -> String {
    let rows = "rows = [0.9, 0.5, 0.2]";
    format!("[decoder]\nkind = \"lane\"\n{rows}\nlook_ahead = 0.8\nspeed = 1.5\n{CAMERA}")
}

fn parse(decoder: &str) -> Result<Recipe, String> {
    let text = format!("{HEAD}{decoder}");
    Recipe::parse("net.toml", &text).map_err(|error| error.to_string())
}

/// The path that a recipe describes, for a model whose mask is 40 x 80.
fn decoder(text: &str) -> PathDecoder {
    let recipe = parse(text).unwrap();
    let decoder = recipe.decoder.as_ref().unwrap();
    decoder.decoder("path", [40, 80, 1], &[], &recipe.input)
}

#[test]
fn each_kind_is_read() {
    let found = decoder(WAYPOINTS);
    assert_eq!(found.elements(), Some(16));
    assert_eq!(found.speed, PathSpeed::Fixed(1.5));
    assert_eq!(found.pursuit.least_points, 2);

    let text = WAYPOINTS.replace("points = 8", "x = [0.5, 1.0]\nscale_y = -1.0");
    let found = decoder(&text.replace("speed = 1.5", "period = 0.1"));
    assert_eq!(found.elements(), Some(2));
    assert_eq!(found.speed, PathSpeed::Period(0.1));

    let found = decoder(&mask());
    assert_eq!(found.elements(), Some(3200));
    assert_eq!(found.pursuit.least_points, 3);
    let PathForm::Mask { camera, .. } = found.path else {
        panic!("{found:?}");
    };
    assert_eq!(camera.crop, [0.0, 240.0, 640.0, 240.0]);

    let rows = |text: &str| match decoder(text).path {
        PathForm::Lane { points, .. } => points.far_first,
        other => panic!("{other:?}"),
    };
    assert!(!rows(&lane()), "from the lower edge up");
    assert!(rows(&lane().replace("[0.9, 0.5, 0.2]", "[0.2, 0.5, 0.9]")));
    let points = lane().replace("rows = [0.9, 0.5, 0.2]", "points = 3\nfirst = \"far\"");
    assert!(rows(&points));

    // The model's own speed.
    let own = WAYPOINTS.replace("speed = 1.5\n", "");
    let own = format!("{own}[[output]]\nname = \"v\"\nmeaning = \"speed\"\n");
    assert!(parse(&own).is_ok());
    // JetRacer's: one point in the picture, from -1 to 1.
    let one = "points = 1\nscale_x = 0.5\noffset_x = 0.5\nscale_y = 0.5\noffset_y = 0.5";
    let one = decoder(&lane().replace("rows = [0.9, 0.5, 0.2]", one));
    assert_eq!((one.elements(), one.pursuit.least_points), (Some(2), 1));
}

#[test]
fn wrong_recipes_name_the_key_and_the_remedy() {
    let (mask, lane) = (mask(), lane());
    let cases: &[(&str, &str, &str, &str)] = &[
        (
            WAYPOINTS,
            "\"waypoints\"",
            "\"waypoint\"",
            "did you mean `waypoints`?",
        ),
        (
            WAYPOINTS,
            "look_ahead",
            "lookahead",
            "did you mean `look_ahead`?",
        ),
        (
            WAYPOINTS,
            "look_ahead = 0.8\n",
            "",
            "missing field `look_ahead`",
        ),
        (
            WAYPOINTS,
            "points = 8\n",
            "",
            "`decoder.points`: must be 1 to 1000",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 0",
            "`decoder.points`: must be 1 to 1000",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 8\nx = [1.0, 2.0]",
            "follows from `x`",
        ),
        (WAYPOINTS, "points = 8", "x = [1.0, 1.0]", "must rise"),
        (WAYPOINTS, "points = 8", "x = [1.0, nan]", "must be finite"),
        (
            WAYPOINTS,
            "points = 8",
            "x = []",
            "`decoder.x`: must be 1 to 1000",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "x = [1.0]\norder = \"pairs\"",
            "one coordinate",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "x = [1.0]\nscale_x = 2.0",
            "has no effect on `x`",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 8\nscale_y = 0.0",
            "other than 0",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 8\noffset_x = inf",
            "must be finite",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 8\nleast_points = 9",
            "must be 1 to 8",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 8\nthreshold = 0.5",
            "only",
        ),
        (
            WAYPOINTS,
            "points = 8",
            "points = 8\nfirst = \"far\"",
            "kinds \"lane\" only",
        ),
        (
            WAYPOINTS,
            "speed = 1.5\n",
            "",
            "state the speed to drive with",
        ),
        (
            WAYPOINTS,
            "speed = 1.5",
            "speed = 1.5\nperiod = 0.1",
            "leave one out",
        ),
        (WAYPOINTS, "speed = 1.5", "speed = 0.0", "must be above 0"),
        (WAYPOINTS, "speed = 1.5", "speed = nan", "must be above 0"),
        (
            WAYPOINTS,
            "speed = 1.5",
            "period = 0.0",
            "must be 0.001 to 10 seconds",
        ),
        (
            WAYPOINTS,
            "points = 8\nlook_ahead = 0.8\nspeed = 1.5",
            "points = 1\nlook_ahead = 0.8\nperiod = 0.1",
            "two points",
        ),
        (WAYPOINTS, "0.8", "0.0", "must be 0.01 to 100 m"),
        (WAYPOINTS, "0.8", "nan", "must be 0.01 to 100 m"),
        (
            WAYPOINTS,
            "0.8",
            "0.8\nlook_ahead_time = -1.0",
            "must be 0 to 10 seconds",
        ),
        (
            WAYPOINTS,
            "0.8",
            "0.8\ngate = { curvature = { worst = -1.0 } }",
            "0 or more",
        ),
        (
            WAYPOINTS,
            "speed = 1.5\n",
            "speed = 1.5\n[[output]]\nmeaning = \"speed\"\n",
            "leave one out",
        ),
        (
            WAYPOINTS,
            "speed = 1.5\n",
            "speed = 1.5\n[[output]]\nmeaning = \"steering\"\n",
            "the path steers",
        ),
        (
            &lane,
            "[0.9, 0.5, 0.2]",
            "[0.9, 0.2, 0.5]",
            "must rise or fall",
        ),
        (&lane, "[0.9, 0.5, 0.2]", "[0.9, -0.2]", "fractions"),
        (
            &lane,
            "rows",
            "first = \"near\"\nrows",
            "follows from `rows`",
        ),
        (&lane, CAMERA, "", "`decoder.camera`: is missing"),
        (&mask, CAMERA, "", "`decoder.camera`: is missing"),
        (&mask, "threshold", "index = 3\nthreshold", "a whole output"),
        (&mask, "0.5", "inf", "must be finite"),
        (
            &mask,
            "threshold",
            "least_pixels = 0\nthreshold",
            "at least 1",
        ),
        (
            &mask,
            "threshold",
            "road_width = 0.0\nthreshold",
            "0.01 to 100 m",
        ),
        (
            &mask,
            "threshold",
            "points = 3\nthreshold",
            "\"waypoints\" and \"lane\" only",
        ),
        (&mask, "up = 0.1", "up = 0.0", "must be 0.02 to 5"),
        (
            &mask,
            "up = 0.1",
            "up = 0.1, yaw = 0.1",
            "unknown key `yaw`",
        ),
        (
            &mask,
            "width = 640, height",
            "width = 600, height",
            "the crop of [input]",
        ),
        (
            &mask,
            "up = 0.1",
            "up = 0.1, pitch = -1.2",
            "above the horizon",
        ),
    ];
    for (text, from, to, expected) in cases {
        assert!(text.contains(from), "{from}");
        let error = parse(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
        assert!(error.starts_with("net.toml:"), "{error}");
    }
    let throttle = format!("throttle = {{ constant = 0.2 }}\n{HEAD}{WAYPOINTS}");
    let error = Recipe::parse("net.toml", &throttle)
        .unwrap_err()
        .to_string();
    assert!(error.contains("commands a speed"), "{error}");
    let integer =
        format!("precision = \"int8-integer\"\n{HEAD}{WAYPOINTS}[calibration]\nframes = \".\"\n");
    let error = Recipe::parse("net.toml", &integer).unwrap_err().to_string();
    assert!(error.contains("use precision \"int8\""), "{error}");
}

/// Values that a key may be given.
const VALUES: [&str; 14] = [
    "0",
    "1",
    "-1",
    "1e30",
    "nan",
    "inf",
    "0.5",
    "\"far\"",
    "\"pairs\"",
    "true",
    "[]",
    "[0.1, 0.2]",
    "{}",
    "9223372036854775807",
];

/// Keys of the decoder and its camera.
const KEYS: [&str; 22] = [
    "kind",
    "name",
    "index",
    "points",
    "order",
    "x",
    "rows",
    "first",
    "scale_x",
    "offset_y",
    "layout",
    "channel",
    "threshold",
    "least_pixels",
    "road_width",
    "camera",
    "look_ahead",
    "look_ahead_time",
    "least_points",
    "speed",
    "period",
    "gate",
];

proptest! {
    /// Whatever the keys are given, the recipe is refused with a located error, or its decoder answers
    /// anything with a finite command or an error.
    #[test]
    fn any_keys(
        base in 0usize..3,
        changes in proptest::collection::vec((0usize..22, 0usize..14), 1..4),
        number in proptest::num::f32::ANY,
    ) {
        let base = [WAYPOINTS.to_owned(), lane(), mask()][base].clone();
        let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
        for (key, value) in changes {
            let line = format!("{} = {}", KEYS[key], VALUES[value]);
            lines.retain(|it| !it.starts_with(&format!("{} ", KEYS[key])));
            lines.push(line);
        }
        match parse(&lines.join("\n")) {
            Err(error) => prop_assert!(error.starts_with("net.toml"), "{error}"),
            Ok(recipe) => {
                let decoder = recipe.decoder.as_ref().unwrap();
                let decoder = decoder.decoder("path", [3, 5, 1], &[], &recipe.input);
                let elements = decoder.elements().unwrap_or(0);
                prop_assume!(elements < 10_000);
                if let Ok(path) = decoder.bind(&[("path", elements)]) {
                    for number in [number, 0.0, 1.0] {
                        if let Ok(command) = path.command(&vec![number; elements]) {
                            prop_assert!(command.curvature.is_finite() && command.speed.is_finite());
                        }
                    }
                }
            }
        }
    }
}
