//! The recipes of the optimisations: that of the shipped network, with `[optimise]` and `[augment]`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};

/// The recipe of the shipped network in `text`, for another folder: its paths, which are relative to
/// `folder`, become absolute. `epochs` and `settings` are keys of `[optimise]`.
///
/// # Errors
/// When `text` does not have the keys `model` and `frames`, each once and on a line of its own.
pub fn optimising(
    text: &str,
    folder: &Path,
    epochs: Option<u32>,
    settings: &str,
) -> Result<String> {
    let (mut recipe, mut models, mut frames) = (String::new(), 0, 0);
    for line in text.lines() {
        if let Some(moved) = with_absolute_path(line, "model", folder) {
            models += 1;
            recipe.push_str(&moved);
        } else if let Some(moved) = with_absolute_path(line, "frames", folder) {
            frames += 1;
            recipe.push_str(&moved);
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
    recipe.push_str("\n[optimise]\n");
    if let Some(epochs) = epochs {
        let _ = writeln!(recipe, "epochs = {epochs}");
    }
    if !settings.is_empty() {
        let _ = writeln!(recipe, "{settings}");
    }
    // The expert's answer to a car off the line is recorded, and better than an estimate of it.
    recipe.push_str("\n[augment]\nshift = 0.0\n");
    Ok(recipe)
}

/// The line `key = "path"` with an absolute path; none if it is another line.
fn with_absolute_path(line: &str, key: &str, folder: &Path) -> Option<String> {
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
    let path = value.trim_start().strip_prefix('"')?.split('"').next()?;
    // A basic string of TOML has the escapes of JSON.
    let path = serde_json::Value::from(folder.join(path).display().to_string());
    Some(format!("{key} = {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../engines/pilotnet.toml");

    #[test]
    fn the_shipped_recipe_gets_absolute_paths_and_settings() {
        let folder = Path::new("/a \"b\"/engines");
        let recipe = optimising(SHIPPED, folder, Some(2), "clusters = 8").unwrap();
        for line in [
            r#"model = "/a \"b\"/engines/pilotnet.onnx""#,
            r#"frames = "/a \"b\"/engines/frames""#,
            "epochs = 2",
            "clusters = 8",
            "[calibration]",
        ] {
            assert!(recipe.lines().any(|it| it == line), "{line}\n{recipe}");
        }
        assert_eq!(recipe.lines().count(), SHIPPED.lines().count() + 7);
        let plain = optimising(SHIPPED, folder, None, "").unwrap();
        assert!(plain.ends_with("[optimise]\n\n[augment]\nshift = 0.0\n"));
    }

    #[test]
    fn a_recipe_without_a_path_is_an_error() {
        let without = SHIPPED.replace("frames = ", "pictures = ");
        assert!(optimising(&without, Path::new("/"), None, "").is_err());
    }
}
