//! Trimming: through the guard, an operator finds a servo's centre and ends and the motor's neutral
//! by trying values.

mod point;

use pilotage_vehicle::{MeasuredSpeed, Time};

use crate::drivers::{
    ActuatorSettings, DifferentialSettings, Kind, MotorBankSettings, Motors, SteeringSettings,
    VescSettings,
};
use crate::{Actuator, ActuatorError, Output};

pub use point::{Point, Value};

/// Shortest and longest pulse that may be tried, microseconds.
const PULSES: (Value, Value) = (
    *pilotage_bridge::PULSES.start(),
    *pilotage_bridge::PULSES.end(),
);
/// The ends of a VESC's servo range, thousandths.
const SERVO: (Value, Value) = (0, 1000);

/// The speeds at which a wheel may be tried, thousandths.
const WHEEL: (Value, Value) = (0, 300);
/// Whether the outputs are off.
const OFF: (Value, Value) = (0, 1);

/// The least and the greatest value of a point that may be tried.
const fn range(kind: Kind, point: Point) -> (Value, Value) {
    match (kind, point) {
        (_, Point::LeftWheel | Point::RightWheel | Point::Wheels) => WHEEL,
        (_, Point::OutputsOff) => OFF,
        (Kind::Vesc, _) => SERVO,
        _ => PULSES,
    }
}

/// The points of a car's actuator and their values.
#[derive(Debug, Clone)]
pub struct TrimTable {
    settings: ActuatorSettings,
}

impl TrimTable {
    /// The points of `settings`; `None` if the actuator has no points to trim.
    pub fn of(settings: &ActuatorSettings) -> Option<Self> {
        let table = Self {
            settings: settings.clone(),
        };
        table.points().next()?;
        Some(table)
    }

    /// The points that this actuator has.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        let there = |point: &Point| table(&self.settings, *point).is_some();
        Point::ALL.into_iter().filter(there)
    }

    /// The value of a point.
    pub fn value(&self, point: Point) -> Value {
        let mut settings = self.settings.clone();
        slot(&mut settings, point).map_or(0, |slot| slot.get())
    }

    /// The least and the greatest value that may be tried.
    pub const fn range(&self, point: Point) -> (Value, Value) {
        range(self.settings.kind, point)
    }

    /// The place of the value in car.toml: the tables, then the key. For a wheel, the key is that of
    /// its motor's channels; for the OE pin there is none.
    pub fn key(&self, point: Point) -> Option<[&'static str; 4]> {
        table(&self.settings, point)
    }
}

/// The motors of a car whose points can be trimmed.
pub(crate) struct TrimmedMotors {
    motors: Motors,
    /// The settings in car.toml.
    settings: ActuatorSettings,
    /// The settings with the points that are being tried.
    tried: ActuatorSettings,
}

impl TrimmedMotors {
    pub(crate) fn new(motors: Motors, settings: &ActuatorSettings) -> Self {
        Self {
            motors,
            settings: settings.clone(),
            tried: settings.clone(),
        }
    }
}

impl Actuator for TrimmedMotors {
    fn name(&self) -> &str {
        self.motors.name()
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        self.motors.write(now, output)
    }

    fn speed(&self) -> Option<MeasuredSpeed> {
        self.motors.speed()
    }

    fn trim(&mut self, point: Point, value: Value) -> bool {
        // Before anything is changed: a point that does not exist changes nothing.
        if slot(&mut self.tried, point).is_none() {
            return false;
        }
        let range = range(self.settings.kind, point);
        let was_tried = end_others(&mut self.tried, point);
        let Some(mut slot) = slot(&mut self.tried, point) else {
            return false;
        };
        let value = value.clamp(range.0, range.1);
        if slot.get() != value || was_tried {
            slot.set(value);
            self.motors.adjust(&self.tried);
        }
        true
    }

    fn end_trim(&mut self) {
        if self.tried != self.settings {
            self.tried = self.settings.clone();
            self.motors.adjust(&self.settings);
        }
    }
}

/// The place of a point's value in car.toml.
fn table(settings: &ActuatorSettings, point: Point) -> Option<[&'static str; 4]> {
    let (kind, servo) = match settings.kind {
        Kind::Pca9685 => {
            let chip = settings.pca9685.as_ref()?;
            if point == Point::OutputsOff {
                // A servo shows whether it has pulses.
                let pin = chip.output_enable.as_ref().and(chip.steering.as_ref());
                return pin.map(|_| ["actuator", "pca9685", "output_enable", ""]);
            }
            if chip.differential.is_some() {
                return match point {
                    Point::LeftWheel => Some(["actuator", "pca9685", "differential", "left"]),
                    Point::RightWheel => Some(["actuator", "pca9685", "differential", "right"]),
                    _ => None,
                };
            }
            if chip.motors.is_some() {
                match point {
                    Point::Wheels => return Some(["actuator", "pca9685", "motors", "outputs"]),
                    Point::Neutral => return None,
                    _ => {}
                }
            }
            ("pca9685", chip.steering.is_some())
        }
        Kind::Pwm => ("pwm", settings.pwm.is_some()),
        Kind::Maestro => ("maestro", settings.maestro.is_some()),
        Kind::Bridge => ("bridge", settings.bridge.is_some()),
        Kind::Vesc => {
            settings.vesc.as_ref()?;
            return match point {
                Point::Centre => Some(["actuator", "vesc", "", "centre"]),
                Point::Left => Some(["actuator", "vesc", "", "left"]),
                Point::Right => Some(["actuator", "vesc", "", "right"]),
                _ => None,
            };
        }
        Kind::Simulator | Kind::DryRun => return None,
    };
    let (table, key) = match point {
        Point::Centre => ("steering", "centre_us"),
        Point::Left => ("steering", "left_us"),
        Point::Right => ("steering", "right_us"),
        Point::Neutral => ("throttle", "neutral_us"),
        Point::LeftWheel | Point::RightWheel | Point::Wheels | Point::OutputsOff => return None,
    };
    servo.then_some(["actuator", kind, table, key])
}

