//! Finds the input of each rule.

use super::{Commanded, InputsError, Measured, Scanned, Signal, State};
use crate::memory::Memory;
use crate::rules::{InputRules, MeasurementRule};
use crate::{ElementType, Output, Port};

pub(super) fn wrong(name: &str, reason: &'static str) -> InputsError {
    InputsError::Port {
        name: name.to_owned(),
        reason,
    }
}

/// The index of the input `name` among those that are not pictures.
fn input(others: &[Port], name: &str) -> Result<usize, InputsError> {
    let found = others.iter().position(|port| port.name == name);
    found.ok_or_else(|| wrong(name, "is missing"))
}

/// The place of the output `name` among the elements of all outputs, and the output.
fn output<'a>(outputs: &'a [Port], name: &str) -> Result<(usize, &'a Port), InputsError> {
    let before = outputs.iter().take_while(|port| port.name != name);
    let place = before.map(Port::len).sum();
    let found = outputs.iter().find(|port| port.name == name);
    Ok((place, found.ok_or_else(|| wrong(name, "is missing"))?))
}

pub(super) fn states(
    memory: &Memory,
    others: &[Port],
    outputs: &[Port],
) -> Result<Vec<State>, InputsError> {
    let each = memory.state.iter().map(|rule| {
        let input = input(others, &rule.input)?;
        let (place, port) = output(outputs, &rule.output)?;
        if port.len() != others[input].len() || port.element_type != ElementType::F32 {
            return Err(wrong(&rule.output, "does not fit the state's input"));
        }
        let start = rule.start.numbers(port.len());
        let start = start.ok_or_else(|| wrong(&rule.input, "has another number of elements"))?;
        Ok(State {
            input,
            place,
            start,
        })
    });
    each.collect()
}

pub(super) fn signals(
    memory: &Memory,
    others: &[Port],
    outputs: &[Port],
    meanings: &[Output],
) -> Result<Vec<Signal>, InputsError> {
    let mut signals = Vec::new();
    for rule in &memory.signal {
        let at = input(others, &rule.input)?;
        if others[at].len() != rule.values.len() {
            return Err(wrong(&rule.input, "has another number of elements"));
        }
        for (element, &meaning) in rule.values.iter().enumerate() {
            let found = meanings.iter().find(|it| it.meaning == meaning);
            let found = found.ok_or_else(|| wrong(&rule.input, "has a value that is no output"))?;
            let (place, _) = output(outputs, &found.name)?;
            signals.push(Signal {
                input: at,
                element,
                output: found.clone(),
                place: place + found.index,
                scale: rule.scale,
                offset: rule.offset,
            });
        }
    }
    Ok(signals)
}

pub(super) fn measured(
    rules: &[MeasurementRule],
    others: &[Port],
) -> Result<Vec<Measured>, InputsError> {
    let mut elements = Vec::new();
    for rule in rules {
        let at = input(others, &rule.input)?;
        let count = rule.values.len();
        let numbers = (rule.scale.numbers(count)).zip(rule.offset.numbers(count));
        let (scales, offsets) = numbers
            .filter(|_| others[at].len() == count)
            .ok_or_else(|| wrong(&rule.input, "has another number of elements"))?;
        let each = rule.values.iter().zip(scales.into_iter().zip(offsets));
        elements.extend(each.enumerate().map(|(element, (&measurement, numbers))| {
            let (scale, offset) = numbers;
            Measured {
                input: at,
                element,
                measurement,
                scale,
                offset,
                missing: rule.missing.number(),
                max_age: rule.max_age(),
            }
        }));
    }
    Ok(elements)
}

pub(super) fn scanned(rules: &InputRules, others: &[Port]) -> Result<Option<Scanned>, InputsError> {
    let Some(rule) = &rules.scan else {
        return Ok(None);
    };
    let at = input(others, &rule.input)?;
    let rays = rule.directions();
    let rays = rays.filter(|rays| others[at].len() == rays.count());
    let rays = rays.ok_or_else(|| wrong(&rule.input, "does not fit the recipe's `[scan]`"))?;
    let rule = rule.clone();
    Ok(Some(Scanned {
        input: at,
        rays,
        rule,
    }))
}

pub(super) fn commanded(
    rules: &InputRules,
    others: &[Port],
) -> Result<Option<Commanded>, InputsError> {
    let Some(rule) = &rules.command else {
        return Ok(None);
    };
    let at = input(others, &rule.input)?;
    match others[at].len() == rule.elements() && rule.place(&rule.default).is_some() {
        true => Ok(Some(Commanded {
            input: at,
            encoding: rule.encoding,
        })),
        false => Err(wrong(&rule.input, "does not fit the recipe's `[command]`")),
    }
}
