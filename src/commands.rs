//! One file per subcommand.

pub mod bench;
pub mod check;
pub mod compile;
pub mod doctor;
pub mod drive;
pub mod guard;
pub mod inspect;
