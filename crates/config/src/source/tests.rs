use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct File {
    kind: Kind,
    #[serde(default)]
    output: Vec<Output>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Unicycle,
    Ackermann,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Output {
    name: String,
    scale: f32,
}

fn message(text: &str) -> String {
    Source::new("f.toml", text)
        .parse::<File>()
        .unwrap_err()
        .to_string()
}

#[test]
fn a_valid_file_is_parsed() {
    let text = "kind = \"ackermann\"\n[[output]]\nname = \"a\"\nscale = 2.0\n";
    let file: File = Source::new("f.toml", text).parse().unwrap();
    let output = vec![Output {
        name: "a".into(),
        scale: 2.0,
    }];
    let kind = Kind::Ackermann;
    assert_eq!(file, File { kind, output });
}

#[test]
fn misspelt_keys_and_values_suggest_the_nearest_name() {
    let text = "kind = \"unicycle\"\n\n[[output]]\nname = \"a\"\nscael = 2.0\n";
    assert_eq!(
        message(text),
        "f.toml:5: unknown key `scael`: did you mean `scale`?"
    );
    assert_eq!(
        message("kind = \"akerman\"\n"),
        "f.toml:1: unknown value `akerman`: did you mean `ackermann`?"
    );
}

#[test]
fn keys_without_a_similar_name_list_the_known_ones() {
    assert_eq!(
        message("kind = \"unicycle\"\nzzz = 1\n"),
        "f.toml:2: unknown key `zzz`: there is `kind`, `output` here"
    );
}

#[test]
fn wrong_types_and_missing_keys_name_the_key() {
    let wrong = message("kind = \"unicycle\"\n[[output]]\nname = \"a\"\nscale = \"big\"\n");
    assert!(wrong.starts_with("f.toml:4: `output"), "{wrong}");
    assert!(wrong.contains("scale`: invalid type"), "{wrong}");
    let missing = message("kind = \"unicycle\"\n[[output]]\nname = \"a\"\n");
    assert!(missing.starts_with("f.toml:2: "), "{missing}");
    assert!(missing.contains("missing field `scale`"), "{missing}");
}

#[test]
fn a_quoted_key_with_dots_is_found() {
    let source = Source::new("net.toml", "[fixed_inputs]\nspeed = 1\n\"input.1\" = 2\n");
    let error = source.error("fixed_inputs.input.1", "must be finite");
    assert_eq!(
        error.to_string(),
        "net.toml:3: `fixed_inputs.input.1`: must be finite"
    );
}

#[test]
fn rules_beyond_types_find_their_line() {
    let text = "kind = \"unicycle\"\n[[output]]\nname = \"a\"\nscale = 1.0\n[[output]]\nname = \"b\"\nscale = 0.0\n";
    let source = Source::new("f.toml", text);
    let line = |key: &str| source.error(key, "no").line;
    assert_eq!(line("output.0.scale"), Some(4));
    assert_eq!(line("output.1.scale"), Some(7));
    assert_eq!(line("output.1.missing"), Some(5));
    assert_eq!(line("missing"), None);
    assert_eq!(
        source.error("output.1.scale", "must not be 0").to_string(),
        "f.toml:7: `output.1.scale`: must not be 0"
    );
}

proptest! {
    #[test]
    fn any_text_parses_or_gives_an_error_of_one_line(text in ".{0,200}", key in "[a-z0-9.]{0,20}") {
        let source = Source::new("f.toml", &text);
        if let Err(error) = source.parse::<File>() {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
        let _ = source.error(&key, "no");
    }
}
