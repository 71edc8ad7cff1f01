//! Subcommands with a file of their own.

pub(crate) mod optimise;