/// A point's value in the settings.
enum Slot<'a> {
    /// Microseconds, or thousandths.
    Whole(&'a mut u16),
    Share(&'a mut f32),
}

impl Slot<'_> {
    fn get(&self) -> Value {
        match self {
            Self::Whole(value) => **value,
            Self::Share(share) => (**share * 1000.0).round() as Value,
        }
    }

    fn set(&mut self, value: Value) {
        match self {
            Self::Whole(whole) => **whole = value,
            Self::Share(share) => **share = f32::from(value) / 1000.0,
        }
    }
}

fn slot(settings: &mut ActuatorSettings, point: Point) -> Option<Slot<'_>> {
    let (steering, throttle) = match settings.kind {
        Kind::Pca9685 => {
            let chip = settings.pca9685.as_mut()?;
            if point == Point::OutputsOff {
                chip.steering.as_ref()?;
                return Some(Slot::Whole(&mut chip.output_enable.as_mut()?.tried_off));
            }
            if let Some(motors) = &mut chip.differential {
                return of_motors(motors, point);
            }
            if let Some(motors) = &mut chip.motors {
                return of_bank(motors, chip.steering.as_mut()?, point);
            }
            (chip.steering.as_mut()?, chip.throttle.as_mut()?)
        }
        Kind::Pwm => {
            let pins = settings.pwm.as_mut()?;
            (&mut pins.steering, &mut pins.throttle)
        }
        Kind::Maestro => {
            let board = settings.maestro.as_mut()?;
            (&mut board.steering, &mut board.throttle)
        }
        Kind::Bridge => {
            let bridge = settings.bridge.as_mut()?;
            (&mut bridge.steering, &mut bridge.throttle)
        }
        Kind::Vesc => return of_vesc(settings.vesc.as_mut()?, point),
        Kind::Simulator | Kind::DryRun => return None,
    };
    Some(Slot::Whole(match point {
        Point::Centre => &mut steering.centre_us,
        Point::Left => &mut steering.left_us,
        Point::Right => &mut steering.right_us,
        Point::Neutral => &mut throttle.neutral_us,
        Point::LeftWheel | Point::RightWheel | Point::Wheels | Point::OutputsOff => return None,
    }))
}

/// The speed at which a motor is tried.
fn of_motors(motors: &mut DifferentialSettings, point: Point) -> Option<Slot<'_>> {
    Some(Slot::Whole(match point {
        Point::LeftWheel => &mut motors.left.tried,
        Point::RightWheel => &mut motors.right.tried,
        _ => return None,
    }))
}

/// The servo's points, or the speed at which all motors are tried.
fn of_bank<'a>(
    motors: &'a mut MotorBankSettings,
    steering: &'a mut SteeringSettings,
    point: Point,
) -> Option<Slot<'a>> {
    Some(Slot::Whole(match point {
        Point::Centre => &mut steering.centre_us,
        Point::Left => &mut steering.left_us,
        Point::Right => &mut steering.right_us,
        Point::Wheels => &mut motors.tried,
        _ => return None,
    }))
}

/// Ends the trial of any other point: one point is tried at a time. Returns whether there was one.
fn end_others(settings: &mut ActuatorSettings, point: Point) -> bool {
    let Some(chip) = &mut settings.pca9685 else {
        return false;
    };
    let mut was_tried = false;
    let mut end = |of: Point, tried: &mut Value| {
        if of != point {
            was_tried |= std::mem::take(tried) != 0;
        }
    };
    if let Some(pin) = &mut chip.output_enable {
        end(Point::OutputsOff, &mut pin.tried_off);
    }
    if let Some(motors) = &mut chip.motors {
        end(Point::Wheels, &mut motors.tried);
    }
    if let Some(motors) = &mut chip.differential {
        end(Point::LeftWheel, &mut motors.left.tried);
        end(Point::RightWheel, &mut motors.right.tried);
    }
    was_tried
}

fn of_vesc(vesc: &mut VescSettings, point: Point) -> Option<Slot<'_>> {
    Some(Slot::Share(match point {
        Point::Centre => &mut vesc.centre,
        Point::Left => &mut vesc.left,
        Point::Right => &mut vesc.right,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests;
