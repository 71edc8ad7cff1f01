//! Einsum in terms of Transpose, MatMul and ReduceSum.
//!
//! The operands are combined one after the other. Labels that no later operand and no output has are
//! summed. Of two operands, the labels of both that stay are the batch of a MatMul, and those that
//! are summed are its inner axis.

use super::reductions::reduced;
use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Op, OpError, Reduction};

/// The operands are compared with each other.
const MOST_INPUTS: usize = 32;

type Composed = Result<Source, OpError>;

/// The axis of a subscript: a letter, or an axis of the ellipsis, counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Letter(char),
    Ellipsis(usize),
}

/// A value with the label of each axis.
struct Term {
    value: Source,
    labels: Vec<Label>,
}

pub(super) fn einsum(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let attribute = "equation";
    let equation = (site.attributes.string(attribute)?)
        .ok_or(OpError::MissingAttribute { attribute })?
        .replace(' ', "");
    let wrong = || OpError::Attribute {
        attribute,
        found: equation.chars().take(60).collect(),
        expected: "subscripts of each input, such as bij,bjk->bik",
    };
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (&equation[..], None),
    };
    if site.inputs.len() > MOST_INPUTS {
        return Err(OpError::InputCount {
            expected: "at most 32",
            found: site.inputs.len(),
        });
    }
    let subscripts: Vec<&str> = inputs.split(',').collect();
    if subscripts.len() != site.inputs.len() {
        return Err(wrong());
    }
    let mut terms = Vec::with_capacity(subscripts.len());
    for (i, subscript) in subscripts.into_iter().enumerate() {
        let value = site.source(i, "Inputs")?;
        let labels = labels(subscript, c.shape(value).len()).ok_or_else(wrong)?;
        terms.push(Term { value, labels });
    }
    let output = match output {
        Some(output) => {
            let ellipsis = terms.iter().map(|term| ellipsis(&term.labels));
            let longest = ellipsis.max().unwrap_or(0);
            let letters = output.replace("...", "").chars().count();
            labels(
                output,
                letters + if output.contains("...") { longest } else { 0 },
            )
            .ok_or_else(wrong)?
        }
        None => implicit(&terms),
    };
    let known = |label: &Label| terms.iter().any(|term| term.labels.contains(label));
    let twice = (output.iter().enumerate()).any(|(i, label)| output[..i].contains(label));
    if twice || !output.iter().all(known) {
        return Err(wrong());
    }
    check_sizes(c, &terms)?;
    combine(c, terms, &output)
}

/// The labels of a subscript for a value of `rank` axes.
fn labels(subscript: &str, rank: usize) -> Option<Vec<Label>> {
    let (before, after) = match subscript.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (subscript, None),
    };
    let letters = |text: &str| {
        let all = text.chars().all(|letter| letter.is_ascii_alphabetic());
        all.then(|| text.chars().map(Label::Letter).collect::<Vec<_>>())
    };
    let mut labels = letters(before)?;
    let after_letters = letters(after.unwrap_or(""))?;
    let rest = rank.checked_sub(labels.len() + after_letters.len())?;
    match after {
        Some(_) => labels.extend((0..rest).rev().map(Label::Ellipsis)),
        None if rest > 0 => return None,
        None => {}
    }
    labels.extend(after_letters);
    Some(labels)
}

fn ellipsis(labels: &[Label]) -> usize {
    let axes = labels
        .iter()
        .filter(|label| matches!(label, Label::Ellipsis(_)));
    axes.count()
}

/// Without an output in the equation: the ellipsis, then the letters that occur once, in the order
/// of the alphabet.
fn implicit(terms: &[Term]) -> Vec<Label> {
    let all: Vec<Label> = terms.iter().flat_map(|term| term.labels.clone()).collect();
    let longest = terms.iter().map(|term| ellipsis(&term.labels)).max();
    let mut letters: Vec<char> = (all.iter())
        .filter_map(|label| match label {
            Label::Letter(letter) => Some(*letter),
            Label::Ellipsis(_) => None,
        })
        .collect();
    letters.sort_unstable();
    let once = letters
        .chunk_by(|a, b| a == b)
        .filter(|same| same.len() == 1);
    let axes = (0..longest.unwrap_or(0)).rev().map(Label::Ellipsis);
    axes.chain(once.map(|same| Label::Letter(same[0])))
        .collect()
}

