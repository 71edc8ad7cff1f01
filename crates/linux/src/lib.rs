//! Safe wrappers of Linux and libc functions for which no maintained crate has one: real-time
//! priority, the number of heaps, signals, a timer that kills this process, a peer's groups, shared
//! memory, and I2C. And the opening of serial ports, which guard and lidar share. Each `unsafe` block states why it is sound.

mod exchange;
pub mod i2c;
mod kill_timer;
mod peer;
mod process;
pub mod serial;
mod shared_memory;
pub mod signals;

pub use exchange::{Exchange, Side};
pub use kill_timer::KillTimer;
pub use peer::peer_groups;
pub use process::{limit_to_one_heap, real_time};
pub use shared_memory::{SharedMemory, SharedView};
