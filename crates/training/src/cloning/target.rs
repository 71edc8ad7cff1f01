//! The files that a training run writes: NAME.onnx, NAME.toml, NAME.png and NAME.checkpoint.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use pilotage_config::{FileKind, LONGEST_FILE, Source};

/// The shipped model, whatever the folder of the checkout.
const SHIPPED: [&str; 2] = ["engines/pilotnet.onnx", "engines/pilotnet.toml"];

/// Why files cannot be written under a name.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The name has no file name.
    #[error("{} is no name for a model; use --out NAME, which makes NAME.onnx and NAME.toml", .0.display())]
    NoName(PathBuf),
    /// The folder does not exist.
    #[error("the folder {} cannot be used: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// A file exists.
    #[error("{} exists; choose another name with --out, or overwrite it with --force", .0.display())]
    Exists(PathBuf),
    /// The file that the recipe would replace is of another kind, such as a car.toml.
    #[error("{} is {}, which the recipe for `pilotage compile` never replaces; choose another name with --out", path.display(), kind.name())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The name is that of the shipped model.
    #[error("{} is the shipped model, which no other replaces; choose another name with --out", .0.display())]
    Shipped(PathBuf),
    /// The training recipe would be overwritten.
    #[error("{} is the training recipe; the recipe for `pilotage compile` needs another name: --out", .0.display())]
    Recipe(PathBuf),
    /// The model to fine-tune would be overwritten.
    #[error("{} is the model to fine-tune; the trained one needs another name: --out", .0.display())]
    Model(PathBuf),
    /// An earlier run was interrupted.
    #[error("{} is of an interrupted run: continue it with --resume, or start anew with --force", .0.display())]
    Interrupted(PathBuf),
}

/// The name of a model and its other files, in an existing folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    folder: PathBuf,
    name: OsString,
}

impl Target {
    /// The files of the model `out`, a path with or without `.onnx` or `.toml`. `recipe` is the
    /// training recipe, if there is one. With `force`, existing files may be overwritten, but never
    /// the shipped model, the training recipe, a car.toml or another training recipe.
    ///
    /// # Errors
    /// When the folder does not exist, or a file may not be overwritten.
    pub fn new(
        out: &Path,
        recipe: Option<&Path>,
        force: bool,
        resume: bool,
    ) -> Result<Self, TargetError> {
        let no_name = || TargetError::NoName(out.to_owned());
        let extension = out.extension().and_then(|extension| extension.to_str());
        let name = match extension {
            Some("onnx" | "toml") => out.file_stem(),
            _ => out.file_name(),
        };
        let target = Self {
            folder: out.parent().ok_or_else(no_name)?.to_owned(),
            name: name.ok_or_else(no_name)?.to_owned(),
        };
        let folder = target.folder()?;
        for file in [target.onnx(), target.toml()] {
            let absolute = file.file_name().map(|name| folder.join(name));
            let absolute = absolute.unwrap_or_default();
            if SHIPPED.iter().any(|shipped| absolute.ends_with(shipped)) {
                return Err(TargetError::Shipped(file));
            }
            if recipe.is_some_and(|recipe| is_same(recipe, &file)) {
                return Err(TargetError::Recipe(file));
            }
        }
        if let Some(kind) = kind(&target.toml())
            && kind != FileKind::EngineRecipe
        {
            let path = target.toml();
            return Err(TargetError::OtherKind { path, kind });
        }
        let checkpoint = target.checkpoint();
        if !force && !resume && checkpoint.exists() {
            return Err(TargetError::Interrupted(checkpoint));
        }
        let mut files = [target.onnx(), target.toml(), target.png()].into_iter();
        match files.find(|file| !force && file.symlink_metadata().is_ok()) {
            Some(file) => Err(TargetError::Exists(file)),
            None => Ok(target),
        }
    }

