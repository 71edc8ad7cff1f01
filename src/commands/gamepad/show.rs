//! Shows a gamepad's reports, live.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};

use super::{End, POLL_INTERVAL, Session, print};
use pilotage_gamepad::{Axis, AxisName, Button, Input, Mapping, Range, Rest};

/// Shows until a signal ends it.
pub(super) fn run(session: &mut Session) -> anyhow::Result<End> {
    let mapping = match session.pad.capabilities() {
        Some(capabilities) => session.config.mapping_of(capabilities),
        None => session.config.mapping.unwrap_or_default(),
    };
    let mut view = View {
        mapping,
        dead_zone: session.config.dead_zone,
        axes: Vec::new(),
        pressed: Vec::new(),
        drawn: stdout().is_terminal().then_some(0),
    };
    print(&format!(
        "{}: steering {}, throttle {}, dead-man {}, arm {}, stop {}\n",
        session.pad.describe(),
        mapping.steering.axis,
        mapping.throttle.axis,
        mapping.dead_man,
        mapping.arm,
        mapping.stop
    ))?;
    for (axis, value) in session.pad.values()? {
        let range = session.pad.range(axis);
        view.axes.push((axis, range, value));
    }
    let mut text = String::new();
    view.all(&mut text);
    print(&text)?;
    while !session.ended() {
        session.pad.wait(POLL_INTERVAL);
        let mut inputs = Vec::new();
        session.pad.read(|input| inputs.push(input))?;
        if inputs.is_empty() {
            continue;
        }
        text.clear();
        for input in inputs {
            view.take(input, |axis| session.pad.range(axis), &mut text);
        }
        if view.drawn.is_some() {
            view.all(&mut text);
        }
        print(&text)?;
    }
    Ok(End::Signal)
}

/// The displayed state of a gamepad.
struct View {
    mapping: Mapping,
    dead_zone: f32,
    axes: Vec<(AxisName, Range, i32)>,
    pressed: Vec<Button>,
    /// On a terminal: the number of lines to draw over next time.
    drawn: Option<usize>,
}

impl View {
    /// Takes an input. If nothing is drawn over, a change appends a line to `text`.
    fn take(&mut self, input: Input, range: impl Fn(AxisName) -> Range, text: &mut String) {
        let line = match input {
            Input::Axis { code, value } => {
                let axis = AxisName(code);
                let range = range(axis);
                match self.axes.iter_mut().find(|(known, ..)| *known == axis) {
                    Some(known) => known.2 = value,
                    None => self.axes.push((axis, range, value)),
                }
                self.axis(axis, range, value)
            }
            Input::Button { code, pressed } => {
                let button = Button(code);
                self.pressed.retain(|known| *known != button);
                if pressed {
                    self.pressed.push(button);
                }
                let how = if pressed { "pressed" } else { "released" };
                format!("{:<12} {how}{}", button.to_string(), self.role(button))
            }
            Input::Dropped => "(events were lost)".to_owned(),
            Input::Report | Input::Other => return,
        };
        if self.drawn.is_none() {
            let _ = writeln!(text, "{line}");
        }
    }

    /// Draws everything; on a terminal over the previous lines.
    fn all(&mut self, text: &mut String) {
        let clear = match self.drawn {
            Some(drawn) => {
                for _ in 0..drawn {
                    text.push_str("\x1b[A");
                }
                "\r\x1b[2K"
            }
            None => "",
        };
        for &(axis, range, value) in &self.axes {
            let _ = writeln!(text, "{clear}{}", self.axis(axis, range, value));
        }
        let mut lines = self.axes.len();
        if self.drawn.is_some() {
            let _ = write!(text, "{clear}pressed:");
            for button in &self.pressed {
                let _ = write!(text, " {button}{}", self.role(*button));
            }
            text.push('\n');
            lines += 1;
        }
        self.drawn = self.drawn.map(|_| lines);
    }

    fn axis(&self, axis: AxisName, range: Range, value: i32) -> String {
        let mut line = format!("{:<12} {value:>6}", axis.to_string());
        let steering = &self.mapping.steering;
        let throttle = &self.mapping.throttle;
        if axis == steering.axis {
            // The kernel's axes grow to the right and towards the operator.
            let _ = match self.position(steering, range, value) {
                Some(right) => write!(line, "   steering {:+.2} (1 is left)", 0.0 - right),
                None => write!(line, "   steering, at rest"),
            };
        } else if axis == throttle.axis {
            let _ = match (self.position(throttle, range, value), throttle.rest) {
                (Some(back), Rest::Middle) => {
                    write!(line, "   throttle {:+.2} (1 is ahead)", 0.0 - back)
                }
                (Some(ahead), Rest::End) => write!(line, "   throttle {ahead:+.2} (1 is ahead)"),
                (None, _) => write!(line, "   throttle, at rest"),
            };
        }
        line
    }

    /// The position of an axis; `None` within its dead zone, from the kernel's driver or car.toml.
    fn position(&self, axis: &Axis, range: Range, value: i32) -> Option<f32> {
        let (least, most) = (f64::from(range.least), f64::from(range.most));
        let share = (f64::from(value) - least) / (most - least);
        let flat = f64::from(range.flat) / (most - least);
        let (position, flat) = match axis.rest {
            Rest::Middle => (2.0 * share - 1.0, 2.0 * flat),
            Rest::End => (share, flat),
        };
        let position = if axis.inverted { -position } else { position } as f32;
        (position.abs() > self.dead_zone.max(flat as f32)).then_some(position)
    }

    fn role(&self, button: Button) -> &'static str {
        let mapping = &self.mapping;
        if button == mapping.dead_man {
            " (dead-man)"
        } else if button == mapping.arm {
            " (arm)"
        } else if button == mapping.stop {
            " (stop)"
        } else {
            ""
        }
    }
}
