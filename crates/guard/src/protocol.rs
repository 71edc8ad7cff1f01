//! The messages between a guard and its clients, and which client may send which.

pub(crate) mod identity;
pub(crate) mod link;
mod peer_groups;
pub(crate) mod server;
pub(crate) mod socket_link;
pub(crate) mod users;
pub mod wire;
