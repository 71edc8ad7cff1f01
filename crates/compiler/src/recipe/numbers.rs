//! The rules that a recipe's `[[measurement]]` and `[command]` must fulfil.

use pilotage_config::{ConfigError, Source, suggest};
use pilotage_engine::{CommandRule, ElementNumbers, MOST_COMMANDS, MeasurementRule};
use pilotage_vehicle::{LONGEST_COMMAND, is_command_name};

use super::Recipe;

/// The least and the largest `max_age_ms`.
pub(super) const AGES: std::ops::RangeInclusive<f64> = 1.0..=10_000.0;

impl Recipe {
    pub(super) fn check_numbers(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        for (index, rule) in self.measurement.iter().enumerate() {
            check_measurement(rule, index, source)?;
        }
        match &self.command {
            Some(rule) => check_command(rule, source),
            None => Ok(()),
        }
    }
}

fn check_measurement(
    rule: &MeasurementRule,
    index: usize,
    source: &Source<'_>,
) -> Result<(), ConfigError> {
    let wrong = |part: &str, reason: String| {
        Err(source.error(&format!("measurement.{index}.{part}"), reason))
    };
    let count = rule.values.len();
    if count == 0 {
        return wrong(
            "values",
            "must name at least one number, such as \"speed\"".to_owned(),
        );
    }
    for (at, value) in rule.values.iter().enumerate() {
        if rule.values[..at].contains(value) {
            return wrong("values", format!("\"{}\" is there twice", value.name()));
        }
    }
    for (key, numbers) in [("scale", &rule.scale), ("offset", &rule.offset)] {
        if numbers.numbers(count).is_none() {
            let reason =
                format!("must be a finite number, or a list of {count}: one for each of `values`");
            return wrong(key, reason);
        }
    }
    let zero = match &rule.scale {
        ElementNumbers::All(scale) => *scale == 0.0,
        ElementNumbers::Each(scales) => scales.contains(&0.0),
    };
    if zero {
        return wrong(
            "scale",
            "must not be 0: the network would get no number".to_owned(),
        );
    }
    if rule
        .missing
        .number()
        .is_some_and(|number| !number.is_finite())
    {
        return wrong("missing", "must be \"stop\" or a finite number".to_owned());
    }
    if !AGES.contains(&rule.max_age_ms) {
        let (least, most) = (AGES.start(), AGES.end());
        return wrong("max_age_ms", format!("must be {least} to {most} ms"));
    }
    Ok(())
}

fn check_command(rule: &CommandRule, source: &Source<'_>) -> Result<(), ConfigError> {
    let wrong = |part: &str, reason: String| Err(source.error(&format!("command.{part}"), reason));
    if !(2..=MOST_COMMANDS).contains(&rule.values.len()) {
        return wrong("values", format!("must be 2 to {MOST_COMMANDS} names"));
    }
    for (at, value) in rule.values.iter().enumerate() {
        if !is_command_name(value) {
            let reason = format!(
                "\"{value}\" cannot be given on a command line: use lower-case letters, digits, _ and \
                 -, at most {LONGEST_COMMAND}"
            );
            return wrong("values", reason);
        }
        if rule.values[..at].contains(value) {
            return wrong("values", format!("\"{value}\" is there twice"));
        }
    }
    if rule.place(&rule.default).is_none() {
        let known = rule.values.iter().map(String::as_str);
        let meant = suggest(&rule.default, known);
        return wrong(
            "default",
            format!("\"{}\" is not one of `values`: {meant}", rule.default),
        );
    }
    Ok(())
}
