//! Driving a real car by hand. The loop reads the gamepad itself: if the read hangs, no commands
//! are sent, and the guard stops the car at its deadline.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use pilotage_console::print_within;
use pilotage_guard::notify::Manager;
use pilotage_guard::{ArmRequest, Link, LinkError, SocketLink, State};
use pilotage_vehicle::{Command, Domain, Time, monotonic};

use super::watch::{Watch, say, say_the_end};
use super::{PATIENCE, catch_signals};
use crate::car::Car;
use crate::gamepad::{AGAIN, DriveRequest, Gamepad, GamepadConfig, GamepadError, Operator, Orders};
use crate::guarded::GuardConnection;
use crate::live::{LiveLine, Numbers, Progress};
use crate::recorder::{FrameTaker, Steered};
use crate::report::HandReport;

/// The longest interval between two commands.
const TICK: Duration = Duration::from_millis(20);

/// The recording of a drive.
pub struct Recording {
    /// Records frames and the operator's commands.
    pub frames: FrameTaker,
    /// The operator's current steering and throttle.
    pub steered: Arc<Steered>,
    /// The number of recorded frames after which the drive ends.
    pub wanted: Option<u64>,
}

/// How a drive ended.
enum End {
    Signal,
    /// A folder's pictures have all been shown.
    Pictures,
    /// The requested number of frames was recorded.
    Recorded,
    Guard(LinkError),
}

/// Drives by hand until a signal ends it, the guard is gone, or the recording is complete.
///
/// # Errors
/// Fails if something that is needed does not exist or is not valid; nothing has moved then.
pub fn run(
    car: &Car,
    file: Option<&Path>,
    recording: Option<Recording>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let file = file.context("driving by hand needs a real car: name its car.toml with --car")?;
    let file = std::path::absolute(file).with_context(|| file.display().to_string())?;
    anyhow::ensure!(
        car.capture.is_some(),
        "driving by hand needs a real car, or `actuator.kind = \"dry-run\"`; this car.toml \
         describes the simulated one"
    );
    let config = car.gamepad.as_ref().context(
        "car.toml has no [gamepad]: the line `[gamepad]` alone takes the first pad that fits \
         (docs/car.md)",
    )?;
    let signalled = catch_signals()?;
    let mut manager = Manager::from_environment();
    let pad = Gamepad::open(config, &car.limits)?;
    // Drop order: `link` before `own`, so that a guard that was started here ends.
    let GuardConnection { own, mut link } = GuardConnection::reach(&car.guarded(), &file)?;
    // No engine drives: an operator drives in the physical world.
    link.hello(Domain::Physical, &car.guarded().identification())?;
    let (gamepad, mapping) = (pad.describe(), *pad.mapping());
    say(&format!(
        "{}: by hand with {gamepad}; motors {}; hold {} to drive, {} arms, {} stops",
        car.name,
        car.actuator.describe(),
        mapping.dead_man,
        mapping.arm,
        mapping.stop
    ));
    manager.ready();
    if car.limits.spec().actuator == Domain::Simulated {
        // Nothing moves in a dry run, so it is armed at once; the guard refuses this for any other
        // car.
        let engine = Domain::Physical;
        link.arm(monotonic(), ArmRequest { engine })
            .context("the guard did not arm the dry run")?;
    }
    let mut hand_loop = HandLoop::new(car, config, pad, link);
    let live = LiveLine::start(!json);
    let started = Instant::now();
    let end = loop {
        if signalled.load(Ordering::Relaxed) {
            break End::Signal;
        }
        manager.alive(monotonic());
        let wish = match hand_loop.step(recording.as_ref()) {
            Ok(wish) => wish,
            Err(error) => break End::Guard(error),
        };
        live.show(numbers(
            hand_loop.link.status().state,
            wish,
            hand_loop.stop_proven(),
        ));
        if let Some(recording) = &recording {
            let written = recording.frames.counters().written;
            if recording.wanted.is_some_and(|wanted| written >= wanted) {
                break End::Recorded;
            }
            if recording.frames.ended() {
                break End::Pictures;
            }
        }
    };
    drop(live);
    let disarmed = match end {
        End::Guard(error) => Err(error),
        End::Signal | End::Pictures | End::Recorded => hand_loop.link.disarm(monotonic()),
    };
    say_the_end(disarmed, own.is_some());
    let report = HandReport {
        outcome: match end {
            End::Signal => "ended by a signal".to_owned(),
            End::Pictures => "all pictures have been shown".to_owned(),
            End::Recorded => "the frames that were asked for are recorded".to_owned(),
            End::Guard(error) => error.to_string(),
        },
        car: car.name.clone(),
        gamepad: match hand_loop.stop_proven() {
            true => gamepad,
            false => format!("{gamepad}, its stop button not proven"),
        },
        actuator: car.actuator.kind.to_string(),
        wall_seconds: started.elapsed().as_secs_f64(),
        commands: hand_loop.sequence,
        guard: hand_loop.link.status().counters.into(),
        // Wait until the last frames are written, then count.
        recording: recording.map(|recording| recording.frames.finish()),
    };
    let text = match json {
        true => report.json()?,
        false => report.table(),
    };
    print_within(text, PATIENCE);
    Ok(match end {
        End::Guard(_) => ExitCode::FAILURE,
        End::Signal | End::Pictures | End::Recorded => ExitCode::SUCCESS,
    })
}