    /// Checks that the model to fine-tune is not overwritten, not even with `force`.
    ///
    /// # Errors
    /// When `model` is the file to write.
    pub fn keeps(&self, model: &Path) -> Result<(), TargetError> {
        match is_same(model, &self.onnx()) {
            true => Err(TargetError::Model(self.onnx())),
            false => Ok(()),
        }
    }

    /// The folder, absolute and without links.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn folder(&self) -> Result<PathBuf, TargetError> {
        let path = match self.folder == Path::new("") {
            true => Path::new("."),
            false => &self.folder,
        };
        path.canonicalize().map_err(|reason| TargetError::Folder {
            path: path.to_owned(),
            reason,
        })
    }

    fn file(&self, extension: &str) -> PathBuf {
        let mut name = self.name.clone();
        name.push(extension);
        self.folder.join(name)
    }

    /// The model.
    pub fn onnx(&self) -> PathBuf {
        self.file(".onnx")
    }

    /// The recipe for `pilotage compile`.
    pub fn toml(&self) -> PathBuf {
        self.file(".toml")
    }

    /// The folder of frames for calibration, where the training makes them.
    pub fn frames(&self) -> PathBuf {
        self.file("-frames")
    }

    /// The picture of the training.
    pub fn png(&self) -> PathBuf {
        self.file(".png")
    }

    /// The state of an unfinished run.
    pub fn checkpoint(&self) -> PathBuf {
        self.file(".checkpoint")
    }

    /// The file name of the model.
    pub fn model_name(&self) -> String {
        format!("{}.onnx", self.name.to_string_lossy())
    }
}

/// The kind of an existing TOML file, if it shows one.
fn kind(file: &Path) -> Option<FileKind> {
    let text = pilotage_config::read(file, LONGEST_FILE).ok()?;
    Source::new("", &text).kind()
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn existing_files_are_protected_and_force_does_not_reach_the_shipped_model() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let target = Target::new(&at("car.onnx"), None, false, false).unwrap();
        assert_eq!(target.toml(), at("car.toml"));
        assert_eq!(Target::new(&at("car"), None, false, false).unwrap(), target);
        // A name with a dot is kept.
        let dotted = Target::new(&at("car.v2"), None, false, false).unwrap();
        assert_eq!(dotted.onnx(), at("car.v2.onnx"));

        fs::write(at("car.png"), "").unwrap();
        let error = Target::new(&at("car"), None, false, false).unwrap_err();
        assert!(matches!(error, TargetError::Exists(_)), "{error}");
        assert!(Target::new(&at("car"), None, true, false).is_ok());

        fs::write(at("other.toml"), "").unwrap();
        let recipe = at("other.toml");
        let error = Target::new(&at("other"), Some(&recipe), true, false).unwrap_err();
        assert!(matches!(error, TargetError::Recipe(_)), "{error}");

        fs::write(at("jetson.toml"), "[camera]\nwidth = 160\n").unwrap();
        let error = Target::new(&at("jetson"), None, true, false).unwrap_err();
        assert!(
            error.to_string().contains("is a car.toml") && error.to_string().contains("--out"),
            "{error}"
        );
        fs::write(at("jetson.toml"), "precision = \"int8\"\n").unwrap();
        assert!(Target::new(&at("jetson"), None, true, false).is_ok());

        fs::write(at("new.checkpoint"), "").unwrap();
        let error = Target::new(&at("new"), None, false, false).unwrap_err();
        assert!(matches!(error, TargetError::Interrupted(_)), "{error}");
        assert!(Target::new(&at("new"), None, false, true).is_ok());

        fs::create_dir(at("engines")).unwrap();
        let error = Target::new(&at("engines/pilotnet"), None, true, false).unwrap_err();
        assert!(matches!(error, TargetError::Shipped(_)), "{error}");
        let error = Target::new(&at("none/car"), None, true, false).unwrap_err();
        assert!(matches!(error, TargetError::Folder { .. }), "{error}");
    }
}
