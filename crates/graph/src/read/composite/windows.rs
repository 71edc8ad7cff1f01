//! Convolution and pooling of sequences, as those of pictures with one row, and global pooling.

use super::{Composer, Source};
use crate::read::operators::{Site, windows};
use crate::{Op, OpError, Reduction};

type Composed = Result<Source, OpError>;

/// A row before the last axis.
fn row(c: &mut Composer<'_>, x: Source) -> Composed {
    c.then(Op::Unsqueeze { axes: vec![2] }, x)
}

fn sequence(c: &mut Composer<'_>, picture: Source) -> Composed {
    c.then(Op::Squeeze { axes: vec![2] }, picture)
}

pub(super) fn conv(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "2 or 3")?;
    let op = windows::conv(site)?;
    let (x, w) = (site.source(0, "X")?, site.source(1, "W")?);
    let mut inputs = vec![row(c, x)?, row(c, w)?];
    inputs.extend(site.optional(2));
    let y = c.node(op, &inputs)?;
    sequence(c, y)
}

pub(super) fn pool(c: &mut Composer<'_>, site: &mut Site<'_>, operator: &str) -> Composed {
    let reading = windows::pool(site, operator == "MaxPool")?;
    let x = site.only()?;
    let x = row(c, x)?;
    let y = c.shaped(reading.op, &[x], &reading.declared)?;
    sequence(c, y)
}

/// The mean or maximum of all axes after the channels.
pub(super) fn global(c: &mut Composer<'_>, site: &Site<'_>, operator: &str) -> Composed {
    let reduction = match operator {
        "GlobalMaxPool" => Reduction::Max,
        _ => Reduction::Mean,
    };
    let x = site.only()?;
    let shape = c.shape(x);
    if shape.len() < 3 {
        return Err(OpError::Shape {
            input: "X",
            found: shape,
            expected: "(N, C, D1, ...)".into(),
        });
    }
    let axes: Vec<usize> = (2..shape.len()).collect();
    super::reductions::reduced(c, reduction, x, &axes, true)
}
