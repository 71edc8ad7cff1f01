use super::*;

const GOOD: &str = r#"
model = "net.onnx"
precision = "fp32"
domain = "simulated"

[input]
crop = { x = 0, y = 240, width = 640, height = 240 }
width = 200
height = 66

[[output]]
meaning = "speed"
index = 0
scale = 17.5
offset = 6.5

[[output]]
meaning = "yaw_rate"
index = 1
"#;

/// What is said of the good recipe with one thing changed.
fn message(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    let text = GOOD.replacen(from, to, 1);
    Recipe::parse("net.toml", &text).unwrap_err().to_string()
}

#[test]
fn a_recipe_is_read_and_defaults_are_filled_in() {
    let recipe = Recipe::parse("net.toml", GOOD).unwrap();
    assert_eq!(recipe.model, Path::new("net.onnx"));
    assert_eq!(recipe.domain, Domain::Simulated);
    assert_eq!(recipe.input.shape(), [1, 3, 66, 200]);
    assert_eq!(recipe.output[0].scale, 17.5);
    assert_eq!(recipe.output[1].scale, 1.0);
    assert_eq!(recipe.output[1].offset, 0.0);
}

#[test]
fn errors_name_line_key_and_near_miss() {
    assert_eq!(
        message("precision", "precison"),
        "net.toml:3: unknown key `precison`: did you mean `precision`?"
    );
    assert_eq!(
        message("\"simulated\"", "\"simulator\""),
        "net.toml:4: unknown value `simulator`: did you mean `simulated`?"
    );
    assert_eq!(
        message("\"yaw_rate\"", "\"yawrate\""),
        "net.toml:18: unknown value `yawrate`: did you mean `yaw_rate`?"
    );
    let missing = message("domain = \"simulated\"", "");
    assert!(missing.contains("missing field `domain`"), "{missing}");
    let unknown = message("height = 66", "height = 66\nscael = 1.0");
    assert!(
        unknown.contains("net.toml:10") && unknown.contains("`scale`"),
        "{unknown}"
    );
}

#[test]
fn what_this_version_does_not_have_says_so() {
    for precision in ["fp16", "int8", "int8-dynamic", "int8-integer"] {
        let found = message("fp32", precision);
        assert!(found.starts_with("net.toml:3: `precision`"), "{found}");
        assert!(found.contains("later"), "{found}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let line = |from, to| {
        let found = message(from, to);
        let line = found
            .split(':')
            .nth(1)
            .and_then(|n| n.parse::<usize>().ok());
        line.unwrap_or_else(|| panic!("no line in {found}"))
    };
    assert_eq!(line("scale = 17.5", "scale = 0.0"), 14);
    assert_eq!(line("scale = 17.5", "scale = inf"), 14);
    assert_eq!(line("offset = 6.5", "offset = nan"), 15);
    assert_eq!(line("\"yaw_rate\"", "\"speed\""), 18);
    assert_eq!(line("\"yaw_rate\"", "\"throttle\""), 11);
    assert_eq!(line("index = 0", "index = -1"), 13);
    assert_eq!(line("width = 200", "width = 0"), 6);
    assert_eq!(line("width = 200", "width = 200\nscale = 0.0"), 6);
}

#[test]
fn a_recipe_that_is_not_there_is_named() {
    let error = Recipe::read(Path::new("no/such.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no/such.toml: cannot be read")
    );
}
