//! The tests and files that the safety case and the page on security name exist, under these names.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

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

/// A file or folder of the checkout: a Rust file, or a path from a folder with Rust files.
fn is_a_path(code: &str) -> bool {
    let folders = ["crates/", "cross/", "src/", "tests/", "xtask/"];
    let from_root = folders.iter().any(|folder| code.starts_with(folder));
    !code.contains(' ') && (from_root || code.ends_with(".rs"))
}

/// Whether `path` exists from the root, or is the end of the path of exactly one Rust file.
fn is_unambiguous(path: &str, sources: &[PathBuf]) -> bool {
    let ends = sources.iter().filter(|file| file.ends_with(path)).count();
    root().join(path).exists() || ends == 1
}

#[test]
fn the_files_that_the_safety_case_and_the_page_on_security_name_exist() {
    let sources = sources();
    assert!(is_unambiguous("tests/real.rs", &sources));
    assert!(is_unambiguous("retry.rs", &sources));
    assert!(!is_unambiguous("main.rs", &sources), "many have this name");
    assert!(!is_unambiguous("no_such_file.rs", &sources));
    let mut checked = 0;
    for name in ["docs/safety.md", "docs/security.md"] {
        let page = fs::read_to_string(root().join(name)).unwrap();
        for event in Parser::new_ext(&page, pulldown_cmark::Options::ENABLE_TABLES) {
            let Event::Code(code) = event else { continue };
            if !is_a_path(&code) {
                continue;
            }
            assert!(
                is_unambiguous(&code, &sources),
                "{name} names `{code}`: no file, or several; write its path from the root"
            );
            checked += 1;
        }
    }
    assert!(checked >= 30, "only {checked} files were found");
}
