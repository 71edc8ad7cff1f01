//! Output shapes of broadcasting and matrix products.

use super::finite;
use crate::{Gemm, OpError};

/// NumPy's broadcasting: axes are aligned at the end, and their sizes are equal or 1.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, OpError> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (p, q) if p == q => Ok(p),
            (1, q) => Ok(q),
            (p, 1) => Ok(p),
            _ => Err(OpError::Incompatible {
                first: a.to_vec(),
                second: b.to_vec(),
            }),
        })
        .collect()
}

pub(super) fn gemm(
    g: &Gemm,
    a: &[usize],
    b: &[usize],
    c: Option<&[usize]>,
) -> Result<Vec<usize>, OpError> {
    finite("alpha", g.alpha)?;
    finite("beta", g.beta)?;
    let pair = |input, s: &[usize], transpose: bool| match (s, transpose) {
        (&[r, c], false) => Ok((r, c)),
        (&[r, c], true) => Ok((c, r)),
        _ => Err(OpError::Shape {
            input,
            found: s.to_vec(),
            expected: "two axes".into(),
        }),
    };
    let (m, k) = pair("A", a, g.transpose_a)?;
    let (k2, n) = pair("B", b, g.transpose_b)?;
    if k != k2 {
        return Err(OpError::Incompatible {
            first: a.to_vec(),
            second: b.to_vec(),
        });
    }
    if let Some(c) = c
        && broadcast(&[m, n], c)? != [m, n]
    {
        return Err(OpError::Shape {
            input: "C",
            found: c.to_vec(),
            expected: format!("broadcastable to {:?}", [m, n]),
        });
    }
    Ok(vec![m, n])
}

pub(super) fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, OpError> {
    let incompatible = || OpError::Incompatible {
        first: a.to_vec(),
        second: b.to_vec(),
    };
    // A vector is a single row on the left and a single column on the right. The axis that this
    // adds is removed again.
    let (rows, k, batch_a) = match *a {
        [] => return Err(incompatible()),
        [k] => (None, k, &a[..0]),
        [ref batch @ .., m, k] => (Some(m), k, batch),
    };
    let (columns, k2, batch_b) = match *b {
        [] => return Err(incompatible()),
        [k] => (None, k, &b[..0]),
        [ref batch @ .., k, n] => (Some(n), k, batch),
    };
    if k != k2 {
        return Err(incompatible());
    }
    let mut out = broadcast(batch_a, batch_b).map_err(|_| incompatible())?;
    out.extend(rows);
    out.extend(columns);
    Ok(out)
}
