//! The kernel's V4L2 interface for the crate `v4l`: bindings written once by bindgen
//! (`generate.sh`, from Linux 6.1's headers) and kept, so that no build needs libclang.
//!
//! x86-64 and aarch64 lay these structures out alike: the generated assertions hold in a
//! build for either, and the tests hold them against the C compilers' own headers.
//!
//! What `v4l` does with a panic is here a second time: [`controls`].

#[allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    reason = "bindgen wrote it, with the kernel's names"
)]
mod bindings;
#[allow(unsafe_code, reason = "an ioctl")]
mod controls;

pub use bindings::*;
pub use controls::{Description, controls};
