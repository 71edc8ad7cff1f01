//! Lidars on a serial port: LDROBOT's LD06, LD19 and STL-19P.
//!
//! [`packet`] reads the bytes, and [`turn`] makes whole turns of them into scans. [`Lidar`] is a running
//! lidar with the thread that reads it; [`look`] reads one for some seconds and says how it does.

mod config;
mod error;
mod look;
pub mod packet;
mod port;
mod running;
pub mod turn;

pub use config::{LidarConfig, Sector};
pub use error::LidarError;
pub use look::{Sight, look};
pub use running::Lidar;
