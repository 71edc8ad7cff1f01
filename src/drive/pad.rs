//! What the operator drives with: a gamepad, or the page.

use std::os::fd::OwnedFd;

use anyhow::Context;
use pilotage_gamepad::{Gamepad, GamepadConfig};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Request;

/// An operator's gamepad.
pub(super) struct Pad<'a> {
    /// How it is opened again; `None` for the page, which cannot be.
    pub(super) config: Option<&'a GamepadConfig>,
    pub(super) pad: Gamepad,
    /// Where the page writes.
    pub(super) page: Option<OwnedFd>,
}

impl<'a> Pad<'a> {
    /// The gamepad that drives the car of `request`.
    ///
    /// # Errors
    /// Fails if there is no such gamepad, or no pipe for the page.
    pub(super) fn open(request: &'a Request) -> anyhow::Result<Self> {
        let car = &request.car;
        if request.by_page {
            let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
            let (reads, writes) = pipe.context("the system has no pipe for the page")?;
            return Ok(Self {
                config: None,
                pad: Gamepad::of_page(reads, &car.limits)
                    .context("the page's pipe cannot be read")?,
                page: Some(writes),
            });
        }
        let config = car.gamepad.as_ref().context(
            "car.toml has no [gamepad]: the line `[gamepad]` alone takes the first pad that fits \
             (docs/car.md); or drive with the page: --by-page",
        )?;
        Ok(Self {
            config: Some(config),
            pad: Gamepad::open(config, &car.limits)?,
            page: None,
        })
    }

    /// What its buttons do, in one line.
    pub(super) fn buttons(&self) -> String {
        if self.page.is_some() {
            return "take the wheel on the page to drive".to_owned();
        }
        let mapping = self.pad.mapping();
        format!(
            "hold {} to drive, {} arms, {} stops",
            mapping.dead_man, mapping.arm, mapping.stop
        )
    }
}
