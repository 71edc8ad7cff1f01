//! What a guard and its clients say to each other, and who may say it.

pub(crate) mod identity;
pub(crate) mod link;
pub(crate) mod server;
pub(crate) mod socket_link;
pub(crate) mod users;
pub mod wire;
