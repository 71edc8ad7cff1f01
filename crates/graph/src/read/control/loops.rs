//! Loop with a number of iterations that is known when the model is read.

use super::{Body, Site};
use crate::onnx::GraphProto;
use crate::read::reader::Reader;
use crate::{GraphError, Op, OpError, Tensor, TensorData, ValueId};

/// The values that an iteration passes to the next one, and those that it adds to stacks.
struct Progress {
    iterations: i64,
    condition: bool,
    carried: Vec<ValueId>,
    stacks: Vec<Vec<ValueId>>,
}

impl Reader<'_> {
    /// The inputs are the most iterations, the condition of the first one, and the values that are
    /// carried from iteration to iteration. The subgraph's first two inputs are the iteration and the
    /// condition; its first output is the condition of the next iteration.
    pub(super) fn unroll_loop(&mut self, mut site: Site<'_>) -> Result<(), GraphError> {
        site.finish(&["body"])?;
        let proto = site.subgraph("body")?;
        let carried = (2..site.inputs.len())
            .map(|i| site.input(i, "v_initial"))
            .collect::<Result<Vec<_>, _>>()?;
        let stacks = stacks(&site, proto, carried.len())?;
        let trips = trips(&site, self)?;
        let mut progress = Progress {
            iterations: 0,
            condition: condition(&site, self)?.unwrap_or(true),
            carried,
            stacks: vec![Vec::new(); stacks],
        };
        let depth = self.names.depth();
        let body = self.begin(&site, proto)?;
        while progress.condition && trips.is_none_or(|trips| progress.iterations < trips) {
            self.unroll(&site.name, 1)?;
            let inner = self.names.depth();
            self.names.enter(&progress.iterations.to_string());
            self.pass(&site, &body, &mut progress)?;
            self.names.leave(inner);
        }
        self.names.leave(depth);
        self.loop_outputs(&site, &progress)
    }

    /// One iteration.
    fn pass(
        &mut self,
        site: &Site<'_>,
        body: &Body<'_>,
        progress: &mut Progress,
    ) -> Result<(), GraphError> {
        let names: Vec<String> = (body.proto.input.iter())
            .map(|input| input.name.clone())
            .collect();
        let scalar = |data: TensorData| {
            Tensor::new([], data).map_err(|e| site.error(OpError::TooLarge { shape: e.shape }))
        };
        let iteration = scalar(vec![progress.iterations].into())?;
        self.constant(names[0].clone(), iteration)?;
        let condition = scalar(vec![progress.condition].into())?;
        self.constant(names[1].clone(), condition)?;
        for (name, &value) in names[2..].iter().zip(&progress.carried) {
            self.names.alias(name.clone(), value)?;
        }
        let results = self.iteration(site, body)?;
        let next = self.graph.value(results[0]);
        progress.condition = match next.constant.as_ref().and_then(Tensor::as_bool) {
            Some(&[next]) => next,
            _ => {
                return Err(site.error(OpError::NotConstant {
                    input: "condition of the next iteration",
                    value: next.name.clone(),
                }));
            }
        };
        let count = progress.carried.len();
        progress.carried = results[1..=count].to_vec();
        for (stack, &value) in progress.stacks.iter_mut().zip(&results[count + 1..]) {
            stack.push(value);
        }
        progress.iterations += 1;
        Ok(())
    }

    fn loop_outputs(&mut self, site: &Site<'_>, progress: &Progress) -> Result<(), GraphError> {
        let count = progress.carried.len();
        for (i, output) in site.outputs.iter().enumerate() {
            match (output.as_str(), i.checked_sub(count)) {
                ("", _) => {}
                (name, None) => {
                    self.emit(site, Op::Identity, &[progress.carried[i]], Some(name))?;
                }
                (_, Some(stack)) if progress.stacks[stack].is_empty() => {
                    return Err(site.error(OpError::Unsupported {
                        feature: "an output of a loop without iterations",
                    }));
                }
                (name, Some(stack)) => self.stacked(site, &progress.stacks[stack], 0, name)?,
            }
        }
        Ok(())
    }
}

/// The number of values that each iteration adds to a stack. Checks the subgraph's inputs and
/// outputs.
fn stacks(site: &Site<'_>, body: &GraphProto, carried: usize) -> Result<usize, GraphError> {
    let inputs = body.input.len();
    site.count(
        "one for each carried value, and 2",
        inputs == carried + 2,
        inputs,
    )?;
    let outputs = body.output.len();
    site.count(
        "an output for each carried value",
        outputs > carried,
        outputs,
    )?;
    let wanted = site.outputs.len();
    site.count(
        "an output of the subgraph for each",
        wanted < outputs,
        wanted,
    )?;
    Ok(outputs - carried - 1)
}

/// The most iterations, if there is a limit.
fn trips(site: &Site<'_>, reader: &Reader<'_>) -> Result<Option<i64>, GraphError> {
    let input = "M";
    let Some(tensor) = site.constant(reader, 0, input)? else {
        return Ok(None);
    };
    match tensor.data() {
        TensorData::I64(v) => Ok(v.first().copied()),
        TensorData::I32(v) => Ok(v.first().map(|&trips| trips.into())),
        _ => Err(site.error(OpError::ElementType {
            input,
            found: tensor.element_type(),
            expected: "int64",
        })),
    }
}

/// The condition of the first iteration.
fn condition(site: &Site<'_>, reader: &Reader<'_>) -> Result<Option<bool>, GraphError> {
    let input = "cond";
    let Some(tensor) = site.constant(reader, 1, input)? else {
        return Ok(None);
    };
    match tensor.as_bool() {
        Some(&[condition]) => Ok(Some(condition)),
        _ => Err(site.error(OpError::ElementType {
            input,
            found: tensor.element_type(),
            expected: "bool",
        })),
    }
}