/// The state of the loop.
struct HandLoop<'a> {
    car: &'a Car,
    config: &'a GamepadConfig,
    pad: Option<Gamepad>,
    orders: Orders,
    link: SocketLink,
    watch: Watch,
    /// The time of the latest arming, as the guard reported it.
    armed: Option<Time>,
    /// The latest time at which all of the gamepad's reports had been read.
    read_at: Time,
    /// When the next command is due.
    due: Time,
    /// When the program last tried to open a lost gamepad.
    tried: Time,
    driven: bool,
    sequence: u64,
}

impl<'a> HandLoop<'a> {
    fn new(car: &'a Car, config: &'a GamepadConfig, pad: Gamepad, link: SocketLink) -> Self {
        let now = monotonic();
        Self {
            car,
            config,
            pad: Some(pad),
            orders: Orders::new(Operator::new(car.guarded())),
            link,
            watch: Watch::default(),
            armed: None,
            read_at: now,
            due: now,
            tried: now,
            driven: false,
            sequence: 0,
        }
    }

    /// Waits for the gamepad or until the next command is due, and sends the command.
    fn step(&mut self, recording: Option<&Recording>) -> Result<DriveRequest, LinkError> {
        let patience = self.due.since(monotonic());
        match &self.pad {
            Some(pad) => pad.wait(patience),
            None => std::thread::sleep(patience),
        }
        let now = monotonic();
        // First: an arming that has come since must lock the axes before they are read.
        self.link.advance_to(now)?;
        let before = self.link.status().state;
        self.arming(now, before);
        let wish = match self.read(now) {
            Ok(wish) => wish,
            Err(error) => {
                // Before anything else: stop the car.
                let stopped = self.orders.lost();
                self.pad = None;
                self.tried = now;
                say(&error.to_string());
                if let Err(error) = stopped {
                    say(&error.to_string());
                }
                DriveRequest::default()
            }
        };
        // A release is sent at once.
        if now >= self.due || self.driven != wish.driven {
            self.due = now + TICK.min(self.car.limits.spec().frame_period);
            self.send(now, wish, before)?;
        }
        self.driven = wish.driven;
        self.link.advance_to(now)?;
        let state = self.link.status().state;
        self.watch.state(state);
        if let Some(recording) = recording {
            let drives = wish.driven && matches!(state, State::Driving(_));
            recording.steered.set(drives, wish.steering, wish.throttle);
        }
        Ok(wish)
    }

    /// After each arming the axes must be seen at rest again.
    fn arming(&mut self, now: Time, state: State) {
        let armed = match state {
            State::Armed(armed) => Some(armed.armed),
            State::Driving(driving) => Some(driving.armed),
            State::Disarmed | State::Stopped { .. } | State::Trimming(_) => None,
        };
        if armed.is_some()
            && armed != self.armed
            && let Some(pad) = &mut self.pad
        {
            pad.hand().armed(now);
        }
        self.armed = armed;
    }

    /// Whether the stop button was pressed since the gamepad was opened.
    fn stop_proven(&mut self) -> bool {
        let pad = self.pad.as_mut();
        pad.is_some_and(|pad| pad.hand().stop_proven())
    }

    /// The operator's wish. If the gamepad is lost, it is searched for.
    fn read(&mut self, now: Time) -> Result<DriveRequest, GamepadError> {
        if self.pad.is_none() && now.since(self.tried) >= AGAIN {
            self.tried = now;
            if let Ok(found) = Gamepad::open(self.config, &self.car.limits) {
                say(&format!("{}: the gamepad is back", found.describe()));
                self.pad = Some(found);
            }
        }
        let Some(pad) = &mut self.pad else {
            return Ok(DriveRequest::default());
        };
        if pad.read(now)? {
            self.read_at = now;
        }
        let hand = pad.hand();
        let presses = hand.take_presses();
        let wish = hand.wish(now);
        self.orders.obey(presses, &say);
        while let Some(notice) = hand.notice(now, true) {
            say(&notice.to_string());
        }
        Ok(match presses.stop || presses.stop_held {
            true => DriveRequest::default(),
            false => wish,
        })
    }

    /// Sends the operator's wish; the guard was in `state` before the wish was read.
    fn send(&mut self, now: Time, wish: DriveRequest, state: State) -> Result<(), LinkError> {
        // In any other state a command moves nothing, and would only be refused.
        if self.pad.is_none() || !matches!(state, State::Armed(_) | State::Driving(_)) {
            return Ok(());
        }
        self.sequence += 1;
        let command = Command {
            steering: wish.steering,
            throttle: wish.throttle,
            captured: self.read_at,
            sequence: self.sequence,
        };
        match self.link.send_at(now, command) {
            // If the guard takes no commands, it stops the car at its deadline, or its watcher
            // does.
            Ok(()) | Err(LinkError::QueueFull) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn numbers(state: State, wish: DriveRequest, proven: bool) -> Numbers {
    Numbers {
        progress: Progress::Hand {
            state,
            steering: wish.steering,
            throttle: wish.throttle,
            driven: wish.driven,
            proven,
        },
        inference: 0.0,
        loop_p99: 0.0,
        fallback: false,
    }
}
