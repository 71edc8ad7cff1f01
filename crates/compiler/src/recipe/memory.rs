//! The rules that a recipe's `[memory]` must fulfil.

use pilotage_config::{ConfigError, Source};
use pilotage_engine::{AfterGap, MOST_INPUTS, MOST_PICTURES, Memory, PictureAxis};

use super::{Precision, Recipe};

impl Recipe {
    pub(super) fn check_memory(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let memory = &self.memory;
        let wrong = |key: &str, reason: String| Err(source.error(&format!("memory.{key}"), reason));
        if !(1..=MOST_PICTURES).contains(&memory.pictures) {
            return wrong("pictures", format!("must be 1 to {MOST_PICTURES}"));
        }
        if memory.pictures == 1 && memory.axis == PictureAxis::Time {
            return wrong(
                "axis",
                "needs `pictures`, the number of pictures along the axis".to_owned(),
            );
        }
        let remembers = memory.pictures > 1 || memory.depends_on_answers();
        if !remembers && memory.after_gap != AfterGap::Hold {
            return wrong(
                "after_gap",
                "is for a model with several pictures, states or signals".to_owned(),
            );
        }
        let rules = self.input_rules();
        if rules.names().count() >= MOST_INPUTS {
            let most = MOST_INPUTS - 1;
            let key = match self.measurement.is_empty() {
                true => "memory.state",
                false => "measurement",
            };
            let reason = format!(
                "states, signals, measurements, the command and the scan together must be {most} inputs at most"
            );
            return Err(source.error(key, reason));
        }
        self.check_states(memory, source)?;
        self.check_signals(memory, source)?;
        self.check_numbers(source)?;
        let mut known: Vec<&str> = self.fixed_inputs.keys().map(String::as_str).collect();
        for name in rules.names() {
            if known.contains(&name) {
                let key = match memory.names().any(|it| it == name) {
                    true => "memory",
                    false if self.command.as_ref().is_some_and(|it| it.input == name) => "command",
                    false if self.scan.as_ref().is_some_and(|it| it.input == name) => "scan",
                    false => "measurement",
                };
                return Err(source.error(
                    key,
                    format!("the model's input `{name}` has two rules; it can have one"),
                ));
            }
            known.push(name);
        }
        Ok(())
    }

    fn check_states(&self, memory: &Memory, source: &Source<'_>) -> Result<(), ConfigError> {
        for (index, state) in memory.state.iter().enumerate() {
            let wrong = |part: &str, reason: &str| {
                Err(source.error(&format!("memory.state.{index}.{part}"), reason))
            };
            if self.precision == Precision::Int8Integer {
                return wrong(
                    "output",
                    "a state is fed back in floating point: use precision \"int8\"",
                );
            }
            if !state.start.is_finite() {
                return wrong("start", "must be finite");
            }
            let others = &memory.state[..index];
            if others.iter().any(|other| other.output == state.output) {
                return wrong(
                    "output",
                    "another [[memory.state]] has this output already; each input has one of its own",
                );
            }
        }
        Ok(())
    }

    fn check_signals(&self, memory: &Memory, source: &Source<'_>) -> Result<(), ConfigError> {
        for (index, signal) in memory.signal.iter().enumerate() {
            let wrong = |part: &str, reason: String| {
                Err(source.error(&format!("memory.signal.{index}.{part}"), reason))
            };
            if !(signal.scale.is_finite() && signal.scale != 0.0) {
                return wrong("scale", "must be a finite number other than 0".to_owned());
            }
            if !signal.offset.is_finite() {
                return wrong("offset", "must be finite".to_owned());
            }
            if signal.values.is_empty() {
                return wrong(
                    "values",
                    "must name at least one output's meaning".to_owned(),
                );
            }
            for (at, value) in signal.values.iter().enumerate() {
                if signal.values[..at].contains(value) {
                    return wrong(
                        "values",
                        format!(
                            "\"{}\" is there twice, and both would be the latest answer; let the model \
                             keep earlier ones as a state",
                            value.name()
                        ),
                    );
                }
                if !self.output.iter().any(|output| output.meaning == *value) {
                    let known: Vec<String> = (self.output.iter())
                        .map(|output| format!("\"{}\"", output.meaning.name()))
                        .collect();
                    return wrong(
                        "values",
                        format!(
                            "\"{}\" is the meaning of no [[output]], whose latest answer it would be; \
                             there is {}",
                            value.name(),
                            known.join(" and ")
                        ),
                    );
                }
            }
        }
        Ok(())
    }
}
