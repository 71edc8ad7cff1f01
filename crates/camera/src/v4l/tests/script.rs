//! Scripted devices: their buffers have owners as the kernel's have, and the interface of the crate
//! `v4l`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use pilotage_vehicle::Time;

use super::*;
use crate::config::Source;

pub(super) const MS: Duration = Duration::from_millis(1);
const ENODEV: i32 = 19;
pub(super) const EINVAL: i32 = 22;

pub(super) fn at(millis: u64) -> Time {
    Time::ZERO + MS * millis as u32
}

/// A frame that will arrive.
#[derive(Clone)]
pub(super) struct Arrival {
    pub at: Time,
    pub metadata: Metadata,
    pub bytes: Vec<u8>,
}

/// The script and the state of a device.
#[derive(Default)]
pub(super) struct Script {
    pub now: Time,
    pub arrivals: VecDeque<Arrival>,
    /// Filled buffers, oldest first.
    filled: VecDeque<Arrival>,
    /// The number of empty buffers that the kernel has.
    empty: usize,
    /// Whether the caller holds a buffer.
    held: bool,
    /// How many waits report "ready" without a frame.
    pub spurious: u32,
    /// Unplugged from then on.
    pub gone: Option<Time>,
    pub controls: Vec<(u32, i64)>,
}

impl Script {
    pub fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            empty: BUFFERS as usize,
            ..Self::default()
        }))
    }

    /// Advances the time: frames arrive, or are lost if no buffer is empty.
    pub fn pass_to(&mut self, now: Time) {
        while self.arrivals.front().is_some_and(|next| next.at <= now) {
            let arrival = self.arrivals.pop_front().unwrap();
            if self.empty > 0 {
                self.empty -= 1;
                self.filled.push_back(arrival);
            }
        }
        self.now = self.now.max(now);
    }

    fn check(&self) -> io::Result<()> {
        match self.gone.is_some_and(|gone| self.now >= gone) {
            true => Err(io::Error::from_raw_os_error(ENODEV)),
            false => Ok(()),
        }
    }

    fn dequeue(&mut self) -> io::Result<Arrival> {
        self.check()?;
        let arrival = self.filled.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        self.held = true;
        Ok(arrival)
    }
}

#[derive(Clone)]
pub(super) struct ScriptClock(pub Rc<RefCell<Script>>);

impl Clock for ScriptClock {
    fn now(&self) -> Time {
        self.0.borrow().now
    }
}

pub(super) struct ScriptBuffers {
    script: Rc<RefCell<Script>>,
    shown: Vec<u8>,
}

impl Buffers for ScriptBuffers {
    fn count(&self) -> usize {
        BUFFERS as usize
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let mut script = self.script.borrow_mut();
        let until = script.now + timeout;
        if script.spurious > 0 {
            script.spurious -= 1;
            return Ok(true);
        }
        let now = script.now;
        script.pass_to(now);
        while script.filled.is_empty() && script.now < until {
            let next = script.arrivals.front().map_or(until, |next| next.at);
            let next = next.min(until).min(script.gone.unwrap_or(until));
            script.pass_to(next);
            if script.check().is_err() {
                return Ok(true);
            }
        }
        Ok(!script.filled.is_empty())
    }

    fn take(&mut self) -> io::Result<()> {
        self.script.borrow_mut().dequeue().map(|_| ())
    }

    fn exchange(&mut self) -> io::Result<(&[u8], Metadata)> {
        let mut script = self.script.borrow_mut();
        script.check()?;
        if !script.held {
            return Err(io::Error::from_raw_os_error(EINVAL));
        }
        script.held = false;
        script.empty += 1;
        let arrival = script.dequeue()?;
        self.shown = arrival.bytes;
        Ok((&self.shown, arrival.metadata))
    }
}

/// A device with these formats, each in these sizes and rates.
pub(super) struct ScriptDevice {
    pub script: Rc<RefCell<Script>>,
    pub formats: Vec<[u8; 4]>,
    pub sizes: Vec<Sizes>,
    pub rates: Vec<Rates>,
    pub controls: Vec<Description>,
    pub stride: u32,
    pub takes: fn(&Mode) -> Granted,
}

pub(super) fn granted(mode: &Mode) -> Granted {
    Granted {
        format: mode.format.letters(),
        width: mode.width,
        height: mode.height,
        stride: 0,
        rate: Some(mode.rate()),
    }
}

impl Device for ScriptDevice {
    type Buffers = ScriptBuffers;

    fn formats(&self) -> io::Result<Vec<[u8; 4]>> {
        Ok(self.formats.clone())
    }

    fn sizes(&self, _: [u8; 4]) -> io::Result<Vec<Sizes>> {
        Ok(self.sizes.clone())
    }

    fn rates(&self, _: [u8; 4], _: u32, _: u32) -> io::Result<Vec<Rates>> {
        Ok(self.rates.clone())
    }

    fn set(&mut self, mode: &Mode) -> io::Result<Granted> {
        let stride = self.stride;
        Ok(Granted {
            stride,
            ..(self.takes)(mode)
        })
    }

    fn controls(&self) -> io::Result<Vec<Description>> {
        Ok(self.controls.clone())
    }

    fn set_control(&mut self, control: &Description, value: i64) -> io::Result<()> {
        self.script.borrow_mut().controls.push((control.id, value));
        Ok(())
    }

    fn start(self, _: u32) -> io::Result<ScriptBuffers> {
        Ok(ScriptBuffers {
            script: self.script,
            shown: Vec::new(),
        })
    }
}

pub(super) fn device(script: &Rc<RefCell<Script>>) -> ScriptDevice {
    ScriptDevice {
        script: Rc::clone(script),
        formats: vec![*b"H264", *b"MJPG", *b"GREY"],
        sizes: vec![Sizes::One(1280, 720), Sizes::One(16, 16)],
        rates: vec![Rates::One((1, 30)), Rates::One((1, 20))],
        controls: Vec::new(),
        stride: 0,
        takes: granted,
    }
}

pub(super) fn source(format: Option<Fourcc>) -> V4lSource {
    V4lSource {
        device: "/dev/video7".into(),
        format,
        controls: Vec::new(),
    }
}

pub(super) fn config() -> CameraConfig {
    CameraConfig {
        source: Source::V4l(source(None)),
        width: 16,
        height: 16,
        rate: 20.0,
        timeout: MS * 125,
        first_frame: None,
        frozen_frames: 0,
        black_frames: 0,
    }
}
