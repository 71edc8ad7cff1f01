//! If: the branch that a constant condition chooses.

use super::Site;
use crate::read::reader::Reader;
use crate::{GraphError, Op, OpError};

impl Reader<'_> {
    pub(super) fn branch(&mut self, mut site: Site<'_>) -> Result<(), GraphError> {
        let input = "cond";
        let given = (site.constant(self, 0, input)?)
            .ok_or_else(|| site.error(OpError::MissingInput { input }))?;
        let Some(&[condition]) = given.as_bool() else {
            return Err(site.error(OpError::ElementType {
                input,
                found: given.element_type(),
                expected: "bool",
            }));
        };
        let (then, other) = ("then_branch", "else_branch");
        site.finish(&[then, other])?;
        let chosen = site.subgraph(if condition { then } else { other })?;
        let inputs = chosen.input.len();
        site.count("a branch without inputs", inputs == 0, inputs)?;
        let depth = self.names.depth();
        let body = self.begin(&site, chosen)?;
        let results = self.iteration(&site, &body)?;
        self.names.leave(depth);
        let fits = site.outputs.len() <= results.len();
        site.count(
            "an output of the branch for each output",
            fits,
            results.len(),
        )?;
        for (output, result) in site.outputs.iter().zip(results) {
            if !output.is_empty() {
                self.emit(&site, Op::Identity, &[result], Some(output))?;
            }
        }
        Ok(())
    }
}
