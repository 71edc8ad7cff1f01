//! Distinguishes the TOML files that users write.

use serde::de::DeserializeOwned;

use crate::{ConfigError, Source};

/// The kinds of TOML files that users write for Pilotage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A car.toml.
    Car,
    /// A recipe of `pilotage compile`, or of `pilotage-training optimise`, which has the same keys
    /// and some more.
    EngineRecipe,
    /// A recipe of `pilotage-training train`.
    TrainingRecipe,
}

impl FileKind {
    const ALL: [Self; 3] = [Self::Car, Self::EngineRecipe, Self::TrainingRecipe];

    /// The name of the kind, with its article and the page that describes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Car => "a car.toml (docs/car.md)",
            Self::EngineRecipe => "an engine's recipe (docs/recipes.md)",
            Self::TrainingRecipe => "a training recipe (docs/training.md)",
        }
    }

    /// What takes such a file.
    const fn command(self) -> &'static str {
        match self {
            Self::Car => "`pilotage check` and `drive --car` take it",
            Self::EngineRecipe => "`pilotage compile` compiles it",
            Self::TrainingRecipe => "`pilotage-training train --recipe` takes it",
        }
    }

    /// Top-level keys that no other kind has.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Car => &[
                "car",
                "camera",
                "mixer",
                "simulator",
                "engine",
                "guard",
                "actuator",
                "gamepad",
                "log",
            ],
            Self::EngineRecipe => &[
                "precision",
                "on_gate_failure",
                "fixed_inputs",
                "decoder",
                "calibration",
                "layers",
                "weights",
                "tensorrt",
                "optimise",
            ],
            Self::TrainingRecipe => &["network", "training"],
        }
    }
}

impl Source<'_> {
    /// The kind of the file, if its top-level keys show one. Serves messages, not decisions about a
    /// valid file.
    pub fn kind(&self) -> Option<FileKind> {
        self.kind_where(None)
    }

    /// The same where `expected` is the kind that the file should have.
    fn kind_where(&self, expected: Option<FileKind>) -> Option<FileKind> {
        let table: toml::Table = self.text.parse().ok()?;
        let has = |key: &&str| table.contains_key(*key);
        let kinds = FileKind::ALL.into_iter();
        let mut kinds = kinds.filter(|kind| kind.keys().iter().any(has));
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) => Some(kind),
            // An fp32 recipe may have no other keys, and neither may a training recipe.
            (None, _)
                if ["model", "output", "domain"].iter().all(has)
                    && expected != Some(FileKind::TrainingRecipe) =>
            {
                Some(FileKind::EngineRecipe)
            }
            _ => None,
        }
    }

    /// As [`parse`](Self::parse), for a file of this kind. If the file is of another kind, the error
    /// names both kinds instead of a key.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_as<T: DeserializeOwned>(&self, kind: FileKind) -> Result<T, ConfigError> {
        self.parse()
            .map_err(|error| match self.kind_where(Some(kind)) {
                Some(found) if found != kind => ConfigError {
                    file: self.name().to_owned(),
                    line: None,
                    reason: format!(
                        "is {}, not {}; {}",
                        found.name(),
                        kind.name(),
                        found.command()
                    ),
                },
                _ => error,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Car {
        #[serde(rename = "engine")]
        _engine: Option<toml::Table>,
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let recipe = "model = \"mine.onnx\"\nprecision = \"int8\"\n";
        let error = Source::new("mine.toml", recipe)
            .parse_as::<Car>(FileKind::Car)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "mine.toml: is an engine's recipe (docs/recipes.md), not a car.toml (docs/car.md); \
             `pilotage compile` compiles it"
        );
        // Not of another kind for certain: the key is named.
        for text in ["[engin]\n", "network = 1\nprecision = 1\n", "model = 1\n"] {
            let error = Source::new("it", text)
                .parse_as::<Car>(FileKind::Car)
                .unwrap_err();
            assert!(
                error.to_string().starts_with("it:1: unknown key"),
                "{error}"
            );
        }
        let car = Source::new("it", "[engine]\n").parse_as::<Car>(FileKind::Car);
        assert!(car.is_ok(), "{car:?}");
    }

    #[test]
    fn kinds_are_those_of_their_keys() {
        let kind = |text| Source::new("it", text).kind();
        assert_eq!(kind("[camera]\nwidth = 160\n"), Some(FileKind::Car));
        let float = "model = \"m\"\ndomain = \"simulated\"\n[[output]]\nmeaning = \"speed\"\n";
        assert_eq!(kind(float), Some(FileKind::EngineRecipe));
        let training = "network = \"small\"\n[input]\nwidth = 9\n";
        assert_eq!(kind(training), Some(FileKind::TrainingRecipe));
        let tuning = "model = \"m\"\n[[output]]\nmeaning = \"speed\"\n";
        assert_eq!(kind(tuning), None, "of either kind");
        let both = "model = \"m\"\nprecision = \"int8\"\nnetwork = \"small\"\ndomain = \"simulated\"\n\
                    [[output]]\nmeaning = \"speed\"\n";
        assert_eq!(kind(both), None, "of two kinds");
        let tuning = "model = \"m\"\ndomain = \"simulated\"\nepoch = 1\n[[output]]\nindex = 0\n";
        let error = Source::new("it", tuning).parse_as::<Car>(FileKind::TrainingRecipe);
        let error = error.unwrap_err().to_string();
        assert!(!error.contains("recipe"), "its own error: {error}");
        assert_eq!(kind(""), None);
        assert_eq!(kind("not TOML"), None);
    }
}
