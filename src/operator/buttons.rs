//! The operator's buttons while an engine drives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pilotage_gamepad::{Gamepad, GamepadConfig};
use pilotage_guard::Limits;
use pilotage_vehicle::monotonic;

use super::{ButtonActions, Operator, SEARCH_INTERVAL};
use crate::high_level::{self, Commands};

/// The interval at which the thread checks whether it must end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Reads the arm and stop buttons on a separate thread, so that a pilot that waits for its camera or
/// hangs does not delay a stop. Dropping this ends the thread.
#[derive(Debug)]
pub struct Buttons {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Buttons {
    /// Reads the gamepad of `config`, present or plugged in later, and reports each event to `say`. Its
    /// buttons set `commands`, too.
    ///
    /// # Errors
    /// Fails if the system cannot create a thread.
    pub fn start(
        config: GamepadConfig,
        limits: Limits,
        operator: Operator,
        commands: Option<Arc<Commands>>,
        say: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let thread = {
            let end = Arc::clone(&end);
            let name = std::thread::Builder::new().name("gamepad".to_owned());
            name.spawn(move || {
                read(
                    (&config, commands.as_deref()),
                    &limits,
                    operator,
                    &say,
                    &end,
                )
            })?
        };
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Buttons {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(
    (config, commands): (&GamepadConfig, Option<&Commands>),
    limits: &Limits,
    mut operator: Operator,
    say: &impl Fn(&str),
    end: &AtomicBool,
) {
    let mut actions = ButtonActions::default();
    let mut pad = None;
    let mut tried = None;
    let mut missed = false;
    while !end.load(Ordering::Acquire) {
        let now = monotonic();
        let Some(open) = &mut pad else {
            if tried.is_none_or(|tried| now.since(tried) >= SEARCH_INTERVAL) {
                tried = Some(now);
                match Gamepad::open(config, limits) {
                    Ok(found) => {
                        say(&format!("{}: its buttons arm and stop", found.describe()));
                        pad = Some(found);
                        continue;
                    }
                    Err(error) if !missed => {
                        say(&format!(
                            "{error}; use `pilotage stop` until a gamepad is found"
                        ));
                        missed = true;
                    }
                    Err(_) => {}
                }
            }
            std::thread::sleep(POLL_INTERVAL);
            continue;
        };
        open.wait(POLL_INTERVAL);
        let now = monotonic();
        if let Err(error) = open.read(now) {
            // Before anything else: stop the car.
            let stopped = actions.lost(&mut operator);
            say(&error.to_string());
            pad = None;
            missed = true;
            if let Err(error) = stopped {
                say(&error.to_string());
            }
            continue;
        }
        let hand = open.hand();
        let presses = hand.take_presses();
        actions.apply(presses, &mut operator, say);
        high_level::press(commands, &config.commands, presses.command, say);
        // The axes drive nothing here.
        while let Some(notice) = hand.notice(now, false) {
            say(&notice.to_string());
        }
    }
}
