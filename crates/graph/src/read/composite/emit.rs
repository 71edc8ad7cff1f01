//! Adds the nodes of a decomposition to the graph.

use std::collections::HashMap;

use super::{Recipe, Source};
use crate::read::composite;
use crate::read::reader::Reader;
use crate::read::scopes::shortened;
use crate::{GraphError, Node, Op, OpError, ValueId};

impl Reader<'_> {
    /// Adds the nodes of an operator that is read as several. The last one has the operator's name.
    pub(in crate::read) fn compose(
        &mut self,
        name: &str,
        operator: &str,
        recipe: Recipe,
        outputs: Vec<String>,
    ) -> Result<(), GraphError> {
        let Recipe {
            constants,
            parts,
            results,
        } = recipe;
        if outputs.len() > results.len() {
            return Err(GraphError::InNode {
                node: name.to_owned(),
                operator: operator.to_owned(),
                reason: OpError::Unsupported {
                    feature: "a further output",
                },
            });
        }
        if composite::unrolls(operator) || self.names.depth() > 0 {
            self.unroll(name, parts.len())?;
        }
        let prefix = shortened(name).to_owned();
        let mut wanted = HashMap::new();
        let mut copies = Vec::new();
        for (output, result) in outputs.into_iter().zip(results) {
            match result {
                _ if output.is_empty() => {}
                Source::Part(i) if !wanted.contains_key(&i) => {
                    wanted.insert(i, output);
                }
                _ => copies.push((output, result)),
            }
        }
        let constants = (constants.into_iter())
            .map(|tensor| {
                let name = self.fresh(&format!("{prefix}.constant"));
                self.constant(name, tensor)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut made: Vec<ValueId> = Vec::with_capacity(parts.len());
        let resolve = |source: Source, made: &[ValueId]| match source {
            Source::Value(id) => id,
            Source::Constant(i) => constants[i],
            Source::Part(i) => made[i],
        };
        let last = parts.len().saturating_sub(1);
        for (i, part) in parts.into_iter().enumerate() {
            let inner = format!("{prefix}.{}", part.op.name());
            let output = wanted.remove(&i).unwrap_or_else(|| self.fresh(&inner));
            let inputs = part.inputs.iter().map(|&input| resolve(input, &made));
            let inputs = inputs.collect();
            let id = self.value(output, part.of, None)?;
            made.push(id);
            self.fold_or_push(Node {
                name: if i == last {
                    name.to_owned()
                } else {
                    format!("{inner}_{i}")
                },
                op: part.op,
                inputs,
                outputs: vec![id],
            })?;
        }
        for (output, result) in copies {
            let from = resolve(result, &made);
            let of = self.graph.value(from).tensor_type();
            let id = self.value(output, of, None)?;
            self.fold_or_push(Node {
                name: name.to_owned(),
                op: Op::Identity,
                inputs: vec![from],
                outputs: vec![id],
            })?;
        }
        Ok(())
    }
}
