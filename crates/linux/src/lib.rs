//! Linux system calls for which no maintained crate has a safe wrapper: real-time priority, signals, a
//! timer that kills, a peer's groups, shared memory, and I2C. The functions are safe; each `unsafe`
//! block states why.

pub mod i2c;
mod kill_timer;
mod peer;
mod process;
mod shared_memory;
pub mod signals;

pub use kill_timer::KillTimer;
pub use peer::peer_groups;
pub use process::{limit_to_one_heap, real_time};
pub use shared_memory::{SharedMemory, SharedView};
