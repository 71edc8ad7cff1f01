//! The rules that a recipe's `[scan]` must fulfil.

use pilotage_config::{ConfigError, Source};
use pilotage_vehicle::MOST_RAYS;

use super::numbers::AGES;
use super::{DecoderKind, Recipe};

/// The largest `range`, metres: distances are whole millimetres of 16 bits.
const MOST_RANGE: f32 = 65.0;

impl Recipe {
    /// Checks the scan, and what a model without a picture cannot have.
    pub(super) fn check_scan(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        if self.input.is_none() {
            self.check_no_picture(source)?;
        }
        let Some(rule) = &self.scan else {
            return Ok(());
        };
        let wrong = |part: &str, reason: String| Err(source.error(&format!("scan.{part}"), reason));
        if !(2..=MOST_RAYS).contains(&rule.rays) {
            return wrong("rays", format!("must be 2 to {MOST_RAYS}"));
        }
        if rule.directions().is_none() {
            let reason = "must be another direction than `start`, at most 360 degrees away, and \
                          both -360 to 360";
            return wrong("end", reason.to_owned());
        }
        if !(rule.range > 0.0 && rule.range <= MOST_RANGE) {
            return wrong(
                "range",
                format!("must be above 0 and at most {MOST_RANGE} m"),
            );
        }
        if !(rule.scale.is_finite() && rule.scale != 0.0) {
            return wrong("scale", "must be a finite number other than 0".to_owned());
        }
        let [no_echo, missing] = [rule.no_echo, rule.missing.number()];
        for (key, number) in [
            ("no_echo", no_echo),
            ("offset", Some(rule.offset)),
            ("missing", missing),
        ] {
            if number.is_some_and(|number| !number.is_finite()) {
                return wrong(key, "must be finite".to_owned());
            }
        }
        if !AGES.contains(&rule.max_age_ms) {
            let (least, most) = (AGES.start(), AGES.end());
            return wrong("max_age_ms", format!("must be {least} to {most} ms"));
        }
        Ok(())
    }

    fn check_no_picture(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let Some(scan) = &self.scan else {
            let reason = "is missing: the width and height of the pictures that the model gets; only a model \
                          with a [scan] may get no picture";
            return Err(source.error("input", reason));
        };
        // The car would drive blind without a scan.
        if scan.missing.number().is_some() {
            let reason = "must be \"stop\" without [input]: the scan is all that this model sees";
            return Err(source.error("scan.missing", reason));
        }
        if self.memory.pictures > 1 {
            return Err(source.error(
                "memory.pictures",
                "needs [input]: this model gets no picture",
            ));
        }
        match self.decoder.as_ref().map(|decoder| decoder.kind) {
            Some(DecoderKind::Lane | DecoderKind::Mask) => Err(source.error(
                "decoder.kind",
                "is about the network's picture, and needs [input]: this model gets no picture",
            )),
            Some(DecoderKind::Waypoints) | None => Ok(()),
        }
    }
}
