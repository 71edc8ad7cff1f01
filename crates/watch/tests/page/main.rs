//! The page over sockets.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod harness;
mod recordings;
mod server;
mod wheel;
