//! Compares what an engine answers to the pictures of a recording with what the driver did.
//!
//! [`answers`] sends every picture through the pilot of a drive ([`replayer`]): its vision, engine,
//! decoder and mixer. [`compare`] pairs the answers with the recorded values, in one unit; [`figures`] are the
//! errors, and [`page`] is the report.

pub(crate) mod answers;
pub(crate) mod compare;
pub(crate) mod figures;
pub(crate) mod page;
pub(crate) mod replayer;
pub(crate) mod sheet;
pub(crate) mod worst;
