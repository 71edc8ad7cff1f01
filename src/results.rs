//! What `pilotage evaluate` and `pilotage race` share: the engines that are compared, tables, and
//! the files of the results.

mod engines;
mod statistics;
mod table;

pub(crate) use engines::{Compared, compared, safe, sha256_of_file};
pub(crate) use statistics::Statistics;
pub(crate) use table::{Table, number, value};

/// Bytes of the "MB" of the reference's tables of model sizes, which are mebibytes.
pub(crate) const MEBIBYTE: f64 = 1_048_576.0;
