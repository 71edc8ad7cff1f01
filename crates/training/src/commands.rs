//! Subcommands with a file of their own.

pub(crate) mod optimise;
pub(crate) mod search;
