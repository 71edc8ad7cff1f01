use pilotage_engine::Decode;

use super::*;

const VALID: &str = r#"
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

/// The error message for the valid recipe with one change.
fn message(from: &str, to: &str) -> String {
    assert!(VALID.contains(from));
    let text = VALID.replacen(from, to, 1);
    Recipe::parse("net.toml", &text).unwrap_err().to_string()
}

#[test]
fn a_recipe_is_read_and_defaults_are_filled_in() {
    let recipe = Recipe::parse("net.toml", VALID).unwrap();
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
fn precisions_below_fp32_need_frames() {
    for precision in ["fp16", "int8", "int8-dynamic", "int8-integer"] {
        let found = message("fp32", precision);
        let start = format!("net.toml:3: `precision`: \"{precision}\" needs a [calibration]");
        assert!(found.starts_with(&start), "{found}");
        let text = VALID.replace("fp32", precision) + "\n[calibration]\nframes = \"frames\"\n";
        let recipe = Recipe::parse("net.toml", &text).unwrap();
        assert_eq!(recipe.precision.name(), precision);
        let calibration = recipe.calibration.unwrap();
        assert_eq!(calibration.method, None);
        assert!(calibration.equalize && calibration.correct_biases);
    }
}

#[test]
fn an_int8_recipe_with_every_key_is_read() {
    let text = r#"
model = "net.onnx"
precision = "int8"
domain = "physical"
on_gate_failure = "mixed"

[input]
width = 160
height = 120
layout = "nhwc"

[fixed_inputs]
speed = 0.5
imu = [0.0, 9.81]

[[output]]
name = "angle"
meaning = "steering"
gate = { mse = 0.001, worst = 0.1 }

[[output]]
name = "gas"
meaning = "throttle"

[calibration]
frames = "frames"
method = "percentile"
percentile = 99.9
equalize = false
correct_biases = false

[layers]
"model/conv2d_0/BiasAdd" = "fp16"

[tensorrt]
workspace_mib = 256
timing_cache = false
dla_core = 0
sparse_weights = true
"#;
    let recipe = Recipe::parse("net.toml", text).unwrap();
    assert_eq!(recipe.on_gate_failure, OnGateFailure::Mixed);
    assert_eq!(recipe.fixed_inputs["speed"], FixedInput::All(0.5));
    assert_eq!(
        recipe.fixed_inputs["imu"],
        FixedInput::Each(vec![0.0, 9.81])
    );
    assert_eq!(recipe.output[0].gate.mse, Some(0.001));
    assert_eq!(recipe.output[1].gate, GateLimits::default());
    assert_eq!(
        recipe.layers["model/conv2d_0/BiasAdd"],
        LayerPrecision::Fp16
    );
    assert_eq!(recipe.tensorrt.dla_core, Some(0));
    assert!(recipe.tensorrt.sparse_weights);

    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let error = Recipe::parse("net.toml", &text.replacen(from, to, 1));
        error.unwrap_err().to_string()
    };
    let percentile = refused("99.9", "9.9");
    assert_eq!(
        percentile,
        "net.toml:28: `calibration.percentile`: must be 50 to 100"
    );
    let limit = refused("mse = 0.001", "mse = -1.0");
    assert!(
        limit.starts_with("net.toml:19: `output.0.gate.mse`"),
        "{limit}"
    );
    let method = refused("\"percentile\"", "\"percentil\"");
    assert!(method.contains("did you mean `percentile`?"), "{method}");
    let layers = refused("\"int8\"", "\"int8-dynamic\"");
    assert!(
        layers.contains("`layers.model/conv2d_0/BiasAdd`: only"),
        "{layers}"
    );
}

