//! Recordings as other programs leave them, read and written through the crate's public entries.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod damage;
mod formats;
mod logs;
mod marks;
mod properties;
mod support;
mod tubs;
mod writers;
