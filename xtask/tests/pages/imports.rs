//! Files of a crate import each other in one direction only, so that each can be read after those that
//! it imports. A file may import from the module that it is a part of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{root, sources};

/// The module path of each file, such as `["cpu", "kernel"]`, and the paths that it imports.
type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

#[test]
fn files_of_a_crate_do_not_import_each_other() {
    let mut crates: BTreeMap<String, Imports> = BTreeMap::new();
    for file in sources() {
        let path = file.strip_prefix(root()).unwrap();
        if let Some((package, module)) = module_of(path) {
            let text = fs::read_to_string(&file).unwrap();
            let imports = imports(&text, &module, is_root_of_folder(path));
            crates.entry(package).or_default().insert(module, imports);
        }
    }
    assert!(crates.len() > 20, "{:?}", crates.keys());
    let circles: Vec<String> = crates
        .iter()
        .flat_map(|(package, imports)| circles(package, imports))
        .collect();
    assert!(
        circles.is_empty(),
        "files that import each other; move what they share to a file of its own:\n{}",
        circles.join("\n")
    );
}

#[test]
fn a_circle_is_found() {
    let of = |text: &str, module: &[&str]| {
        let module: Vec<String> = module.iter().map(|&it| it.to_owned()).collect();
        let imports = imports(text, &module, false);
        (module, imports)
    };
    let both = Imports::from([
        of("pub(crate) use crate::b::{self, C,\n    D};", &["a"]),
        of("use super::{a::{E, F}, c};", &["b"]),
        of("// use crate::a;\nuse super::Parent;", &["c", "d"]),
        of("", &["c"]),
    ]);
    assert_eq!(circles("x", &both), ["x: a -> b -> a"]);
}

/// The folder of a source file's crate, and the file's module path; the crate's root has an empty one.
fn module_of(path: &Path) -> Option<(String, Vec<String>)> {
    let parts: Vec<&str> = path.iter().filter_map(|it| it.to_str()).collect();
    let source = parts.iter().position(|&it| it == "src")?;
    let mut module: Vec<String> = parts[source + 1..]
        .iter()
        .map(|it| it.trim_end_matches(".rs").to_owned())
        .collect();
    if matches!(module.last().map(String::as_str), Some("lib" | "main")) && module.len() == 1 {
        module.clear();
    }
    let is_test = module.iter().any(|it| it == "tests" || it == "bin");
    (!is_test).then(|| (parts[..source].join("/"), module))
}

/// Whether `super` of a file is the crate's root itself.
fn is_root_of_folder(path: &Path) -> bool {
    path.ends_with("src/lib.rs") || path.ends_with("src/main.rs")
}

/// The paths within the crate that a file imports, without its tests.
fn imports(text: &str, module: &[String], is_root: bool) -> BTreeSet<Vec<String>> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut found = BTreeSet::new();
    for statement in code.join(" ").split(';') {
        let Some(start) = statement.find("use ") else {
            continue;
        };
        let before = statement[..start].trim_end();
        let opens = before.is_empty() || before.ends_with(['}', ')', ']', '{']);
        if opens || before.ends_with("pub") {
            expand(statement[start + 4..].trim(), &mut Vec::new(), &mut found);
        }
    }
    let absolute = |path: Vec<String>| absolute(path, module, is_root);
    found.into_iter().filter_map(absolute).collect()
}

/// Adds each path of a tree such as `a::{b, c::d}`.
fn expand(tree: &str, prefix: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let depth = prefix.len();
    let (head, group) = match tree.split_once('{') {
        Some((head, rest)) => (head, Some(rest.trim_end().trim_end_matches('}'))),
        None => (tree, None),
    };
    let names = head.split("::").map(str::trim).filter(|it| !it.is_empty());
    prefix.extend(names.map(|it| it.split(" as ").next().unwrap_or(it).to_owned()));
    match group {
        None => {
            found.insert(prefix.clone());
        }
        Some(group) => {
            let (mut open, mut start) = (0_i32, 0);
            for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
                match character {
                    '{' => open += 1,
                    '}' => open -= 1,
                    ',' if open == 0 => {
                        if !group[start..at].trim().is_empty() {
                            expand(group[start..at].trim(), prefix, found);
                        }
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
    }
    prefix.truncate(depth);
}

/// The path from the crate's root; `None` for another crate's.
fn absolute(path: Vec<String>, module: &[String], is_root: bool) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path.as_slice();
    match rest.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" if !is_root => {
            while rest.first().is_some_and(|it| it == "super") {
                base.pop();
                rest = &rest[1..];
            }
            return Some(base.into_iter().chain(rest.iter().cloned()).collect());
        }
        _ => return None,
    }
    Some(base.into_iter().chain(rest[1..].iter().cloned()).collect())
}

/// The circles of a crate, each as a chain of files.
fn circles(package: &str, imports: &Imports) -> Vec<String> {
    let target = |path: &[String]| {
        (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|module| imports.contains_key(module))
    };
    let next = |from: &Vec<String>| -> BTreeSet<Vec<String>> {
        let targets = imports[from].iter().filter_map(|path| target(path));
        targets.filter(|to| !from.starts_with(to)).collect()
    };
    let mut found = Vec::new();
    for from in imports.keys() {
        // The shortest way back, reported once: from the first of its files.
        let mut ways: Vec<Vec<Vec<String>>> = vec![vec![from.clone()]];
        let mut seen = BTreeSet::new();
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in &ways {
                for to in next(way.last().unwrap_or(from)) {
                    if to == *from && way.iter().all(|it| it >= from) {
                        let names: Vec<String> =
                            way.iter().chain([&to]).map(|it| it.join("::")).collect();
                        found.push(format!("{package}: {}", names.join(" -> ")));
                    } else if seen.insert(to.clone()) {
                        longer.push([&way[..], &[to]].concat());
                    }
                }
            }
            ways = longer;
        }
    }
    found
}
