//! Logic of values that are computed at run time, in float32, and choices by it.

use super::{Composer, Source};
use crate::read::constants::triangle_mask;
use crate::read::operators::Site;
use crate::{Comparison, ElementType, Function, Op, OpError, Tensor};

type Composed = Result<Source, OpError>;

/// A bool as 0 or 1.
fn number(c: &mut Composer<'_>, x: Source, input: &'static str) -> Composed {
    let found = c.of(x).element_type;
    if found != ElementType::Bool {
        return Err(OpError::ElementType {
            input,
            found,
            expected: "bool",
        });
    }
    c.then(
        Op::Cast {
            to: ElementType::F32,
        },
        x,
    )
}

fn holds(c: &mut Composer<'_>, x: Source) -> Composed {
    c.then(
        Op::Cast {
            to: ElementType::Bool,
        },
        x,
    )
}

/// And, Or and Xor.
pub(super) fn of_two(c: &mut Composer<'_>, site: &Site<'_>, operator: &str) -> Composed {
    site.at_most(2, "2")?;
    let (a, b) = (site.source(0, "A")?, site.source(1, "B")?);
    let inputs = [number(c, a, "A")?, number(c, b, "B")?];
    let result = match operator {
        "And" => c.node(Op::Mul, &inputs)?,
        "Or" => c.node(Op::Max, &inputs)?,
        _ => {
            let difference = c.node(Op::Sub, &inputs)?;
            c.then(Op::Function(Function::Abs), difference)?
        }
    };
    holds(c, result)
}

pub(super) fn not(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    let x = site.only()?;
    let x = number(c, x, "X")?;
    opposite(c, x)
}

fn opposite(c: &mut Composer<'_>, x: Source) -> Composed {
    let one = c.number(x, 1.0)?;
    let result = c.node(Op::Sub, &[one, x])?;
    holds(c, result)
}

/// NaN compares unequal to itself.
pub(super) fn is_nan(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    let x = site.only()?;
    let same = c.node(Op::Compare(Comparison::Equal), &[x, x])?;
    let same = number(c, same, "X")?;
    opposite(c, same)
}

/// The upper or lower triangle of the last two axes; the other elements are 0.
pub(super) fn triangle(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let x = site.source(0, "input")?;
    let shape = c.shape(x);
    let mask = triangle_mask(site, &shape)?;
    let last = &shape[shape.len().saturating_sub(2)..];
    let mask = Tensor::new(last, mask).map_err(|e| OpError::TooLarge { shape: e.shape })?;
    let mask = c.constant(mask);
    let zero = c.number(x, 0.0)?;
    c.node(Op::Where, &[mask, x, zero])
}
