//! Collects all nodes that are not supported, so that one attempt to read a model names them all.

use std::collections::HashSet;

use super::order;
use crate::GraphError;
use crate::onnx::NodeProto;

/// The errors of nodes, and the values that could not be read because of them.
#[derive(Default)]
pub(super) struct Refusals {
    problems: Vec<GraphError>,
    unread: HashSet<String>,
}

impl Refusals {
    /// Whether the node reads a value whose type is unknown because of an earlier refusal.
    pub(super) fn affect(&self, node: &NodeProto) -> bool {
        !self.unread.is_empty()
            && (order::reads(node).into_iter()).any(|name| self.unread.contains(name))
    }

    /// Marks the outputs of a node that could not be read.
    pub(super) fn unread(&mut self, outputs: Vec<String>) {
        // An omitted output has no name.
        self.unread
            .extend(outputs.into_iter().filter(|name| !name.is_empty()));
    }

    /// Adds the error of a node. An error that does not concern a single node is returned, unless
    /// it may result from an earlier one.
    pub(super) fn add(&mut self, error: GraphError) -> Result<(), GraphError> {
        match error {
            // The errors of a subgraph.
            GraphError::Several { problems } => problems
                .into_iter()
                .try_for_each(|problem| self.add(problem)),
            GraphError::UnsupportedOperator {
                nodes,
                operator,
                domain,
                opset,
            } => {
                let same = self.problems.iter_mut().find_map(|problem| match problem {
                    GraphError::UnsupportedOperator {
                        nodes,
                        operator: other,
                        domain: of,
                        ..
                    } if *other == operator && *of == domain => Some(nodes),
                    _ => None,
                });
                match same {
                    Some(listed) => listed.extend(nodes),
                    None => self.problems.push(GraphError::UnsupportedOperator {
                        nodes,
                        operator,
                        domain,
                        opset,
                    }),
                }
                Ok(())
            }
            error @ (GraphError::InNode { .. } | GraphError::UnsupportedElementType { .. }) => {
                self.problems.push(error);
                Ok(())
            }
            error if self.problems.is_empty() => Err(error),
            _ => Err(self.take()),
        }
    }

    /// # Errors
    /// The problems, if there are any.
    pub(super) fn finish(mut self) -> Result<(), GraphError> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(self.take()),
        }
    }

    fn take(&mut self) -> GraphError {
        let mut problems = std::mem::take(&mut self.problems);
        match (problems.pop(), problems.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                problems.extend(last);
                GraphError::Several { problems }
            }
        }
    }
}
