//! `pilotage arm --while-held`: the car is armed only while the operator holds a key down in this
//! terminal.
//!
//! A held key repeats; each repeat renews the guard's lease for a moment. When the key is released,
//! or the connection to the terminal (ssh over Wi-Fi) is lost, no repeats arrive, and the car is
//! stopped. When this program dies or is suspended, the guard ends the lease itself.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pilotage_console::print;
use pilotage_guard::{CommandLink, SocketLink, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Longest time from the press of a key to its first repeat: keyboards wait 0.25 to 0.7 s.
const FIRST_REPEAT: Duration = Duration::from_secs(1);
/// Longest pause between repeats: a keyboard sends one each 30 to 100 ms, and Wi-Fi delays some.
const REPEAT: Duration = Duration::from_millis(400);
/// How often the lease is renewed while the key is held: several times while it lasts.
const RENEW: Duration = Duration::from_millis(75);

/// Arms the car while a key is held.
///
/// # Errors
/// Fails without a terminal, or if the guard refuses or is gone; the car is stopped then.
pub(super) fn arm(mut link: SocketLink, car: &str) -> anyhow::Result<ExitCode> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&interrupted);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))?;
    let keys = Keys::open()?;
    print("hold a key down, such as the space bar: the car is armed until you release it");
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(ExitCode::FAILURE);
        }
        match keys.wait(RENEW)? {
            Typed::Key => break,
            Typed::Nothing => {}
            Typed::Closed => bail!("the terminal is closed"),
        }
    }
    let mut held = Held::pressed(Instant::now());
    // Before the car is armed: there is no moment without a lease. If this program fails from here
    // on, the guard stops the car when the connection is closed.
    link.lease(true)?;
    super::arm_pilot(&mut link, car)?;
    loop {
        match keys.wait(RENEW)? {
            Typed::Key => held.repeated(Instant::now()),
            Typed::Nothing => {}
            Typed::Closed => break,
        }
        if interrupted.load(Ordering::Relaxed) || !held.is_held(Instant::now()) {
            break;
        }
        link.lease(true)?;
        match link.status().state {
            State::Stopped { reason } => bail!("{car}: stopped: {reason}"),
            State::Disarmed => bail!("{car}: disarmed by another operator"),
            _ => {}
        }
    }
    link.lease(false)?;
    link.refresh()?;
    Ok(super::reached(car, "released: stopped", &link.status()))
}

/// Whether a key is held, by the times of its repeats.
struct Held {
    last: Instant,
    repeats: bool,
}

impl Held {
    const fn pressed(now: Instant) -> Self {
        Self {
            last: now,
            repeats: false,
        }
    }

    const fn repeated(&mut self, now: Instant) {
        (self.last, self.repeats) = (now, true);
    }

    fn is_held(&self, now: Instant) -> bool {
        let longest = if self.repeats { REPEAT } else { FIRST_REPEAT };
        now.saturating_duration_since(self.last) < longest
    }
}

/// What came from the terminal.
enum Typed {
    Key,
    Nothing,
    Closed,
}

/// A terminal that reports each key at once and does not show it. The keys of signals, such as
/// Ctrl-C, keep their effect.
struct Keys {
    before: Termios,
}

impl Keys {
    fn open() -> anyhow::Result<Self> {
        if !io::stdin().is_terminal() {
            bail!("--while-held reads keys: run it in a terminal (`ssh -t`)");
        }
        let before = tcgetattr(stdin()).context("the terminal")?;
        let mut raw = before.clone();
        raw.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        // Keys that were typed before are dropped: they are not held now.
        tcsetattr(stdin(), OptionalActions::Flush, &raw).context("the terminal")?;
        Ok(Self { before })
    }

    /// Waits for a key for at most `time`; several keys count as one.
    fn wait(&self, time: Duration) -> io::Result<Typed> {
        let mut terminal = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: time.subsec_nanos().into(),
        };
        match poll(&mut terminal, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Typed::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match read(stdin(), &mut [0_u8; 256]) {
            Ok(0) | Err(Errno::IO) => Ok(Typed::Closed),
            Ok(_) => Ok(Typed::Key),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Typed::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that is closed needs no modes.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlasts_late_renewals() {
        assert!(RENEW * 4 <= pilotage_guard::wire::LEASE);
    }

    #[test]
    fn a_key_is_held_as_long_as_it_repeats() {
        let pressed = Instant::now();
        let mut held = Held::pressed(pressed);
        let first = pressed + FIRST_REPEAT - Duration::from_millis(1);
        assert!(held.is_held(first));
        assert!(!held.is_held(pressed + FIRST_REPEAT), "it was only pressed");
        held.repeated(first);
        assert!(held.is_held(first + REPEAT - Duration::from_millis(1)));
        assert!(
            !held.is_held(first + REPEAT),
            "released, or the line is lost"
        );
    }
}
