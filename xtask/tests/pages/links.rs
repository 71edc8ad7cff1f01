//! Links between the pages of the checkout lead to files and headings that are there.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::root;

/// The pages: those at the root and in docs/.
fn pages() -> Vec<PathBuf> {
    let folders = [root(), root().join("docs")];
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    pages.sort();
    pages
}

#[derive(Default)]
struct Page {
    links: Vec<String>,
    /// The code in the text, such as `cargo build`.
    code: Vec<String>,
    anchors: Vec<String>,
}

/// A heading's anchor as GitHub makes it: lower case, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn read(path: &Path) -> Page {
    let text = fs::read_to_string(path).unwrap();
    let mut page = Page::default();
    let mut heading: Option<(HeadingLevel, String)> = None;
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
            Event::End(TagEnd::Heading(_)) => {
                let (_, text) = heading.take().unwrap();
                page.anchors.push(anchor(&text));
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Text(text) => {
                if let Some((_, heading)) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::Code(text) => {
                if let Some((_, heading)) = &mut heading {
                    heading.push_str(&text);
                }
                page.code.push(text.into_string());
            }
            _ => {}
        }
    }
    page
}

/// What is wrong with `link` on the page at `path`, if anything.
fn broken(path: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => path.to_owned(),
        file => path.parent().unwrap().join(file),
    };
    if !target.exists() {
        return Some(format!("{}: {link}: no such file", path.display()));
    }
    let there = fragment.is_empty() || read(&target).anchors.iter().any(|it| it == fragment);
    (!there).then(|| format!("{}: {link}: no such heading", path.display()))
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken_links = Vec::new();
    let mut seen = 0;
    for path in pages() {
        for link in read(&path).links {
            seen += 1;
            broken_links.extend(broken(&path, &link));
        }
    }
    assert!(broken_links.is_empty(), "{}", broken_links.join("\n"));
    assert!(seen > 50, "{seen} links were looked at");
}

/// Whether a piece of code is the path of a file of the checkout.
fn is_path(code: &str) -> bool {
    const FOLDERS: [&str; 11] = [
        "assets/", "benches/", "cars/", "crates/", "cross/", "docs/", "engines/", "src/",
        "systemd/", "tests/", "xtask/",
    ];
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    FOLDERS.iter().any(|folder| code.starts_with(folder))
        && code.chars().all(is_plain)
        && !code.contains("NAME")
}

#[test]
fn files_that_the_pages_name_exist() {
    let mut missing = Vec::new();
    let mut seen = 0;
    for page in pages() {
        // The changelog names files that were there once.
        if page.ends_with("CHANGELOG.md") {
            continue;
        }
        for code in read(&page).code.iter().filter(|code| is_path(code)) {
            seen += 1;
            if !root().join(code).exists() {
                missing.push(format!("{}: {code}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(seen > 50, "{seen} paths were looked at");
}

#[test]
fn broken_links_are_found() {
    let page = root().join("README.md");
    assert_eq!(broken(&page, "docs/safety.md#the-states"), None);
    assert_eq!(broken(&page, "https://rustup.rs"), None);
    assert!(broken(&page, "docs/none.md").is_some());
    assert!(broken(&page, "docs/safety.md#none").is_some());
    assert_eq!(
        anchor("`cargo xtask` & its tasks"),
        "cargo-xtask--its-tasks"
    );
}

/// docs/architecture.md has a row for each crate, and none for one that is gone.
#[test]
fn the_map_names_every_crate() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, crates) = text.split_once("\n## Crates\n").unwrap();
    let rows = crates.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut named: Vec<&str> = rows
        .filter_map(|row| Some(row.split_once('`')?.0))
        .collect();
    named.sort_unstable();
    let folders = fs::read_dir(root().join("crates")).unwrap();
    let mut there: Vec<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort_unstable();
    assert_eq!(named, there);
}
