//! An operator drives with a gamepad. The loop reads the gamepad itself: if the read hangs, no
//! commands are sent, and the guard stops the car at its deadline.

use std::sync::Arc;
use std::time::Duration;

use pilotage_camera::{Camera, CameraError};
use pilotage_gamepad::{DriveRequest, Gamepad, GamepadConfig, GamepadError};
use pilotage_guard::{CommandLink, Limits, LinkError, OperatorLink, SocketLink, State};
use pilotage_tap::Sensed;
use pilotage_vehicle::{Command, Domain, Scan, Time, monotonic};
use pilotage_vision::{Frame, FrameView, PixelFormat};

use super::driver::{Driver, Iteration};
use super::watch::say;
use crate::high_level::{self, Commands};
use crate::operator::{ButtonActions, Operator, Requests, SEARCH_INTERVAL};
use crate::pilot::StepError;
use crate::report::{DriveReport, HandPart};
use crate::sensors::{GuardSpeed, Lidar, Sensors, SimulatedSensors};
use crate::simulation::OutOfProcessCamera;

/// The longest interval between two commands.
const TICK: Duration = Duration::from_millis(20);

/// An operator with a gamepad.
pub struct HandDriver {
    /// How a lost gamepad is opened again; `None` if it cannot be.
    config: Option<GamepadConfig>,
    limits: Limits,
    pad: Option<Gamepad>,
    gamepad: String,
    actions: ButtonActions,
    /// Sends the operator's requests; `None` for the simulated car, whose guard only has the
    /// pilot's connection.
    operator: Option<Operator>,
    link: SocketLink,
    view: Option<SimulatedView>,
    /// The high-level commands, if a recording keeps them.
    commands: Option<Arc<Commands>>,
    /// Where a recording reads the speed that the guard reports.
    speed: Option<GuardSpeed>,
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

/// The simulated camera. The loop itself takes its frames, and the world advances with them.
pub struct SimulatedView {
    camera: OutOfProcessCamera,
    frame: Frame,
    sensors: SimulatedSensors,
    /// What the sensors gave at the frame.
    sensed: Sensed,
    /// The lidar's scan at the frame.
    scan: Scan,
    /// Whether the frame is of the latest iteration.
    is_new: bool,
}

impl SimulatedView {
    /// The frames of `camera`, and the numbers of `sensors`.
    ///
    /// # Errors
    /// Fails if the camera's frames have no valid size.
    pub fn new(
        camera: OutOfProcessCamera,
        sensors: SimulatedSensors,
    ) -> Result<Self, pilotage_vision::VisionError> {
        let (format, width, height) = camera.format();
        Ok(Self {
            camera,
            frame: Frame::new(format, width, height)?,
            sensors,
            sensed: Sensed::default(),
            scan: Scan::default(),
            is_new: false,
        })
    }

    /// Takes the next frame if it is due.
    fn take_due(&mut self) -> Result<(), CameraError> {
        self.is_new = self.camera.due() <= monotonic();
        if self.is_new {
            self.camera.next(&mut self.frame)?;
            (self.sensed.measured, self.sensed.measured_age) = self.sensors.read();
            self.sensed.scan_age = self.sensors.scan(&mut self.scan);
        }
        Ok(())
    }
}

impl HandDriver {
    /// Drives with `pad`, which `config` describes if it can be opened again, a car with `limits`
    /// over `link`: a physical one with its `operator`, or the simulated one with its `view`. The
    /// pad's buttons set `commands`, too.
    pub fn new(
        pad: Gamepad,
        (config, limits): (Option<&GamepadConfig>, &Limits),
        link: SocketLink,
        operator: Option<Operator>,
        (view, commands): (Option<SimulatedView>, Option<Arc<Commands>>),
    ) -> Self {
        let now = monotonic();
        Self {
            config: config.cloned(),
            limits: *limits,
            gamepad: pad.describe(),
            pad: Some(pad),
            actions: ButtonActions::default(),
            operator,
            link,
            view,
            commands,
            speed: None,
            armed: None,
            read_at: now,
            due: now,
            tried: now,
            driven: false,
            sequence: 0,
        }
    }

    /// Puts the speed that the guard reports into `speed`.
    #[must_use]
    pub fn with_speed(self, speed: Option<GuardSpeed>) -> Self {
        Self { speed, ..self }
    }

