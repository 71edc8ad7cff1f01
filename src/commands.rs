//! One file per subcommand.

pub mod check;
pub mod drive;
pub mod inspect;
