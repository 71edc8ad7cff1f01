//! The tap: records of what a pilot does, frame by frame, for observers in other processes.
//!
//! The pilot makes a shared memory at start ([`Tap::create`]) with a ring of [`FrameRecord`]s and small
//! rings of camera pictures and of a lidar's scans, and fills it as it drives ([`Tap::publish`],
//! [`Tap::offer_picture`], [`Tap::offer_scan`]). A thread of its own ([`TapServer`]) passes a read-only descriptor of
//! that memory to observers over a Unix socket. An [`Observer`] maps the memory and reads.
//!
//! # Rules
//! - The pilot's loop waits for no observer, takes no lock, makes no system call and allocates
//!   nothing, however many observers there are and whatever they do. A slow observer loses records and
//!   counts them ([`Observer::lost`]).
//! - An observer cannot write to the shared memory. It sends three messages of fixed size over its
//!   socket: hello, pictures, stop.
//! - A picture is copied only while an observer requests pictures, at most
//!   [`MAX_PICTURES_PER_SECOND`] a second.
//!
//! # The rings
//! Each slot begins with a stamp, which is odd while the slot is written. The stamp also encodes
//! the record's number, so that a reader detects both a torn and an overwritten record. This is a
//! sequence lock; the orderings are those of H.-J. Boehm, "Can seqlocks get along with programming
//! language memory models?", MSPC 2012. The crate's `layout` module has the positions of the words.

#![forbid(unsafe_code)]

mod codes;
mod error;
mod inputs;
mod layout;
mod observer;
mod picture;
mod protocol;
mod record;
mod requests;
mod ring;
mod scan;
mod server;
mod tap;

pub use codes::{FaultDetail, GuardState};
pub use error::{CreateError, ObserveError, ServeError};
pub use inputs::{EngineInputs, MAX_COMMANDS};
pub use layout::{LONGEST_NAME, MAX_TRACK_POINTS, VERSION};
pub use observer::{Observer, Stopper};
pub use picture::{Picture, PictureView, PixelFormat};
pub use protocol::MAX_OBSERVERS;
pub use record::{FrameRecord, Gap, MAX_OUTPUTS, Sensed, Simulated, flags};
pub use requests::MAX_PICTURES_PER_SECOND;
pub use scan::NumberedScan;
pub use server::TapServer;
pub use tap::{Drive, Source, Tap};
