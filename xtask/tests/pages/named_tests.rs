//! The tests that the safety case names exist, under these names.

use std::collections::BTreeSet;
use std::fs;

use pulldown_cmark::{Event, Parser};

use crate::{root, sources};

/// The names of the functions in the Rust files of the checkout.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in sources() {
        for line in fs::read_to_string(file).unwrap().lines() {
            if let Some((_, after)) = line.split_once("fn ") {
                let end = after.find(|it: char| !it.is_alphanumeric() && it != '_');
                names.insert(after[..end.unwrap_or(after.len())].to_owned());
            }
        }
    }
    names
}

/// A test's name is a sentence: at least four words joined by underscores; a key of car.toml has fewer.
fn is_a_tests_name(code: &str) -> bool {
    let is_word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    code.matches('_').count() >= 3 && code.trim_end_matches('…').chars().all(is_word)
}

#[test]
fn the_tests_that_the_safety_case_names_exist() {
    let functions = functions();
    let page = fs::read_to_string(root().join("docs/safety.md")).unwrap();
    let mut checked = 0;
    for event in Parser::new_ext(&page, pulldown_cmark::Options::ENABLE_TABLES) {
        let Event::Code(code) = event else { continue };
        let name = code.rsplit("::").next().unwrap();
        if !is_a_tests_name(name) {
            continue;
        }
        let exists = match name.strip_suffix('…') {
            Some(start) => functions.iter().any(|it| it.starts_with(start)),
            None => functions.contains(name),
        };
        assert!(
            exists,
            "docs/safety.md names `{name}`, which does not exist"
        );
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} names were found");
}
