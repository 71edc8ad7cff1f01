//! The recipes of the optimisations: that of the shipped network, with `[optimise]` and `[augment]`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};

/// The recipe of the shipped network in `text`, for another folder: its paths, which are
/// relative to `folder`, become absolute. `epochs` and `settings` are keys of
/// `[optimise]`.
///
/// # Errors
/// When `text` does not have the keys `model` and `frames`, each once and on a line of its own.
pub fn optimising(text: &str, folder: &Path, epochs: u32, settings: &str) -> Result<String> {
    let (mut recipe, mut models, mut frames) = (String::new(), 0, 0);
    for line in text.lines() {
        if let Some(value) = value(line, "model") {
            models += 1;
            recipe.push_str(&path_line("model", &folder.join(value)));
        } else if let Some(value) = value(line, "frames") {
            frames += 1;
            recipe.push_str(&path_line("frames", &folder.join(value)));
        } else {
            recipe.push_str(line);
        }
        recipe.push('\n');
    }
    ensure!(
        (models, frames) == (1, 1),
        "engines/pilotnet.toml must have `model = \"...\"` and `frames = \"...\"`, each on one line; \
         correct `optimising` in xtask/results/src/tables/recipe.rs"
    );
    let _ = writeln!(recipe, "\n[optimise]\nepochs = {epochs}");
    if !settings.is_empty() {
        let _ = writeln!(recipe, "{settings}");
    }
    // The expert's answer to a car off the line is recorded, and better than an estimate of it. The
    // simulator's roads have no shadows.
    recipe.push_str("\n[augment]\nshift = 0.0\nshadow = false\n");
    Ok(recipe)
}

/// The value in a line `key = "value"`; none if it is another line.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
    value.trim_start().strip_prefix('"')?.split('"').next()
}

/// The line `key = "path"`.
fn path_line(key: &str, path: &Path) -> String {
    // A basic string of TOML has the escapes of JSON.
    let path = serde_json::Value::from(path.display().to_string());
    format!("{key} = {path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../engines/pilotnet.toml");

    #[test]
    fn the_shipped_recipe_gets_absolute_paths_and_settings() {
        let folder = Path::new("/a \"b\"/engines");
        let recipe = optimising(SHIPPED, folder, 2, "clusters = 8").unwrap();
        for line in [
            r#"model = "/a \"b\"/engines/pilotnet.onnx""#,
            r#"frames = "/a \"b\"/engines/frames""#,
            "epochs = 2",
            "clusters = 8",
            "[calibration]",
        ] {
            assert!(recipe.lines().any(|it| it == line), "{line}\n{recipe}");
        }
        assert_eq!(recipe.lines().count(), SHIPPED.lines().count() + 8);
        let plain = optimising(SHIPPED, folder, 4, "").unwrap();
        assert!(
            plain.ends_with("[optimise]\nepochs = 4\n\n[augment]\nshift = 0.0\nshadow = false\n")
        );
    }

    #[test]
    fn a_recipe_without_a_path_is_an_error() {
        let without = SHIPPED.replace("frames = ", "pictures = ");
        assert!(optimising(&without, Path::new("/"), 4, "").is_err());
    }
}
