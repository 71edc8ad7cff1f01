//! The rules that `[memory]` and `measure` of a training recipe must fulfil.

use pilotage_config::{ConfigError, Source};
use pilotage_engine::{MOST_PICTURES, PictureAxis};

use super::TrainingRecipe;

impl TrainingRecipe {
    pub(super) fn check_measure(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        for (index, measurement) in self.measure.iter().enumerate() {
            if self.measure[..index].contains(measurement) {
                let reason = format!("\"{}\" is there twice", measurement.name());
                return Err(source.error("measure", reason));
            }
        }
        match self.model.is_some() && !self.measure.is_empty() {
            true => Err(source.error(
                "measure",
                "is for the named networks; a model of your own is fine-tuned with a picture alone",
            )),
            false => Ok(()),
        }
    }

    pub(super) fn check_memory(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let memory = &self.memory;
        let wrong = |key: &str, reason: &str| Err(source.error(&format!("memory.{key}"), reason));
        if !(1..=MOST_PICTURES).contains(&memory.pictures) {
            return wrong("pictures", &format!("must be 1 to {MOST_PICTURES}"));
        }
        if memory.axis == PictureAxis::Time || memory.depends_on_answers() {
            return Err(source.error(
                "memory",
                "a network that is trained here has its pictures along the channels, and neither \
                 states nor signals: train it with PyTorch or Keras, and compile its ONNX file",
            ));
        }
        if self.model.is_some() && memory.pictures > 1 {
            return wrong(
                "pictures",
                "is for the named networks; a model of your own is fine-tuned with one picture",
            );
        }
        if self.augment.side_cameras.is_some() && memory.pictures > 1 {
            return wrong(
                "pictures",
                "does not go with `augment.side_cameras`, which have no pictures before them",
            );
        }
        Ok(())
    }
}
