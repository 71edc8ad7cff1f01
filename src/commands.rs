//! One file per subcommand; `operator` has the four that an operator sends to a guard.

pub mod bench;
pub mod check;
pub mod command;
pub mod compile;
pub mod data;
pub mod doctor;
pub mod drive;
pub mod evaluate;
pub mod film;
pub mod gamepad;
pub mod gpu_engine;
pub mod gpu_plan;
pub mod guard;
pub mod inspect;
pub mod log;
pub mod operator;
pub mod race;
pub mod record;
pub mod replay;
pub mod shell;
pub mod trim;
pub mod why;
