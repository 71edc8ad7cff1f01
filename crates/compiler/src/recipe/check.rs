//! The rules that a recipe's values must fulfil.

use pilotage_config::{ConfigError, Source};
use pilotage_engine::{Bins, Decode, Meaning};
use pilotage_vision::Crop;

use super::{Precision, Recipe, ThrottleRecipe};
use crate::int4::INT4_GROUPS;

/// The largest value of `max_frames`: frames are kept in memory.
const MOST_MAX_FRAMES: usize = 100_000;

/// The largest number of bins of an output.
const MOST_BINS: usize = 1_000;

impl Recipe {
    /// Checks the recipe's values. `source` is the recipe's text, for messages.
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        if self.precision != Precision::Fp32 && self.calibration.is_none() {
            return Err(source.error(
                "precision",
                format!(
                    "\"{}\" needs a [calibration] table with frames = \"FOLDER\": frames as the \
                     car sees them, for its ranges and its validation",
                    self.precision.name()
                ),
            ));
        }
        self.check_layers(source)?;
        self.check_weights(source)?;
        self.check_calibration(source)?;
        if self.input.is_none() && self.scan.is_none() {
            return self.check_scan(source);
        }
        let input = &self.input;
        // The crop is checked against the camera's frame size once there is a camera.
        let frame = input.crop.map_or((u32::MAX, u32::MAX), Crop::end);
        if let Err(error) = input.validate(frame.0, frame.1) {
            return Err(source.error("input", error));
        }
        if self.output.is_empty() && self.decoder.is_none() {
            return Err(source.error(
                "output",
                "at least one [[output]] is needed, or a [decoder] for a path",
            ));
        }
        for (i, output) in self.output.iter().enumerate() {
            if !(output.scale.is_finite() && output.scale != 0.0) {
                return Err(source.error(
                    &format!("output.{i}.scale"),
                    "must be a finite number other than 0",
                ));
            }
            if !output.offset.is_finite() {
                return Err(source.error(&format!("output.{i}.offset"), "must be finite"));
            }
            if let Some(bins) = &output.bins {
                self.check_bins(&format!("output.{i}.bins"), bins, source)?;
            }
            for (key, limit) in [("mse", output.gate.mse), ("worst", output.gate.worst)] {
                if limit.is_some_and(|limit| !(limit.is_finite() && limit >= 0.0)) {
                    let key = format!("output.{i}.gate.{key}");
                    return Err(source.error(&key, "must be a finite number, 0 or more"));
                }
            }
            if self.output[..i].iter().any(|o| o.meaning == output.meaning) {
                return Err(source.error(
                    &format!("output.{i}.meaning"),
                    "another [[output]] has this meaning already",
                ));
            }
        }
        self.check_memory(source)?;
        self.check_scan(source)?;
        match self.decoder {
            Some(_) => self.check_decoder(source),
            None => self.check_meanings(source),
        }
    }

    fn check_layers(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let has_layers = matches!(
            self.precision,
            Precision::Fp16 | Precision::Int8 | Precision::Int8Integer
        );
        match self.layers.keys().next() {
            Some(layer) if !has_layers => Err(source.error(
                &format!("layers.{layer}"),
                format!(
                    "only \"fp16\", \"int8\" and \"int8-integer\" engines have layers of \
                     another precision, this is \"{}\"",
                    self.precision.name()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_weights(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let Some(weights) = &self.weights else {
            return Ok(());
        };
        if matches!(self.precision, Precision::Fp32 | Precision::Fp16) {
            let reason = format!(
                "only 8-bit engines have weights of 4 bits, this is \"{}\"",
                self.precision.name()
            );
            return Err(source.error("weights.int4_group", reason));
        }
        if !INT4_GROUPS.contains(&weights.int4_group) {
            return Err(source.error("weights.int4_group", "must be 64 or 128"));
        }
        Ok(())
    }

    fn check_calibration(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let Some(calibration) = &self.calibration else {
            return Ok(());
        };
        // Below 50 %, more would be clipped than covered.
        if !(50.0..=100.0).contains(&calibration.percentile) {
            return Err(source.error("calibration.percentile", "must be 50 to 100"));
        }
        if !(2..=MOST_MAX_FRAMES).contains(&calibration.max_frames) {
            let reason = format!("must be 2 to {MOST_MAX_FRAMES}");
            return Err(source.error("calibration.max_frames", reason));
        }
        Ok(())
    }

    fn check_bins(&self, key: &str, bins: &Bins, source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |part: &str, reason: &str| Err(source.error(&format!("{key}.{part}"), reason));
        if !(2..=MOST_BINS).contains(&bins.count) {
            return wrong("count", &format!("must be 2 to {MOST_BINS}"));
        }
        if !(bins.first.is_finite() && bins.last.is_finite() && bins.first != bins.last) {
            return wrong(
                "last",
                "first and last must be two different finite numbers",
            );
        }
        // The scale of integers would change the result.
        if bins.decode == Decode::Softmax && self.precision == Precision::Int8Integer {
            return wrong(
                "decode",
                "\"softmax\" needs outputs in floating point: use precision \"int8\", or end the \
                 model with a softmax and use \"expectation\"",
            );
        }
        Ok(())
    }

    fn check_meanings(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let has = |meaning| self.output.iter().any(|output| output.meaning == meaning);
        let twist = has(Meaning::Speed) && has(Meaning::YawRate);
        let pedals = has(Meaning::Steering) && has(Meaning::Throttle);
        let steers_only = has(Meaning::Steering) && self.output.len() == 1;
        match self.throttle {
            None if self.output.len() == 2 && (twist || pedals) => Ok(()),
            None if steers_only => Err(source.error(
                "output",
                "this model only steers: add the throttle to drive with, such as \
                 throttle = { constant = 0.15 } (or --throttle 0.15)",
            )),
            None => Err(source.error(
                "output",
                "a car needs either \"speed\" and \"yaw_rate\" or \"steering\" and \"throttle\", \
                 one [[output]] each; or \"steering\" alone with throttle = { constant = 0.15 }",
            )),
            Some(_) if !steers_only => Err(source.error(
                "throttle",
                "a constant throttle is for a model that only steers, with one [[output]] of \
                 meaning \"steering\"",
            )),
            Some(ThrottleRecipe { constant }) if !(constant > 0.0 && constant <= 1.0) => {
                Err(source.error("throttle.constant", "must be above 0 and at most 1"))
            }
            Some(_) => Ok(()),
        }
    }
}