    /// After each arming the axes must be seen at rest again.
    fn arming(&mut self, now: Time, state: State) {
        let armed = match state {
            State::Armed(armed) => Some(armed.armed),
            State::Driving(driving) => Some(driving.armed),
            State::Disarmed | State::Braking(_) | State::Stopped { .. } | State::Trimming(_) => {
                None
            }
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
    fn stop_tested(&mut self) -> bool {
        let pad = self.pad.as_mut();
        pad.is_some_and(|pad| pad.hand().stop_tested())
    }

    /// The operator's request. If the gamepad is lost, the car is stopped, and later calls search
    /// for the gamepad.
    fn request(&mut self, now: Time) -> DriveRequest {
        self.read(now).unwrap_or_else(|error| {
            // Stop the car first.
            let requests = requests(&mut self.operator, &mut self.link);
            let stopped = self.actions.lost(requests);
            self.pad = None;
            self.tried = now;
            match self.config {
                Some(_) => say(&error.to_string()),
                None => say("the page's program has ended: nothing drives the car; end this drive"),
            }
            if let Err(error) = stopped {
                say(&error.to_string());
            }
            DriveRequest::default()
        })
    }

    fn read(&mut self, now: Time) -> Result<DriveRequest, GamepadError> {
        if self.pad.is_none()
            && now.since(self.tried) >= SEARCH_INTERVAL
            && let Some(config) = &self.config
        {
            self.tried = now;
            if let Ok(found) = Gamepad::open(config, &self.limits) {
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
        let request = hand.request(now);
        let requests = requests(&mut self.operator, &mut self.link);
        self.actions.apply(presses, requests, &say);
        if let Some(config) = &self.config {
            let commands = self.commands.as_deref();
            high_level::press(commands, &config.commands, presses.command, &say);
        }
        while let Some(notice) = hand.notice(now, true) {
            say(&notice.to_string());
        }
        Ok(match presses.stop || presses.stop_held {
            true => DriveRequest::default(),
            false => request,
        })
    }

    /// Sends the operator's request; the guard was in `state` before the gamepad was read.
    fn send(&mut self, now: Time, request: DriveRequest, state: State) -> Result<(), LinkError> {
        // In any other state a command moves nothing, and would only be refused.
        if self.pad.is_none() || !matches!(state, State::Armed(_) | State::Driving(_)) {
            return Ok(());
        }
        self.sequence += 1;
        let command = Command {
            steering: request.steering,
            throttle: request.throttle,
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

/// Where the operator's requests go.
fn requests<'a>(
    operator: &'a mut Option<Operator>,
    link: &'a mut SocketLink,
) -> &'a mut dyn Requests {
    match operator {
        Some(operator) => operator,
        None => link,
    }
}

impl Driver for HandDriver {
    /// Waits for the gamepad, or until the next command or frame is due; sends the command if it is
    /// due.
    fn step(&mut self) -> Result<Iteration, StepError> {
        let due = match &self.view {
            Some(view) => self.due.min(view.camera.due()),
            None => self.due,
        };
        let patience = due.since(monotonic());
        match &self.pad {
            Some(pad) => pad.wait(patience),
            None => std::thread::sleep(patience),
        }
        let now = monotonic();
        // First, because an arming since the last iteration must lock the axes before they are
        // read.
        self.link.advance_to(now)?;
        let before = self.link.status().state;
        self.arming(now, before);
        let request = self.request(now);
        // A change of the dead-man button is sent at once.
        if now >= self.due || self.driven != request.driven {
            self.due = now + TICK.min(self.limits.spec().frame_period);
            self.send(now, request, before)?;
        }
        self.driven = request.driven;
        self.link.advance_to(now)?;
        if let Some(speed) = &self.speed {
            speed.set(self.link.status().speed);
        }
        if let Some(view) = &mut self.view {
            view.take_due()?;
        }
        Ok(Iteration::Hand {
            request,
            stop_tested: self.stop_tested(),
        })
    }

    fn link(&mut self) -> &mut dyn OperatorLink {
        &mut self.link
    }

    fn now(&self) -> Time {
        monotonic()
    }

    fn domain(&self) -> Domain {
        Domain::Physical
    }

    fn frame(&self) -> Option<FrameView<'_>> {
        let view = self.view.as_ref()?;
        view.is_new.then(|| view.frame.view())
    }

    fn frame_format(&self) -> Option<(PixelFormat, u32, u32)> {
        self.view.as_ref().map(|view| view.camera.format())
    }

    fn name(&self) -> String {
        self.gamepad.clone()
    }

    fn lidar(&self) -> Option<Lidar> {
        self.view.as_ref()?.sensors.lidar()
    }

    fn sensed(&self) -> Sensed {
        let view = self.view.as_ref();
        view.map_or_else(Sensed::default, |view| view.sensed)
    }

    fn scan(&self) -> Option<&Scan> {
        let view = self.view.as_ref();
        view.map(|view| &view.scan).filter(|scan| scan.is_whole())
    }

    fn describe(&mut self, report: &mut DriveReport) {
        report.hand = Some(HandPart {
            gamepad: match self.stop_tested() {
                true => self.gamepad.clone(),
                false => format!("{}, its stop button not tested", self.gamepad),
            },
            commands: self.sequence,
        });
    }
}