#[test]
fn invalid_values_are_rejected() {
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
fn a_missing_recipe_is_named() {
    let error = Recipe::read(Path::new("no/such.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no/such.toml: cannot be read")
    );
}

/// The valid recipe with steering as its only output, and `throttle` at the top level.
fn steering_only(throttle: &str) -> Result<Recipe, String> {
    let (first, _) = VALID.rsplit_once("[[output]]").unwrap();
    let text = format!("{throttle}\n{first}").replace("\"speed\"", "\"steering\"");
    Recipe::parse("net.toml", &text).map_err(|error| error.to_string())
}

#[test]
fn a_model_that_only_steers_needs_a_constant_throttle() {
    let recipe = steering_only("throttle = { constant = 0.15 }").unwrap();
    assert_eq!(recipe.throttle, Some(ThrottleRecipe { constant: 0.15 }));

    let missing = steering_only("").unwrap_err();
    assert!(
        missing.contains("throttle = { constant = 0.15 }"),
        "{missing}"
    );
    for wrong in ["0.0", "-0.1", "1.5", "nan", "inf"] {
        let error = steering_only(&format!("throttle = {{ constant = {wrong} }}")).unwrap_err();
        let expected = "net.toml:1: `throttle.constant`: must be above 0";
        assert!(error.starts_with(expected), "{wrong}: {error}");
    }
    let misspelt = steering_only("throttle = { constnat = 0.1 }").unwrap_err();
    assert!(misspelt.contains("did you mean `constant`?"), "{misspelt}");
    let both = message("[input]", "throttle = { constant = 0.1 }\n[input]");
    assert!(
        both.starts_with("net.toml:6: `throttle`: a constant"),
        "{both}"
    );
}

#[test]
fn bins_are_checked() {
    let with = |bins: &str| {
        let key = format!("meaning = \"speed\"\nbins = {{ {bins} }}");
        let text = VALID.replacen("meaning = \"speed\"", &key, 1);
        Recipe::parse("net.toml", &text).map_err(|error| error.to_string())
    };
    let good = "count = 15, first = -1.0, last = 1.0, decode = \"argmax\"";
    let bins = with(good).unwrap().output[0].bins.unwrap();
    assert_eq!((bins.count, bins.decode), (15, Decode::Argmax));
    for (from, to, expected) in [
        (
            "count = 15",
            "count = 1",
            "net.toml:13: `output.0.bins.count`: must be 2 to 1000",
        ),
        ("count = 15", "count = 1001", "must be 2 to 1000"),
        (
            "last = 1.0",
            "last = -1.0",
            "`output.0.bins.last`: first and last must be two different",
        ),
        (
            "first = -1.0",
            "first = nan",
            "first and last must be two different finite",
        ),
        ("argmax", "maximum", "unknown value `maximum`"),
        ("first = -1.0, ", "", "missing field `first`"),
        ("count", "unit = 1.0, count", "unknown key `unit`"),
    ] {
        let error = with(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }

    let integers = |decode: &str| {
        let bins = good.replace("argmax", decode);
        let text = VALID.replace("\"fp32\"", "\"int8-integer\"")
            + "\n[calibration]\nframes = \"frames\"\n";
        let key = format!("meaning = \"speed\"\nbins = {{ {bins} }}");
        let text = text.replacen("meaning = \"speed\"", &key, 1);
        Recipe::parse("net.toml", &text).map_err(|error| error.to_string())
    };
    assert!(integers("expectation").is_ok());
    let error = integers("softmax").unwrap_err();
    assert!(
        error.contains("`output.0.bins.decode`: \"softmax\" needs"),
        "{error}"
    );
}

#[test]
fn four_bit_weights_need_8_bits_and_a_known_group() {
    let text = |precision: &str, group: &str| {
        let text = VALID.replace("\"fp32\"", &format!("\"{precision}\""));
        format!("{text}[calibration]\nframes = \"f\"\n[weights]\nint4_group = {group}\n")
    };
    let parse = |precision, group| Recipe::parse("net.toml", &text(precision, group));
    for precision in ["int8", "int8-dynamic", "int8-integer"] {
        let recipe = parse(precision, "64").unwrap();
        assert_eq!(recipe.weights, Some(WeightsRecipe { int4_group: 64 }));
        assert!(parse(precision, "128").is_ok());
    }
    let error = |precision, group| parse(precision, group).unwrap_err().to_string();
    for group in ["0", "1", "63", "256", "32"] {
        let message = error("int8", group);
        assert!(message.ends_with(": must be 64 or 128"), "{message}");
    }
    let message = error("fp16", "64");
    assert!(message.contains("only 8-bit engines"), "{message}");
    assert_eq!(Recipe::parse("net.toml", VALID).unwrap().weights, None);
}

#[test]
fn the_complete_recipes_of_the_page_are_valid() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipes.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    let complete: Vec<&str> = blocks.filter(|text| text.starts_with("model = ")).collect();
    for text in &complete {
        if let Err(error) = Recipe::parse("recipes.md", text) {
            panic!("{error}\n{text}");
        }
    }
    let kinds = ["waypoints", "lane", "mask"].map(|kind| format!("kind = \"{kind}\""));
    assert!(
        kinds
            .iter()
            .all(|kind| complete.iter().any(|text| text.contains(kind)))
    );
}
