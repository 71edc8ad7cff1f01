//! Validates a plan before it is packed and run.
//!
//! A plan may come from a file, so nothing in it is trusted. The kernels rely on the bounds
//! that are checked here, also in unsafe code.

use super::check::Check;
use super::error::PlanError;
use super::limits::{MAX_BYTES, MAX_ITEMS, MAX_RANK, MAX_WORK};
use super::{Constant, ConstantId, Operand, Plan, TensorId, TensorSpec};
use crate::ElementType;

impl Plan {
    /// Checks everything that running the plan relies on: identifiers, order, shapes, types,
    /// windows, and limits on memory and work.
    ///
    /// # Errors
    /// When the plan is not valid. The error names the step or tensor and the reason.
    pub fn validate(&self) -> Result<(), PlanError> {
        self.check()?;
        self.check_memory(true)
    }

    /// Like [`validate`](Self::validate), for an engine that does not keep the outputs.
    pub(crate) fn validate_observed(&self) -> Result<(), PlanError> {
        self.check()?;
        self.check_memory(false)
    }

    fn check(&self) -> Result<(), PlanError> {
        for (what, found) in [
            ("tensors", self.tensors.len()),
            ("constants", self.constants.len()),
            ("inputs", self.inputs.len()),
            ("outputs", self.outputs.len()),
            ("steps", self.steps.len()),
            (
                "step inputs",
                self.steps.iter().map(|step| step.inputs.len()).sum(),
            ),
        ] {
            if found > MAX_ITEMS {
                return Err(PlanError::TooMany {
                    what,
                    found,
                    limit: MAX_ITEMS,
                });
            }
        }
        self.check_sizes()?;
        let mut written = vec![false; self.tensors.len()];
        for port in &self.inputs {
            let place = || format!("input `{}`", port.name);
            let Operand::Tensor(id) = port.operand else {
                return Err(PlanError::ConstantInput {
                    name: port.name.clone(),
                });
            };
            mark_written(&mut written, id, place)?;
        }
        let mut work = 0_u64;
        for step in &self.steps {
            let place = || format!("step `{}`", step.name);
            for &operand in &step.inputs {
                self.check_readable(&written, operand, place)?;
            }
            mark_written(&mut written, step.output, place)?;
            let check = Check::new(self, step);
            work = work.saturating_add(check.operation()?);
            if work > MAX_WORK {
                return Err(PlanError::TooMuchWork {
                    step: step.name.clone(),
                });
            }
        }
        for port in &self.outputs {
            self.check_readable(&written, port.operand, || format!("output `{}`", port.name))?;
        }
        Ok(())
    }

    fn check_memory(&self, outputs_kept: bool) -> Result<(), PlanError> {
        match self.most_alive(outputs_kept) > MAX_BYTES {
            true => Err(PlanError::TooLarge {
                what: "the tensors that an inference needs at one time".into(),
            }),
            false => Ok(()),
        }
    }

    /// The largest number of bytes of the inputs and of all tensors that are alive at one step: from
    /// the step that computes a tensor to the last that reads it, or to the end for outputs that are
    /// kept. The identifiers are valid.
    fn most_alive(&self, outputs_kept: bool) -> usize {
        let bytes = |TensorId(id): TensorId| {
            let TensorSpec {
                shape,
                element_type,
            } = &self.tensors[id];
            shape.iter().product::<usize>() * element_type.size()
        };
        let mut last = vec![0; self.tensors.len()];
        for (index, step) in self.steps.iter().enumerate() {
            last[step.output.0] = index;
            for operand in &step.inputs {
                if let Operand::Tensor(id) = operand {
                    last[id.0] = index;
                }
            }
        }
        for port in self.outputs.iter().filter(|_| outputs_kept) {
            if let Operand::Tensor(id) = port.operand {
                last[id.0] = self.steps.len();
            }
        }
        let of_port = |operand: &Operand| match operand {
            Operand::Tensor(id) => bytes(*id),
            Operand::Constant(_) => 0,
        };
        let inputs = self.inputs.iter().map(|port| of_port(&port.operand));
        let inputs = inputs.fold(0, usize::saturating_add);
        let mut ends = vec![Vec::new(); self.steps.len() + 1];
        let (mut alive, mut most) = (inputs, inputs);
        for (index, step) in self.steps.iter().enumerate() {
            alive = alive.saturating_add(bytes(step.output));
            most = most.max(alive);
            ends[last[step.output.0]].push(step.output);
            alive -= ends[index].iter().map(|&id| bytes(id)).sum::<usize>();
        }
        most
    }

    fn check_sizes(&self) -> Result<(), PlanError> {
        for (
            id,
            TensorSpec {
                shape,
                element_type,
            },
        ) in self.tensors.iter().enumerate()
        {
            if *element_type == ElementType::F16 {
                return Err(PlanError::Half {
                    place: format!("tensor {id}"),
                });
            }
            bytes(shape, *element_type, || format!("tensor {id}"))?;
        }
        let mut total = 0_usize;
        for (id, Constant { shape, data }) in self.constants.iter().enumerate() {
            let bytes = bytes(shape, data.element_type(), || format!("constant {id}"))?;
            let expected = bytes / data.element_type().size();
            if expected != data.len() {
                return Err(PlanError::ConstantLength {
                    id,
                    expected,
                    found: data.len(),
                });
            }
            total = total.saturating_add(bytes);
        }
        if total > MAX_BYTES {
            return Err(PlanError::TooLarge {
                what: "all constants together".into(),
            });
        }
        Ok(())
    }

    fn check_readable(
        &self,
        written: &[bool],
        operand: Operand,
        place: impl Fn() -> String,
    ) -> Result<(), PlanError> {
        let (kind, id, known) = match operand {
            Operand::Tensor(TensorId(id)) => ("tensor", id, id < self.tensors.len()),
            Operand::Constant(ConstantId(id)) => ("constant", id, id < self.constants.len()),
        };
        if !known {
            return Err(PlanError::Unknown {
                place: place(),
                kind,
                id,
            });
        }
        if matches!(operand, Operand::Tensor(_)) && !written[id] {
            return Err(PlanError::NotMade { place: place(), id });
        }
        if self.spec(operand).1 == ElementType::F16 {
            return Err(PlanError::Half { place: place() });
        }
        Ok(())
    }
}

fn mark_written(
    written: &mut [bool],
    TensorId(id): TensorId,
    place: impl Fn() -> String,
) -> Result<(), PlanError> {
    match written.get_mut(id) {
        None => Err(PlanError::Unknown {
            place: place(),
            kind: "tensor",
            id,
        }),
        Some(true) => Err(PlanError::MadeTwice { place: place(), id }),
        Some(slot) => {
            *slot = true;
            Ok(())
        }
    }
}

/// Number of bytes of a tensor. Also checks that the product of any of its axes is at most
/// [`MAX_BYTES`].
fn bytes(
    shape: &[usize],
    element_type: ElementType,
    what: impl Fn() -> String,
) -> Result<usize, PlanError> {
    if shape.len() > MAX_RANK {
        return Err(PlanError::Rank {
            what: what(),
            rank: shape.len(),
        });
    }
    // Axes of size 0 are not part of the product, so that strides cannot overflow either.
    let mut bytes = element_type.size();
    for &size in shape.iter().filter(|&&size| size != 0) {
        bytes = bytes
            .checked_mul(size)
            .filter(|&bytes| bytes <= MAX_BYTES)
            .ok_or_else(|| PlanError::TooLarge { what: what() })?;
    }
    Ok(if shape.contains(&0) { 0 } else { bytes })
}

#[cfg(test)]
mod tests;
