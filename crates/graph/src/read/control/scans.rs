//! Scan over the fixed size of an axis (opset 9 and later).

use super::Site;
use crate::read::operators::axis;
use crate::read::reader::Reader;
use crate::{GraphError, Op, OpError, ValueId};

/// A value that is read slice by slice.
struct Scanned {
    value: ValueId,
    axis: usize,
    backwards: bool,
}

/// How the slices of an output are joined.
struct Joined {
    axis: i64,
    backwards: bool,
}

impl Reader<'_> {
    /// The inputs are the values that are carried from iteration to iteration, and those that are
    /// scanned. The outputs are the carried values after the last iteration, and the joined slices.
    pub(super) fn scan(&mut self, mut site: Site<'_>) -> Result<(), GraphError> {
        let proto = site.subgraph("body")?;
        let inputs = (0..site.inputs.len())
            .map(|i| site.input(i, "initial_state_and_scan_inputs"))
            .collect::<Result<Vec<_>, _>>()?;
        let count = scanned_count(&mut site, inputs.len())?;
        let mut carried = inputs[..inputs.len() - count].to_vec();
        let found = proto.input.len();
        site.count(
            "one for each input of the node",
            found == inputs.len(),
            found,
        )?;
        let found = proto.output.len();
        site.count(
            "an output for each carried value",
            found >= carried.len(),
            found,
        )?;
        let joined = joined(&mut site, found - carried.len())?;
        let scanned = self.scanned(&mut site, &inputs[carried.len()..])?;
        site.finish(&["body"])?;
        let wanted = site.outputs.len();
        site.count(
            "an output of the subgraph for each",
            wanted <= found,
            wanted,
        )?;
        let length = self.scan_length(&site, &scanned)?;

        let mut stacks = vec![Vec::new(); joined.len()];
        let depth = self.names.depth();
        let body = self.begin(&site, proto)?;
        for i in 0..length {
            self.unroll(&site.name, 1)?;
            let inner = self.names.depth();
            self.names.enter(&i.to_string());
            let mut values = carried.clone();
            for one in &scanned {
                let at = if one.backwards { length - 1 - i } else { i };
                values.push(self.element(&site, one.value, one.axis, at)?);
            }
            for (input, value) in proto.input.iter().zip(values) {
                self.names.alias(input.name.clone(), value)?;
            }
            let mut results = self.iteration(&site, &body)?;
            for (stack, value) in stacks.iter_mut().zip(results.split_off(carried.len())) {
                stack.push(value);
            }
            carried = results;
            self.names.leave(inner);
        }
        self.names.leave(depth);
        for (i, output) in site.outputs.iter().enumerate() {
            match i.checked_sub(carried.len()) {
                _ if output.is_empty() => {}
                None => {
                    self.emit(&site, Op::Identity, &[carried[i]], Some(output))?;
                }
                Some(i) => {
                    if joined[i].backwards {
                        stacks[i].reverse();
                    }
                    self.stacked(&site, &stacks[i], joined[i].axis, output)?;
                }
            }
        }
        Ok(())
    }

    fn scanned(&self, site: &mut Site<'_>, values: &[ValueId]) -> Result<Vec<Scanned>, GraphError> {
        let axes = numbers(site, "scan_input_axes", values.len())?;
        let backwards = flags(site, "scan_input_directions", values.len())?;
        let each = values.iter().zip(axes).zip(backwards);
        each.map(|((&value, given), backwards)| {
            let axis = axis(given, &self.graph.value(value).shape);
            Ok(Scanned {
                value,
                axis: axis.map_err(|reason| site.error(reason))?,
                backwards,
            })
        })
        .collect()
    }

    /// The number of iterations: the size that all scanned axes have.
    fn scan_length(&self, site: &Site<'_>, scanned: &[Scanned]) -> Result<usize, GraphError> {
        let size = |one: &Scanned| self.graph.value(one.value).shape[one.axis];
        let length = scanned.first().map_or(0, size);
        match scanned
            .iter()
            .find(|one| size(one) != length || length == 0)
        {
            None => Ok(length),
            Some(other) => Err(site.error(OpError::Shape {
                input: "scan input",
                found: self.graph.value(other.value).shape.clone(),
                expected: format!("{} slices, not 0", length.max(1)),
            })),
        }
    }
}

fn scanned_count(site: &mut Site<'_>, inputs: usize) -> Result<usize, GraphError> {
    let attribute = "num_scan_inputs";
    let given = (site.attributes.int(attribute)).map_err(|reason| site.error(reason))?;
    let given = given.ok_or_else(|| site.error(OpError::MissingAttribute { attribute }))?;
    (usize::try_from(given).ok())
        .filter(|count| (1..=inputs).contains(count))
        .ok_or_else(|| {
            site.error(OpError::Attribute {
                attribute,
                found: given.to_string(),
                expected: "1 or more, and at most the number of inputs",
            })
        })
}

fn joined(site: &mut Site<'_>, count: usize) -> Result<Vec<Joined>, GraphError> {
    let axes = numbers(site, "scan_output_axes", count)?;
    let backwards = flags(site, "scan_output_directions", count)?;
    let each = axes.into_iter().zip(backwards);
    Ok(each
        .map(|(axis, backwards)| Joined { axis, backwards })
        .collect())
}

/// One number for each of `count` values; 0 where the attribute is absent.
fn numbers(
    site: &mut Site<'_>,
    attribute: &'static str,
    count: usize,
) -> Result<Vec<i64>, GraphError> {
    let given = (site.attributes.ints(attribute)).map_err(|reason| site.error(reason))?;
    match given {
        None => Ok(vec![0; count]),
        Some(given) if given.len() == count => Ok(given),
        Some(given) => Err(site.error(OpError::Attribute {
            attribute,
            found: format!("a list of {}", given.len()),
            expected: "one number for each scanned value",
        })),
    }
}

fn flags(
    site: &mut Site<'_>,
    attribute: &'static str,
    count: usize,
) -> Result<Vec<bool>, GraphError> {
    let given = numbers(site, attribute, count)?;
    match given.iter().find(|flag| !(0..=1).contains(*flag)) {
        None => Ok(given.into_iter().map(|flag| flag == 1).collect()),
        Some(other) => Err(site.error(OpError::Attribute {
            attribute,
            found: other.to_string(),
            expected: "0 (forward) or 1 (backwards)",
        })),
    }
}