/// Checks that a label has one size, and that no input has a label twice.
fn check_sizes(c: &Composer<'_>, terms: &[Term]) -> Result<(), OpError> {
    let mut sizes: Vec<(Label, usize, Vec<usize>)> = Vec::new();
    for term in terms {
        let shape = c.shape(term.value);
        for (i, (&label, &size)) in term.labels.iter().zip(&shape).enumerate() {
            if term.labels[..i].contains(&label) {
                return Err(OpError::Unsupported {
                    feature: "an equation that has a letter twice in one input (a diagonal)",
                });
            }
            match sizes.iter().find(|(other, ..)| *other == label) {
                Some((_, other, first)) if *other != size => {
                    return Err(OpError::Incompatible {
                        first: first.clone(),
                        second: shape,
                    });
                }
                Some(_) => {}
                None => sizes.push((label, size, shape.clone())),
            }
        }
    }
    Ok(())
}

fn combine(c: &mut Composer<'_>, terms: Vec<Term>, output: &[Label]) -> Composed {
    let mut rest = terms.into_iter();
    let mut result = rest
        .next()
        .ok_or(OpError::MissingInput { input: "Inputs" })?;
    while let Some(next) = rest.next() {
        let later = rest.as_slice();
        let stays = |label: &Label| {
            output.contains(label) || later.iter().any(|term| term.labels.contains(label))
        };
        result = product(c, result, next, stays)?;
    }
    let result = summed(c, result, |label| output.contains(label))?;
    let order = places(&result.labels, output);
    transposed(c, result.value, order)
}

/// Sums the axes whose labels do not stay.
fn summed(
    c: &mut Composer<'_>,
    term: Term,
    stays: impl Fn(&Label) -> bool,
) -> Result<Term, OpError> {
    let axes: Vec<usize> = (term.labels.iter().enumerate())
        .filter(|(_, label)| !stays(label))
        .map(|(axis, _)| axis)
        .collect();
    let value = reduced(c, Reduction::Sum, term.value, &axes, false)?;
    let labels = term.labels.into_iter().filter(|label| stays(label));
    Ok(Term {
        value,
        labels: labels.collect(),
    })
}

/// The places of `wanted` in `labels`.
fn places(labels: &[Label], wanted: &[Label]) -> Vec<usize> {
    let place = |label: &Label| labels.iter().position(|other| other == label);
    wanted.iter().filter_map(place).collect()
}

fn transposed(c: &mut Composer<'_>, x: Source, perm: Vec<usize>) -> Composed {
    match perm.iter().copied().eq(0..perm.len()) {
        true => Ok(x),
        false => c.then(Op::Transpose { perm }, x),
    }
}

/// The product of two terms, summed over the labels that do not stay.
fn product(
    c: &mut Composer<'_>,
    a: Term,
    b: Term,
    stays: impl Fn(&Label) -> bool,
) -> Result<Term, OpError> {
    let a = {
        let other = &b.labels;
        summed(c, a, |label| stays(label) || other.contains(label))?
    };
    let b = {
        let other = &a.labels;
        summed(c, b, |label| stays(label) || other.contains(label))?
    };
    let of = |labels: &[Label], keep: &dyn Fn(&Label) -> bool| -> Vec<Label> {
        labels.iter().copied().filter(|label| keep(label)).collect()
    };
    let batch = of(&a.labels, &|label| b.labels.contains(label) && stays(label));
    let inner = of(&a.labels, &|label| {
        b.labels.contains(label) && !stays(label)
    });
    let left = of(&a.labels, &|label| !b.labels.contains(label));
    let right = of(&b.labels, &|label| !a.labels.contains(label));
    let x = grouped(c, &a, [&batch, &left, &inner])?;
    let y = grouped(c, &b, [&batch, &inner, &right])?;
    let z = c.node(Op::MatMul, &[x, y])?;
    let size = |c: &Composer<'_>, term: &Term, label: &Label| {
        let shape = c.shape(term.value);
        places(&term.labels, &[*label])
            .first()
            .map_or(1, |&axis| shape[axis])
    };
    let mut shape = Vec::new();
    for label in batch.iter().chain(&left) {
        shape.push(size(c, &a, label));
    }
    for label in &right {
        shape.push(size(c, &b, label));
    }
    let value = c.reshape(z, &shape)?;
    Ok(Term {
        value,
        labels: [batch, left, right].concat(),
    })
}

/// The term with one axis for each group of labels.
fn grouped(c: &mut Composer<'_>, term: &Term, groups: [&Vec<Label>; 3]) -> Composed {
    let all: Vec<Label> = groups.into_iter().flatten().copied().collect();
    let order = places(&term.labels, &all);
    let x = transposed(c, term.value, order)?;
    let shape = c.shape(x);
    let mut sizes = shape.iter();
    let joined = groups.map(|group| sizes.by_ref().take(group.len()).product::<usize>());
    c.reshape(x, &joined)
}
