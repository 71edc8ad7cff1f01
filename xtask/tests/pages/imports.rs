//! Files of a crate import each other in one direction only: no `use` of `crate`, `super` or `self` leads
//! back to its own file through other files. Not counted are imports from the module that a file is a
//! part of, a module's `use` of its own parts, and what a module re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{root, sources};

/// The module path of each file, such as `["cpu", "kernel"]`, and the paths that it imports.
type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

#[test]
fn the_imports_of_a_crate_have_no_cycle() {
    let mut crates: BTreeMap<String, Imports> = BTreeMap::new();
    for file in sources() {
        let path = file.strip_prefix(root()).unwrap();
        if let Some((package, module)) = module_of(path) {
            let text = fs::read_to_string(&file).unwrap();
            let imports = imports(&text, &module, is_root(path));
            crates.entry(package).or_default().insert(module, imports);
        }
    }
    assert!(crates.len() > 20, "{:?}", crates.keys());
    let cycles: Vec<String> = crates
        .iter()
        .flat_map(|(package, imports)| cycles(package, imports))
        .collect();
    assert!(
        cycles.is_empty(),
        "files that import each other; move what they share to a file of its own:\n{}",
        cycles.join("\n")
    );
}

#[test]
fn a_cycle_is_found() {
    let of = |text: &str, module: &[&str]| {
        let module: Vec<String> = module.iter().map(|&it| it.to_owned()).collect();
        let imports = imports(text, &module, false);
        (module, imports)
    };
    let both = Imports::from([
        of("pub(crate) use crate::b::{self, C,\n    D};", &["a"]),
        of(
            "#![expect(x, reason = \"of use here\")]\nuse super::{c, a::{E, F}};",
            &["b"],
        ),
        of("// use crate::a;\nuse super::Parent;", &["c", "d"]),
        of("", &["c"]),
    ]);
    assert_eq!(cycles("x", &both), ["x: a -> b -> a"]);
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

/// Whether the file is the crate's root.
fn is_root(path: &Path) -> bool {
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
        for (start, _) in statement.match_indices("use ") {
            let before = statement[..start].trim_end();
            let opens = before.is_empty() || before.ends_with(['}', ')', ']', '{']);
            if opens || before.ends_with("pub") {
                expand(statement[start + 4..].trim(), &mut Vec::new(), &mut found);
            }
        }
    }
    let absolute = |path: Vec<String>| absolute(path, module, is_root);
    found.into_iter().filter_map(absolute).collect()
}

/// Adds each path of a tree such as `a::{b, c::d}`.
fn expand(tree: &str, prefix: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let depth = prefix.len();
    let (head, group) = match tree.split_once('{') {
        Some((head, rest)) => (head, rest.trim_end().strip_suffix('}')),
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

/// The import cycles of a crate, each as a chain of files.
fn cycles(package: &str, imports: &Imports) -> Vec<String> {
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
        // The shortest path back, reported once: from the first of its files.
        let mut paths: Vec<Vec<Vec<String>>> = vec![vec![from.clone()]];
        let mut seen = BTreeSet::new();
        while !paths.is_empty() {
            let mut longer = Vec::new();
            for path in &paths {
                for to in next(path.last().unwrap_or(from)) {
                    if to == *from && path.iter().all(|it| it >= from) {
                        let names: Vec<String> =
                            path.iter().chain([&to]).map(|it| it.join("::")).collect();
                        found.push(format!("{package}: {}", names.join(" -> ")));
                    } else if seen.insert(to.clone()) {
                        longer.push([&path[..], &[to]].concat());
                    }
                }
            }
            paths = longer;
        }
    }
    found
}
